"""A submission: all that a producer says about a batch, beside its rows. One value, whoever makes it."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime, timedelta
from difflib import get_close_matches
from typing import Any, Literal, Self, TypedDict

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from api_schemas.job_line import Deadline, PriorityName, Reuse
from api_schemas.job_problems import LineProblem
from api_schemas.jobs import JobDefaults

Channel = Literal["webhook", "mail", "command"]
OnChange = Literal["refuse", "extend", "new"]
OnBadLine = Literal["refuse", "skip"]


class NoticeTarget(BaseModel):
    """Who is notified when the batch is over."""

    model_config = ConfigDict(defer_build=True, frozen=True, extra="forbid")

    channel: Channel
    target: str = Field(min_length=1, description="A URL, a mail address or a command.")
    when: Literal["always", "failure"] = Field(
        default="always", description="failure: only where a job or the batch did not succeed."
    )
    secret: str | None = Field(
        default=None, pattern=r"^(env|file):.", description="Where the key of a webhook stands."
    )


class RowRules(BaseModel):
    """How rows become prompts, and which of the rows are taken."""

    model_config = ConfigDict(defer_build=True, frozen=True, extra="forbid")

    prompt: str | None = Field(
        default=None,
        description="Jinja2 template; its variables are the columns. Without one, rows are job lines or have a prompt.",
    )
    prompt_source: str = Field(default="--prompt", description="Where the template stands, for messages.")
    system: str | None = Field(
        default=None, description="System prompt of rows that have none; a template beside a prompt."
    )
    render_system: bool = Field(
        default=False, description="Treat system as a template also where there is no prompt."
    )
    id_column: str | None = Field(default=None, description="Column with each row's custom_id.")
    chat: bool = Field(
        default=False,
        description="Rows are chats: prompt and system become messages, or a column messages holds them.",
    )
    embed: bool = Field(
        default=False,
        description="Rows are texts to be embedded: the prompt, or a column input, is the text.",
    )
    encoding: str | None = Field(default=None, description="Encoding of a file of rows. Default: detected.")
    quote: Literal["none", '"'] | None = Field(
        default=None, description="Quoting of cells in a table. Default: as its kind of file has it."
    )
    delimiter: str | None = Field(
        default=None,
        min_length=1,
        max_length=1,
        description="What separates the cells of a CSV. Default: detected.",
    )
    sheet: str | None = Field(
        default=None,
        description="Sheet of a spreadsheet, by its name or its place from 1. Default: the first.",
    )
    image_columns: tuple[str, ...] = Field(
        default=(), description="Columns with paths of images, relative to the file of rows."
    )
    limit: int | None = Field(default=None, ge=1, description="Only the first rows.")
    sample: int | None = Field(default=None, ge=1, description="Only so many rows, chosen at random.")
    seed: int = Field(default=0, description="Random seed of sample.")

    @property
    def system_template(self) -> str | None:
        """``system``, where it is rendered with the columns of each row."""
        return self.system if self.prompt is not None or self.render_system else None

    @property
    def is_plain(self) -> bool:
        """Rows are job lines as they stand."""
        return (
            self.prompt is None
            and self.system_template is None
            and self.id_column is None
            and not self.image_columns
            and not (self.chat or self.embed)
        )

    @property
    def is_pilot(self) -> bool:
        """Only some of the rows are taken."""
        return self.limit is not None or self.sample is not None


class RequestDefaults(BaseModel):
    """What the rows are asked with, where they say nothing else."""

    model_config = ConfigDict(defer_build=True, frozen=True, extra="forbid")

    models: tuple[str, ...] = Field(
        default=(), description="For rows that name none; of several, each row is asked of every one."
    )
    options: dict[str, JsonValue] | None = Field(default=None, description="Ollama options, one by one.")
    think: bool | str | None = None
    format: str | dict[str, JsonValue] | None = Field(default=None, description="json, or a JSON Schema.")
    repairs: int | None = Field(default=None, description="Further tries for an answer that does not fit.")
    allow_empty: bool | None = Field(default=None, description="Accept an answer without text.")
    keep_alive: int | float | str | None = None
    truncate: bool | None = Field(default=None, description="Let hosts cut what does not fit the window.")
    priority: PriorityName | None = None
    override: bool = Field(default=False, description="Replace what the rows say, instead of filling gaps.")
    reuse: Reuse | None = Field(default=None, description="Take stored answers to the same requests.")
    max_attempts: int | None = Field(
        default=None, ge=1, description="Attempts of a job. Default: CARAVAN_MAX_ATTEMPTS."
    )


class BatchTerms(BaseModel):
    """Which batch it is, what a repeated submission means, and how the batch runs and ends."""

    model_config = ConfigDict(defer_build=True, frozen=True, extra="forbid")

    name: str | None = Field(default=None, description="Name of the batch. Default: the file's.")
    key: str | None = Field(
        default=None, description="Idempotency key. Default: a hash of the rows and of how they are asked."
    )
    on_change: OnChange = Field(
        default="refuse",
        description="Rows that changed since they were submitted: refuse them, extend their batch, or make a new one.",
    )
    drop_missing: bool = Field(
        default=False,
        description="Delete the jobs whose rows are no longer in the input, when it extends its batch.",
    )
    retry_failed: bool = Field(default=False, description="Ask again what failed in the batch before.")
    on_bad_line: OnBadLine | None = Field(
        default=None, description="skip: leave lines out that are wrong, instead of refusing the batch."
    )
    pull_missing: bool = Field(default=False, description="Pull models that no host has.")
    max_failures: str | None = Field(
        default=None, description="More failures than this, a number or a percentage, pause the batch."
    )
    fail_on_cut: bool = Field(default=False, description="Treat an answer that was cut as a failure.")
    deadline: Deadline | None = Field(default=None, description="When all of it is wanted.")
    expires: bool | None = Field(
        default=None, description="Jobs that have not been started by the deadline are not asked any more."
    )
    window: tuple[str, ...] = Field(default=(), description="Hours in which jobs may start.")
    blackout: tuple[str, ...] = Field(default=(), description="Dates on which none starts.")
    tz: str = Field(default="UTC", description="Time zone of window and blackout.")
    keep: str | None = Field(
        default=None, description="How long it is kept after its end: 30d, 12h or forever."
    )
    notices: tuple[NoticeTarget, ...] = Field(default=(), description="Who is notified when it is over.")


class Submission(BatchTerms, RequestDefaults, RowRules):
    """Everything that a producer says about a batch, beside its rows."""

    model_config = ConfigDict(defer_build=True, frozen=True, extra="forbid", title="Caravan submission")

    @classmethod
    def of_defaults(cls, defaults: JobDefaults, **fields: Any) -> Self:
        """A submission of job lines with these defaults."""
        values = {name: value for name, value in asdict(defaults).items() if value is not None}
        model = values.pop("model", None)
        return cls(**values | ({} if model is None else {"models": (model,)}) | fields)

    @property
    def defaults(self) -> JobDefaults:
        """What the reader of job lines fills in."""
        return JobDefaults(
            model=self.models[0] if self.models else None,
            system=None if self.system_template is not None else self.system,
            format=self.format,
            repairs=self.repairs,
            allow_empty=self.allow_empty,
            options=self.options,
            think=self.think,
            keep_alive=self.keep_alive,
            truncate=self.truncate,
            priority=self.priority,
            deadline=self.deadline,
            expires=self.expires,
            reuse=self.reuse,  # type: ignore[arg-type]
        )

    @property
    def recipe(self) -> dict[str, Any]:
        """What decides what is asked, as it is stored with the batch: not how many of the rows are taken, by when, or how
        urgent they are."""
        defaults = asdict(self.defaults)
        for name in ("model", "deadline", "expires", "priority", "reuse"):
            del defaults[name]
        recipe = {
            "prompt": self.prompt,
            "system": self.system_template,
            "id_column": self.id_column,
            "chat": self.chat,
            "embed": self.embed,
            "encoding": self.encoding,
            "quote": self.quote,
            "delimiter": self.delimiter,
            "sheet": self.sheet,
            "image_columns": self.image_columns,
            "models": self.models,
            "defaults": {name: value for name, value in defaults.items() if value is not None},
            "override": self.override,
        }
        return {name: value for name, value in recipe.items() if value not in (None, (), {}, False)}


class SubmissionFields(TypedDict, total=False):
    """The fields of a submission as arguments by name, in Python and in a message."""

    prompt: str | None
    system: str | None
    id_column: str | None
    chat: bool
    embed: bool
    image_columns: tuple[str, ...]
    limit: int | None
    sample: int | None
    seed: int
    options: Mapping[str, Any] | None
    think: bool | str | None
    format: Any
    repairs: int | None
    allow_empty: bool | None
    keep_alive: int | float | str | None
    truncate: bool | None
    priority: PriorityName | None
    override: bool
    reuse: bool | Literal["any"] | None
    name: str | None
    key: str | None
    drop_missing: bool
    retry_failed: bool
    on_bad_line: OnBadLine | None
    max_failures: int | str | None
    fail_on_cut: bool
    deadline: datetime | str | None
    expires: bool | None
    window: tuple[str, ...]
    blackout: tuple[str, ...]
    tz: str
    keep: timedelta | str | None


def read_submission(fields: Mapping[str, Any]) -> Submission | list[LineProblem]:
    """The submission of plain values, such as those of a message, or everything that is wrong with them."""
    try:
        return Submission.model_validate(dict(fields))
    except ValidationError as error:
        return [_problem(detail) for detail in error.errors(include_url=False)][:20]


def _problem(error: Any) -> LineProblem:
    field = ".".join(map(str, error["loc"]))
    if error["type"] == "extra_forbidden":
        near = get_close_matches(field, Submission.model_fields, n=1)
        hint = f"Did you mean {near[0]}?" if near else f"Known fields: {', '.join(Submission.model_fields)}."
        return LineProblem(0, field, "unknown_field", f"{field}: unknown field. {hint}")
    return LineProblem(0, field, "invalid_value", f"{field}: {error['msg']}")

"""The message that submits jobs through the broker, and the answer to it."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from api_schemas.job_problems import LineProblem

MOST_JOBS = 1000
"""Jobs in one message. An input with more comes in parts."""
MOST_PARTS = 20_000


class SubmitMessage(BaseModel):
    """The arguments of the task ``caravan.submit``, on the queue ``submit``.

    An input of at most 1,000 jobs is one message. A larger one comes in parts: each with the same ``upload``, the last
    one with ``parts``, ``key`` and ``submission``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", title="Caravan submit message")

    key: str | None = Field(
        default=None,
        min_length=1,
        max_length=200,
        description="Idempotency key: the same key is the same batch.",
    )
    name: str | None = Field(default=None, max_length=300, description="Name of the batch. Default: its key.")
    submission: dict[str, JsonValue] = Field(
        default_factory=dict, description="What holds for all jobs: model, options, deadline …"
    )
    jobs: list[JsonValue] = Field(max_length=MOST_JOBS, description="Job lines; with a template, rows.")
    upload: str | None = Field(
        default=None,
        min_length=1,
        max_length=64,
        description="Identifies the attempt that a part belongs to.",
    )
    part: int | None = Field(default=None, ge=1, le=MOST_PARTS, description="Number of the part, from 1.")
    parts: int | None = Field(
        default=None, ge=1, le=MOST_PARTS, description="How many parts there are; the last one has it."
    )

    @model_validator(mode="after")
    def _whole(self) -> "SubmitMessage":
        if (self.upload is None) != (self.part is None):
            raise ValueError("upload and part belong together")
        if self.parts is not None and self.part != self.parts:
            raise ValueError("parts stands in the last part, whose number it is")
        if self.key is None and (self.upload is None or self.parts is not None):
            raise ValueError("key is missing")
        return self


class SubmitProblem(BaseModel):
    """What is wrong with one job: ``line`` is its place, from 1; 0 means the whole message."""

    model_config = ConfigDict(frozen=True)

    line: int
    field: str
    code: str
    message: str


class SubmitAnswer(BaseModel):
    """What became of a message: a part that was kept, a batch that was accepted, or a refusal with its lines."""

    model_config = ConfigDict(frozen=True)

    part: int | None = None
    """The part that was kept; everything else is that of no batch yet."""
    batch: int | None = None
    key: str | None = None
    state: str | None = None
    """Of the batch; ``refused`` where nothing of it runs."""
    jobs: int = 0
    created: bool = False
    """False where the batch was there already."""
    problems: list[SubmitProblem] = []
    """At most 20."""
    more_problems: int = 0
    unavailable: str | None = None
    """Why nothing could be stored just now: the same message may be sent again."""


def read_message(arguments: Mapping[str, Any]) -> SubmitMessage | list[LineProblem]:
    """The message of these arguments, or everything that is wrong with it."""
    try:
        return SubmitMessage.model_validate(dict(arguments))
    except ValidationError as error:
        return [_problem(detail) for detail in error.errors(include_url=False)][:20]


def _problem(error: Any) -> LineProblem:
    field = ".".join(map(str, error["loc"]))
    if error["type"] == "extra_forbidden":
        known = ", ".join(SubmitMessage.model_fields)
        return LineProblem(0, field, "unknown_field", f"{field}: unknown field. Known fields: {known}.")
    if error["type"] == "too_long" and field == "jobs":
        length = error["ctx"]["actual_length"]
        message = f"{length or 'more'} jobs in one message; at most {MOST_JOBS} are taken. Send them in parts"
        return LineProblem(0, "jobs", "too_large", message)
    place = f"{field}: " if field else ""
    return LineProblem(0, field, "invalid_value", f"{place}{error['msg'].removeprefix('Value error, ')}")

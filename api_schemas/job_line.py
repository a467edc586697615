"""One job as a producer writes it: the fields of a generate request, and what Caravan adds."""

import json
import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from api_schemas.generate import GenerateFields

PriorityName = Literal["interactive", "high", "normal", "bulk"]
MOST_PARENTS = 10_000
"""That one job waits for."""
LONGEST_ID = 200
"""Characters of a custom_id."""
PRIORITIES: dict[str, int] = {"interactive": 0, "high": 1, "normal": 2, "bulk": 3}


def _deadline(value: object) -> datetime:
    expected = "expected a time with its offset, such as 2026-12-01T06:00:00+01:00 or 2026-12-01T05:00:00Z"
    if isinstance(value, datetime):
        time = value
    elif isinstance(value, str) and "T" in value.upper().replace(" ", "T") and len(value) <= 40:
        try:
            time = datetime.fromisoformat(value)
        except ValueError as error:
            raise PydanticCustomError("deadline", "{problem}", {"problem": expected}) from error
    else:
        raise PydanticCustomError("deadline", "{problem}", {"problem": expected})
    if time.tzinfo is None:
        raise PydanticCustomError(
            "deadline",
            "{problem}",
            {"problem": f"no offset, so the hour is not known: {expected}"},
        )
    try:
        return time.astimezone(UTC)
    except OverflowError as error:
        raise PydanticCustomError("deadline", "{problem}", {"problem": expected}) from error


def _metadata(value: object) -> object:
    try:
        json.dumps(value, allow_nan=False)
    except ValueError as error:
        raise PydanticCustomError("metadata", "NaN and Infinity are not JSON") from error
    return value


def _reuse(value: object) -> object:
    if isinstance(value, bool) or value == "any":
        return value
    raise PydanticCustomError("reuse", 'expected true, false or "any"')


def _after(value: object) -> object:
    many = value if isinstance(value, list) else [value]
    expected = "expected a custom_id of this input, the number of a job, or a list of them"
    if not many or len(many) > MOST_PARENTS:
        message = f"{expected}, at most {MOST_PARENTS:,}" if many else expected
        raise PydanticCustomError("after", "{problem}", {"problem": message})
    for entry in many:
        number = isinstance(entry, int) and not isinstance(entry, bool) and 0 < entry < 2**63
        name = isinstance(entry, str) and bool(entry.strip()) and len(entry) <= LONGEST_ID
        if not number and not name:
            raise PydanticCustomError("after", "{problem}", {"problem": expected})
    return value


Deadline = Annotated[
    datetime,
    BeforeValidator(_deadline),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
Metadata = Annotated[dict[str, JsonValue], BeforeValidator(_metadata)]
Reuse = Annotated[
    bool | str,
    PlainValidator(_reuse),
    WithJsonSchema({"anyOf": [{"type": "boolean"}, {"const": "any"}]}),
]
After = Annotated[
    str | int | list[str | int],
    PlainValidator(_after),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "minLength": 1, "maxLength": LONGEST_ID},
                {"type": "integer", "minimum": 1},
                {
                    "type": "array",
                    "items": {"anyOf": [{"type": "string"}, {"type": "integer"}]},
                    "minItems": 1,
                    "maxItems": 10_000,
                },
            ]
        }
    ),
]
CustomId = Annotated[str, Field(min_length=1, max_length=LONGEST_ID, pattern=r"\S")]


class CaravanFields(BaseModel):
    """What Caravan adds to a request, whatever is asked."""

    model_config = ConfigDict(
        defer_build=True, extra="forbid", strict=True, allow_inf_nan=False, protected_namespaces=()
    )

    custom_id: CustomId | None = Field(
        default=None,
        description="Your name for the job, unique in its file and per model; line-N where none is given.",
    )
    priority: PriorityName | None = Field(
        default=None,
        description="interactive, high, normal (default) or bulk; more urgent jobs go first.",
    )
    deadline: Deadline | None = Field(
        default=None,
        description="ISO 8601 with an offset: when the answer is wanted; it is started early enough where that can be.",
    )
    expires: bool | None = Field(
        default=None,
        description="true: not asked at all where it has not been started by its deadline. Default: it is late then.",
    )
    reuse: Reuse | None = Field(
        default=None,
        description="true: the stored answer to the same request is taken, if temperature is 0 or a seed is set; any: "
        "without that too.",
    )
    after: After | None = Field(
        default=None,
        description="custom_id (of this input) or number of a job that is to end first; of several, all of them. With one, "
        "its context goes on into this one.",
    )
    carry: Literal["context", "none"] | None = Field(
        default=None,
        description="With after: context (default with one job) goes on from its answer; none only waits for it.",
    )
    after_failed: Literal["fail", "release"] | None = Field(
        default=None,
        description="With after, where that job gets no answer: fail (default) ends this one too; release asks it all the "
        "same, without a context.",
    )
    metadata: Metadata | None = Field(
        default=None,
        description="Any JSON object; it comes back with the result, untouched.",
    )


class AnswerFields(BaseModel):
    """What counts as an answer of a model that speaks."""

    model_config = ConfigDict(
        defer_build=True, extra="forbid", strict=True, allow_inf_nan=False, protected_namespaces=()
    )

    repairs: Annotated[int, Field(ge=0, le=10)] | None = Field(
        default=None,
        description="With format: further tries for an answer that does not fit it, 0 to 10, default 2; then "
        "the job fails with invalid_output.",
    )
    allow_empty: bool | None = Field(
        default=None,
        description="true: an answer without text is a success. Default: it fails with empty_answer, unless num_predict "
        "ended it.",
    )
    stream: bool | None = Field(
        default=None,
        description="Taken from requests as they stand, without effect: every reply is read as a stream. Noted once a batch.",
    )


class JobLine(AnswerFields, CaravanFields, GenerateFields):
    """One line of a job file: one prompt to be answered once. null is the same as leaving a field out."""

    model_config = ConfigDict(
        title="Caravan job line",
        json_schema_extra={"dependentRequired": {"context": ["context_digest"]}},
    )

    kind: Literal["generate"] | None = Field(
        default=None, description="What is asked of the host: generate, which is the default."
    )
    prompt: Annotated[str, Field(pattern=r"\S")] = Field(
        description="The text to answer. Not blank: to a host an empty prompt is an order to load the model."
    )
    combine: Metadata | None = Field(
        default=None,
        description="With after: the prompt is a Jinja2 template over parts (custom_id, answer, parsed and metadata of the "
        "jobs that it follows) and the values given here, rendered once they are answered.",
    )
    context_digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = Field(
        default=None,
        description="Digest (as in /api/tags) of the model that the context came from. Required with a "
        "context: token ids of other weights kill older servers.",
    )


CARAVAN_FIELDS = frozenset((*CaravanFields.model_fields, "kind"))
"""Fields of a line that are no part of its request."""

IGNORED_FIELDS = {"stream": "every reply is read as a stream"}
"""Fields of a request to Ollama that a line may have and that change nothing, and why."""

FIELDS = tuple(JobLine.model_fields)
REQUEST_FIELDS = tuple(
    name
    for name in FIELDS
    if name not in CARAVAN_FIELDS and name not in IGNORED_FIELDS and name not in ("model", "prompt")
)

_PART = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}"
_MODEL = re.compile(
    rf"(?:(?:[A-Za-z0-9_][A-Za-z0-9_.-]{{0,349}}(?::[0-9]+)?/)?[A-Za-z0-9_][A-Za-z0-9_-]{{0,79}}/)?{_PART}(?::{_PART})?"
)


LONGEST_MODEL = 600
"""Characters of a model's name."""


def model_problem(name: str) -> tuple[str, str] | None:
    """(code, message) of what is wrong with a model's name, or None.

    Names: ``types/model/name.go``; cloud suffixes: ``internal/modelref/modelref.go``.

    >>> model_problem("qwen3:8b")
    >>> model_problem("gpt-oss:120b-cloud")[0]
    'cloud_model'
    """
    if len(name) > LONGEST_MODEL:
        return "too_large", f"model: {len(name):,} characters, at most {LONGEST_MODEL} are allowed"
    return _name_problem(name)


@lru_cache(maxsize=1024)
def _name_problem(name: str) -> tuple[str, str] | None:
    tag = name.rsplit("/", 1)[-1].partition(":")[2].lower()
    if tag == "cloud" or tag.endswith(("-cloud", ":cloud")):
        return (
            "cloud_model",
            (
                f"model: {name[:100]} runs in Ollama's cloud, "
                "so prompts would leave your machines; name a local model"
            ),
        )
    if tag.endswith(":local") or tag == "local":
        return (
            "invalid_value",
            f"model: leave out :local in {name[:100]}; only local models are run",
        )
    if not name:
        return ("missing", "model: empty; name one, such as qwen3:8b")
    if not _MODEL.fullmatch(name):
        return (
            "invalid_value",
            (
                f"model: {name[:100]!r} is not a model name; "
                "expected [host/][namespace/]model[:tag], such as qwen3:8b"
            ),
        )
    return None


def without_null(fields: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """The fields among ``names`` that were given."""
    return {name: fields[name] for name in names if fields[name] is not None}

"""One result as producers read it: a line of ``caravan results`` or of ``caravan run -o``."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

State = Literal[
    "scheduled",
    "waiting",
    "queued",
    "running",
    "held",
    "succeeded",
    "failed",
    "cancelled",
    "expired",
]


class ResultError(BaseModel):
    """Why a job has no answer."""

    model_config = ConfigDict(defer_build=True, title="Error")

    code: str = Field(description="One of the codes in docs/reference/errors.md.")
    message: str


_SELDOM = ("tool_calls", "logprobs", "embedding")
"""Fields that most lines do not have, so that the schema does not require them."""


def _without_seldom(schema: dict[str, Any]) -> None:
    for name in _SELDOM:
        if name in schema.get("required", ()):
            schema["required"].remove(name)


class ResultLine(BaseModel):
    """What became of one job. Lines come in the order of the input; failed jobs are among them."""

    model_config = ConfigDict(
        defer_build=True,
        title="Caravan result line",
        protected_namespaces=(),
        json_schema_serialization_defaults_required=True,
        json_schema_extra=_without_seldom,
    )

    custom_id: str = Field(description="As given, or line-N.")
    job: int = Field(description="Number of the job; in tables and in SQL it is called job_id.")
    batch: int = Field(description="Number of the batch.")
    state: State
    model: str
    answer: str | None = Field(
        default=None,
        description="The answer without its reasoning; null where there is none (yet).",
    )
    parsed: JsonValue = Field(
        default=None, description="The answer as JSON, where a format was asked for and it fits."
    )
    reasoning: str | None = Field(default=None, description="What the model thought before it answered.")
    done_reason: str | None = Field(
        default=None,
        description="stop: the model ended; length: num_predict or the window was reached.",
    )
    cut: bool | None = Field(
        default=None,
        description="The answer was ended by num_predict or a full window.",
    )
    empty: bool | None = Field(default=None, description="The answer has no text.")
    prompt_fit: Literal["yes", "no", "unknown"] | None = Field(
        default=None, description="Whether the model saw the whole prompt."
    )
    error: ResultError | None = Field(default=None, description="Why the job has no answer.")
    host: str | None = Field(default=None, description="Name of the host that answered.")
    prompt_tokens: int | None = None
    output_tokens: int | None = Field(default=None, description="Tokens generated, reasoning included.")
    tokens_per_second: float | None = Field(
        default=None,
        description="output_tokens by eval_seconds; null where the host sent no time.",
    )
    total_seconds: float | None = Field(
        default=None,
        description="On the host, from request to last token: queueing and loading included.",
    )
    load_seconds: float | None = Field(
        default=None,
        description="Until the runner was granted: waiting for other loads included.",
    )
    prompt_eval_seconds: float | None = Field(
        default=None,
        description="Reading the prompt; what a prefix cache held costs nothing.",
    )
    eval_seconds: float | None = Field(default=None, description="Generating.")
    queued_seconds: float | None = Field(
        default=None,
        description="From submission to the start of the attempt that ended it.",
    )
    attempts: int = Field(
        default=0,
        description="How often a host was asked, also where a try ended by no fault of the job.",
    )
    reused_from: int | None = Field(
        default=None,
        description="Job whose stored answer this is; no host was asked, and what it took is null.",
    )
    submitted_at: datetime | None = None
    started_at: datetime | None = Field(default=None, description="Start of the last attempt.")
    finished_at: datetime | None = None
    metadata: dict[str, JsonValue] | None = Field(default=None, description="As given.")
    tool_calls: list[JsonValue] | None = Field(
        default=None,
        description="Calls of tools that the model asks for, each with function.name and function.arguments; only there "
        "where it made some.",
    )
    logprobs: list[JsonValue] | None = Field(
        default=None,
        description="The log probability of each token as the host sent it; only there where the job requested it.",
    )
    embedding: list[float] | None = Field(
        default=None,
        description="The vector of a text, numbers of float32; only there where the job asked for one. There is no answer then.",
    )

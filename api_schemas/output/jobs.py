"""Jobs: lists, explanations and search results."""

from pydantic import Field

from api_schemas.output.base import BatchNumber, CustomId, HostName, JobNumber, ModelName, Output, Time


class JobOutput(Output):
    """A job of a list."""

    batch: BatchNumber
    job: JobNumber
    custom_id: CustomId
    model: ModelName
    state: str = Field(description="State of the job.")
    host: str | None = Field(description="Name of the host that runs it, or ran it last.")
    attempts: int = Field(description="How often a host was asked.")
    code: str | None = Field(description="Error code, or why it is held.")
    message: str | None = Field(description="The same in words.")


class AttemptOutput(Output):
    """One try of a job on one host."""

    attempt: int = Field(description="Number of the try, from 1.")
    host: HostName
    started_at: Time | None = Field(description="When the host got the request.")
    ended_at: Time = Field(description="When the try ended.")
    outcome: str = Field(description="Its result.")
    charged: bool = Field(description="Whether it counts against the attempts of the job.")
    code: str | None = Field(description="Error code.")
    message: str | None = Field(description="The error in words.")
    partial: str | None = Field(description="The beginning of an answer that was broken off.")


class ExplainedOutput(Output):
    """What a job or a batch waits for, in sentences."""

    batch: BatchNumber
    job: int | None = Field(description="Number of the job; null for a batch.")
    custom_id: str | None = Field(description="The custom_id of the job; null for a batch.")
    state: str = Field(description="State of the job or the batch.")
    sentences: list[str] = Field(description="What it waits for, and what helps.")
    attempts: list[AttemptOutput] = Field(description="All tries of the job so far.")


class HitOutput(Output):
    """A job that a search matched, and where."""

    batch: BatchNumber
    batch_name: str = Field(description="Name of the batch.")
    job: JobNumber
    custom_id: CustomId
    model: ModelName
    state: str = Field(description="State of the job.")
    finished_at: Time | None = Field(description="When it ended.")
    field: str = Field(description="prompt or answer: where the words stand.")
    snippet: str = Field(description="The text around them.")


class HitsOutput(Output):
    """What a search matched, the newest first."""

    hits: list[HitOutput] = Field(description="The first matches, as many as --limit says.")
    more: bool = Field(description="Whether there are more; a larger --limit shows them.")
    behind: int = Field(description="Number of results that are not indexed yet; --catch-up indexes them.")

"""Batches, what was done with them, and who is notified of them."""

from typing import Any, Literal

from pydantic import Field

from api_schemas.output.base import BatchNumber, JobsByState, Output, Time


class OperationOutput(Output):
    """A decision about many jobs of a batch, and how far its rows have followed."""

    verb: str = Field(
        description="What happens to the jobs: cancel, delete, refuse, pause, resume, retry or set."
    )
    total: int = Field(description="Number of jobs that it is about.")
    done: int = Field(description="Number of jobs that it has reached.")
    principal: str | None = Field(description="Who decided it, where the system knows.")
    created_at: Time = Field(description="When it was decided.")
    error: str | None = Field(description="Why its last step failed; it is tried again.")


class BatchOutput(Output):
    """A batch, and its jobs by state."""

    batch: BatchNumber
    key: str = Field(description="Idempotency key of the batch.")
    name: str = Field(description="Name of the batch.")
    state: str = Field(description="receiving, open, paused, finished, cancelled or refused.")
    pause_code: str | None = Field(description="Code of the reason why it paused by itself.")
    pause_reason: str | None = Field(description="Why it is paused.")
    total: int = Field(description="Number of its jobs.")
    done: int = Field(description="Number of its jobs that have ended.")
    counts: JobsByState
    claimed: int = Field(
        default=0, description="Number of its running jobs that a host has claimed and does not answer yet."
    )
    created_at: Time = Field(description="When it was submitted.")
    finished_at: Time | None = Field(description="When its last job ended.")
    pruned_at: Time | None = Field(description="When its prompts and answers were pruned.")
    terms: dict[str, Any] = Field(
        description="What its submission said of it: deadline, max_failures, fail_on_cut."
    )
    operation: OperationOutput | None = Field(description="The decision whose rows still follow.")


class AnswerCountsOutput(Output):
    """Answers that somebody should look at."""

    cut: int = Field(description="Answers that num_predict or a full window ended.")
    empty: int = Field(description="Answers without text.")
    unfit: int = Field(description="Answers to a part of the prompt only.")


class WeightsOutput(Output):
    """Answers that the same weights of a model gave on one host."""

    model: str = Field(description="Name of the model.")
    digest: str = Field(
        description="Digest of its weights and settings: two of a model are two models of one name."
    )
    host: str = Field(description="Name of the host.")
    answers: int = Field(description="Number of answers.")


class FailureOutput(Output):
    """Jobs that failed alike, and what the first of them failed of."""

    code: str = Field(description="Error code.")
    jobs: int = Field(description="Number of jobs that failed with it.")
    message: str = Field(description="Message of the first of them.")


class WindowOutput(Output):
    """The hours in which jobs may start."""

    hours: str = Field(description="The hours, in words.")
    open: bool = Field(description="Whether jobs may start now.")
    opens_at: Time | None = Field(default=None, description="When a closed window opens next.")


class BatchStatusOutput(BatchOutput):
    """A batch alone: its answers that somebody should look at, and what went wrong."""

    answers: AnswerCountsOutput = Field(description="Answers that somebody should look at.")
    weights: list[WeightsOutput] = Field(
        description="Which weights gave its answers, and where; of more than 20,000 results the first and the last 10,000."
    )
    problems: list[str] = Field(description="Why its input was refused, or which of its lines were.")
    failures: list[FailureOutput] = Field(description="Failures by code, the most frequent first.")
    window: WindowOutput | None = Field(description="The hours of a batch that is not over; null: any time.")


class SubmittedOutput(BatchOutput):
    """A batch as it was submitted."""

    created: bool = Field(description="Whether it is new; false: this input was known already.")
    served: bool = Field(description="Whether a process serves it by itself.")


class RunOutput(BatchOutput):
    """A batch after a run."""

    answers: AnswerCountsOutput = Field(description="Answers that somebody should look at.")
    seconds: float = Field(description="Seconds that the run took.")
    loads: int = Field(description="Number of model loads while this command worked on the batch.")
    load_seconds: float = Field(description="Seconds that these loads took.")
    ended: str = Field(description="Why the run ended.")
    reasons: list[str] = Field(description="Why the rest of the jobs does not move.")
    database: str = Field(description="URL of the database, without its password.")


class ActionOutput(Output):
    """What a command did to jobs."""

    action: Literal["cancel", "pause", "resume", "retry", "edit"] = Field(description="The command.")
    batch: int | None = Field(description="Number of the batch; null where jobs were named.")
    jobs: int = Field(description="Number of jobs that were changed; with dry_run, that would be.")
    running: int = Field(description="Number of running jobs that were requested to stop.")
    remaining: int = Field(description="Number of jobs that follow in the background.")
    dry_run: bool = Field(description="Whether nothing was changed.")


class DeletedOutput(Output):
    """What a command deleted."""

    batches: list[int] = Field(description="Numbers of the batches of which nothing is left.")
    jobs: int = Field(description="Number of jobs that were deleted; with dry_run, that would be.")
    dry_run: bool = Field(description="Whether nothing was deleted.")


class PrunedOutput(Output):
    """What a command pruned."""

    batches: list[int] = Field(description="Numbers of the batches.")
    jobs: int = Field(description="Number of their jobs.")
    bytes: int = Field(description="Bytes by which the database file became smaller.")
    dry_run: bool = Field(description="Whether nothing was pruned.")


class NoticeOutput(Output):
    """An addressee of a batch, and whether the message was delivered."""

    channel: str = Field(description="webhook, mail or command.")
    target: str = Field(description="URL, mail address or command.")
    when: str = Field(description="always, or failure: only if a job failed.")
    state: str = Field(description="waiting, delivered, skipped or given_up.")
    tries: int = Field(description="Number of tries so far.")
    next_at: Time | None = Field(description="When it is tried next.")
    error: str | None = Field(description="Why the last try failed.")

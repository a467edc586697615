"""Schedules, their firings, and the files of answers."""

from typing import Literal

from pydantic import AliasChoices, ConfigDict, Field, JsonValue

from api_schemas.output.base import ModelName, Output, Time
from api_schemas.output.batches import AnswerCountsOutput, WindowOutput


class StoredOutput(Output):
    """A part of a stored report, perhaps of another version, which knew other fields."""

    model_config = ConfigDict(extra="ignore")


class FailedDocumentOutput(StoredOutput):
    """A document without an answer, and why."""

    document: str = Field(description="Name of the document.")
    model: str | None = Field(default=None, description="Name of the model; null where it could not be read.")
    code: str = Field(description="Error code.")
    message: str = Field(description="The error in words.")
    known: bool = Field(default=False, description="Whether it failed with the same code before.")


class FlawedAnswerOutput(StoredOutput):
    """An answer that somebody should look at."""

    document: str = Field(description="Name of the document.")
    model: ModelName
    cut: bool = Field(description="Whether num_predict or a full window ended it.")
    empty: bool = Field(description="Whether it has no text.")
    prompt_fit: str | None = Field(
        default=None, description="yes, no or unknown: whether the model saw all of it."
    )


class ReusedAnswersOutput(AnswerCountsOutput, StoredOutput):
    """Answers that were reused although somebody should look at them."""

    batches: list[int] = Field(default=[], description="Numbers of the batches that gave them.")


class HeldDocumentsOutput(StoredOutput):
    """Documents whose jobs are held, by batch, model and reason."""

    batch: int = Field(
        description="Number of the batch.",
        validation_alias=AliasChoices("batch", "batch_id"),  # earlier versions stored it as batch_id
    )
    code: str = Field(description="Why they are held.")
    reason: str = Field(description="The same in words.")
    model: ModelName
    documents: int = Field(description="Number of documents.")


class IncompleteDocumentOutput(StoredOutput):
    """A document of which the model saw only some pages."""

    document: str = Field(description="Name of the document.")
    pages: list[int] = Field(description="Pages without text.")
    of: int | None = Field(default=None, description="Number of its pages.")


class FiringModelOutput(StoredOutput):
    """The weights of a model, as a firing met them."""

    digests: list[str] = Field(default=[], description="Digests that the hosts had when the firing began.")
    answers_of_others: int = Field(default=0, description="Answers kept that came of other weights.")
    strays: int = Field(default=0, description="Answers of this firing that came of other weights.")


class ForecastOutput(StoredOutput):
    """Whether the hours of a firing are long enough."""

    enough: bool | None = Field(default=None, description="Whether they are; null: the pace is not known.")
    opens_at: Time | None = Field(default=None, description="When a closed window opens next.")
    done_at: Time | None = Field(default=None, description="When all is likely to be done.")
    closes_at: Time | None = Field(default=None, description="When the first window closes.")
    windows: int = Field(default=0, description="Number of windows that it takes.")
    message: str = Field(default="", description="The same in words.")


class AnswerFilesOutput(StoredOutput):
    """What became of the files of answers."""

    written: int = Field(description="Number of files that were written.")
    unchanged: int = Field(description="Number of files that were right already.")
    removed: int = Field(description="Number of files of earlier names that were removed.")
    problems: list[str] = Field(description="Files that could not be written, and why.")


class FiringOutput(StoredOutput):
    """A firing of a schedule: as it stands, or its report when it has ended. Documents count once for each model."""

    schedule: str = Field(description="Name of the schedule.")
    fire_at: Time = Field(description="The time for which it fired.")
    by_hand: bool = Field(description="Whether somebody ran it beside its times.")
    state: str = Field(description="due, queued, reading, running, finished, skipped or failed.")
    reason: str | None = Field(default=None, description="Why it was skipped, or failed.")
    batch: int | None = Field(description="Number of its batch; null where nothing was asked.")
    batch_state: str | None = Field(default=None, description="State of its batch.")
    missed: int = Field(description="Number of missed firings that it stands for.")
    matches: int = Field(description="Documents that are there.")
    new: int = Field(description="Documents that are new.")
    changed: int = Field(description="Documents that have changed.")
    retried: int = Field(description="Documents that are asked again because they had no answer.")
    reused: int = Field(description="Documents whose answers stay.")
    pending: int = Field(description="Documents that an earlier firing still asks.")
    gone: int = Field(description="Documents that are not there any more.")
    answered: int = Field(description="Documents that got an answer.")
    taken: int = Field(description="Of these, answers that were stored before.")
    failed: int = Field(description="Documents that could not be read, or got no answer.")
    left: int = Field(description="Documents that still wait, held ones included.")
    held: int = Field(default=0, description="Documents whose jobs of this firing are held.")
    cut: int = Field(description="Answers that num_predict or a full window ended.")
    empty: int = Field(description="Answers without text.")
    unfit: int = Field(description="Answers to a part of the prompt only.")
    failures: dict[str, int] = Field(default={}, description="Failures by error code.")
    failed_documents: list[FailedDocumentOutput] = Field(
        default=[], description="The first 500 that failed; new failures come first."
    )
    failed_not_listed: int = Field(
        default=0, description="Number of failures beyond those; caravan jobs BATCH --state failed lists all."
    )
    failed_known: int = Field(default=0, description="Failures with the same code as the time before.")
    flawed_answers: list[FlawedAnswerOutput] = Field(
        default=[],
        description="The first 500 answers that are cut, empty or unfit; caravan jobs BATCH --cut lists all.",
    )
    reused_flawed: ReusedAnswersOutput | None = Field(
        default=None, description="Reused answers that somebody should look at."
    )
    held_documents: list[HeldDocumentsOutput] = Field(default=[], description="All that is held, by reason.")
    documents: dict[str, list[str]] = Field(
        default={},
        description="Names of the first 500 documents by what they are: new, changed, retried, gone.",
    )
    documents_not_listed: int = Field(default=0, description="Number of documents beyond those.")
    left_out: dict[str, int] = Field(
        default={}, description="Files that match and are no documents, by reason."
    )
    unsettled: list[str] = Field(
        default=[], description="The first 500 files that changed just now and are left to the next firing."
    )
    incomplete: list[IncompleteDocumentOutput] = Field(
        default=[], description="The first 500 documents that were asked without some pages."
    )
    incomplete_not_listed: int = Field(default=0, description="Number of such documents beyond those.")
    models: dict[str, FiringModelOutput] = Field(default={}, description="Weights by model.")
    models_added: list[str] = Field(default=[], description="Models that are asked for the first time.")
    models_dropped: dict[str, int] = Field(
        default={}, description="Models that are not asked any more, with the number of their answers."
    )
    forecast: ForecastOutput | None = Field(default=None, description="Whether its hours are long enough.")
    window: WindowOutput | None = Field(default=None, description="Its hours, while documents are left.")
    seconds: float | None = Field(default=None, description="Seconds that it took, or has taken so far.")
    prompt_tokens: int | None = Field(default=None, description="Tokens read.")
    output_tokens: int | None = Field(default=None, description="Tokens generated, reasoning included.")
    files: AnswerFilesOutput | None = Field(default=None, description="What became of the files of answers.")


class ScheduleOutput(Output):
    """A schedule, and when it fires next."""

    name: str = Field(description="Name of the schedule.")
    version: int = Field(description="Number of its version, from 1.")
    spec: dict[str, JsonValue] = Field(description="What was set, as in a schedule file.")
    roots: list[str] = Field(description="Folders outside of which nothing is read.")
    next_at: Time | None = Field(description="When it fires next; null: never.")
    paused: bool = Field(description="Whether it is paused.")
    paused_reason: str | None = Field(description="Why it is paused.")


class ScheduleLineOutput(ScheduleOutput):
    """A schedule of a list."""

    last: FiringOutput | None = Field(description="Its last firing.")


class ScheduleDetailsOutput(ScheduleLineOutput):
    """A schedule alone."""

    next: list[Time] = Field(description="Its next three firings.")
    unreadable_roots: list[str] = Field(description="Folders of it that cannot be read from here.")


class ScheduleChangeOutput(ScheduleOutput):
    """A schedule that was added or replaced."""

    change: str = Field(description="added, replaced or unchanged.")
    warnings: list[str] = Field(description="What is doubtful about it.")


class ScheduleStepOutput(Output):
    """What applying a file does to one schedule."""

    name: str = Field(description="Name of the schedule.")
    change: Literal["add", "change", "remove", "unchanged"] = Field(description="What is done to it.")
    differences: list[str] = Field(description="Each field that differs, in a line.")


class SchedulesAppliedOutput(Output):
    """What applying a file does."""

    file: str = Field(description="Path of the file.")
    applied: bool = Field(description="Whether it was done; false with --dry-run.")
    schedules: list[ScheduleStepOutput] = Field(description="One step for each schedule.")
    left: list[str] = Field(
        description="Schedules that the file names no more and that stay without --prune."
    )
    warnings: list[str] = Field(description="What is doubtful about them.")

"""What is processed when: schedules, their firings, and the documents that each has seen."""

from collections.abc import Mapping
from dataclasses import field, fields
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from worker.domain.notices import Addressee, Channel, When
from worker.records import record

Misfire = Literal["run", "skip"]
"""A firing that nobody began in time: begun all the same, once, or passed over."""
Overlap = Literal["refuse", "queue", "allow"]
"""A firing while an earlier one has not ended."""
OnModelChange = Literal["keep", "rerun"]
"""Answers of weights that no host has any more: kept, or asked again."""
AnswerForm = Literal["md", "json"]

SPEC_VERSION = 1


@record
class ScheduleSpec:
    """What was said of a schedule. Paths are absolute."""

    cron: str
    tz: str = "UTC"
    documents: tuple[str, ...] = ()
    """Patterns of files."""
    roots: tuple[str, ...] = ()
    """Folders: nothing outside them is read."""
    exclude: tuple[str, ...] = ()
    """Patterns of files to leave out: the end of a path, or an absolute path."""
    encoding: str | None = None
    """Of documents that are text and do not say it themselves."""
    id: str | None = None
    """The column whose value identifies a row of a table; None: what the row says does."""
    min_age: str | None = None
    """Files that were changed within this time wait for the next firing: ``5m``. None: as ``UNSETTLED`` says."""
    template: str | None = None
    """File of the prompt's template; each firing reads it again."""
    prompt: str | None = None
    """The template itself, where it stands in no file."""
    system: str | None = None
    """A text, or ``@`` and a file, which each firing reads again."""
    models: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    think: bool | None = None
    format: Any = None
    """``json`` or a JSON Schema."""
    allow_empty: bool = False
    """An answer without text is a success."""
    long: Literal["refuse", "split"] = "refuse"
    """Documents that do not fit the model's window."""
    combine: str | None = None
    """File of the template that combines the answers of the parts; each firing reads it again."""
    pages_as_images: bool = False
    """The pages are shown to a model that sees."""
    scans: Literal["refuse", "skip", "images"] = "skip"
    """Pages without text: their document is refused, they are left out by name, or a model sees them."""
    extract: str | None = None
    """A command of the user's own that makes Markdown of a file."""
    rows: bool = False
    """Each row of a workbook is a document; else each sheet."""
    priority: str | None = None
    max_failures: str | None = None
    keep: str | None = None
    """How long the batch of a firing is kept once it has ended: ``30d``, ``forever``."""
    window: tuple[str, ...] = ()
    blackout: tuple[str, ...] = ()
    misfire: Misfire = "run"
    overlap: Overlap = "refuse"
    on_model_change: OnModelChange = "keep"
    ask_cut_again: bool = False
    """Documents whose answer was cut, is empty, or was given to a part of the prompt are asked again."""
    output: str | None = None
    """Folder that answers are written to."""
    beside: bool = False
    """Answers are written beside the documents."""
    form: AnswerForm = "md"
    notify: str = "always"
    """``always`` or ``new-failures``: when to notify those below; ``failure`` means the latter, as in the first version."""
    mail_to: tuple[str, ...] = ()
    webhook: tuple[str, ...] = ()
    webhook_key: str | None = None
    """Where the key stands: ``env:NAME`` or ``file:PATH``."""
    command: str | None = None
    file: str | None = None
    """The YAML file that it was applied from last."""

    @property
    def addressees(self) -> tuple[Addressee, ...]:
        """Of the messages about the end of a firing."""
        when: When = "always" if self.notify == "always" else "failure"
        return (
            *(Addressee(Channel.MAIL, address, when) for address in self.mail_to),
            *(Addressee(Channel.WEBHOOK, address, when, self.webhook_key) for address in self.webhook),
            *((Addressee(Channel.COMMAND, self.command, when),) if self.command else ()),
        )

    @property
    def plain(self) -> dict[str, Any]:
        """As it is stored, and as a YAML file says it: what is as it always is, is left out."""
        values: dict[str, Any] = {}
        for attribute in fields(self):
            value = getattr(self, attribute.name)
            if attribute.name == "cron" or (value != attribute.default and value not in ((), {}, None)):
                values[attribute.name] = list(value) if isinstance(value, tuple) else value
        return values

    @classmethod
    def parse(cls, plain: Mapping[str, Any]) -> "ScheduleSpec":
        """What ``plain`` gave; fields of a newer version are passed over."""
        known = {attribute.name for attribute in fields(cls)}
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in plain.items()
            if name in known
        }
        return cls(**values)


@record
class Schedule:
    """A schedule as it stands."""

    id: int
    name: str
    version: int
    """Number of this version of the schedule, from 1."""
    spec: ScheduleSpec
    next_at: datetime | None
    """Its next firing; None: none will come."""
    added_at: datetime
    changed_at: datetime
    paused_at: datetime | None = None
    paused_reason: str | None = None


class FiringState(StrEnum):
    """Where a firing stands."""

    DUE = "due"
    """Its time has come, and nobody reads the documents yet."""
    QUEUED = "queued"
    """An earlier one has not ended."""
    READING = "reading"
    """Somebody reads the documents, under a lease."""
    RUNNING = "running"
    """What is to be asked is in a batch."""
    FINISHED = "finished"
    SKIPPED = "skipped"
    """It was missed or an earlier one had not ended, and the schedule says that it is passed over then."""
    FAILED = "failed"
    """Its documents or its template could not be read at all."""


OPEN_FIRINGS = frozenset({FiringState.DUE, FiringState.QUEUED, FiringState.READING, FiringState.RUNNING})


@record
class Tallies:
    """What a firing found, in documents times models."""

    matches: int = 0
    new: int = 0
    changed: int = 0
    retried: int = 0
    reused: int = 0
    pending: int = 0
    gone: int = 0
    unreadable: int = 0

    @property
    def questions(self) -> int:
        return self.new + self.changed + self.retried


@record
class Firing:
    """One firing of a schedule."""

    id: int
    schedule_id: int
    schedule: str
    """Its name."""
    fire_at: datetime
    """The time that it was due; once for each time."""
    by_hand: bool
    version: int
    """Of the schedule, when it began."""
    state: FiringState
    tries: int = 0
    token: str | None = None
    batch_id: int | None = None
    missed: int = 0
    """Firings before it that nobody began in time and for which it stands."""
    began_at: datetime | None = None
    ended_at: datetime | None = None
    tallies: Tallies = Tallies()
    report: Mapping[str, Any] = field(default_factory=dict)
    reason: str | None = None
    """Why it was skipped, or failed."""


@record
class ScheduleDocument:
    """What is remembered of a document and model."""

    custom_id: str
    model: str
    path: str
    sha256: str | None
    fingerprint: bytes | None
    asked_batch: int | None
    asked_job: int | None
    answered_job: int | None
    answered: bytes | None
    digest: str | None
    gone: bool
    pending: bool
    firing_id: int
    change: str
    """What its last firing found."""
    flawed: bool = False
    """Its answer was cut, is empty, or was given to a part of the prompt."""

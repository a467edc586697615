"""Addressees and messages for the end of a batch or a firing."""

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from worker.domain.answers import AnswerCounts
from worker.domain.health import Telling
from worker.domain.jobs import JobState
from worker.records import record

When = Literal["always", "failure"]
"""``failure``: only where a job failed, expired or was cancelled, or the batch was."""


class Channel(StrEnum):
    """A way out."""

    WEBHOOK = "webhook"
    MAIL = "mail"
    COMMAND = "command"


class NoticeState(StrEnum):
    """What became of a notice."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    SKIPPED = "skipped"
    """There was nothing to tell: it was wanted for failures only."""
    GIVEN_UP = "given_up"


@record
class Addressee:
    """An addressee: a URL, a mail address or a command."""

    channel: Channel
    target: str
    when: When = "always"
    secret: str | None = None
    """Where the key that signs a webhook stands: ``env:NAME`` or ``file:PATH``."""


@record
class Means:
    """What is needed to get a notice out."""

    telling: Telling
    webhook_key: str = ""
    """``whsec_…``, ``env:NAME`` or ``file:PATH``; for webhooks that name no other. Empty: they are not signed."""
    commands: bool = False
    """Whether commands may be run here."""


@record
class Notice:
    """Somebody is to be told of a batch or of a firing, one of them, or was."""

    id: int
    batch_id: int | None
    to: Addressee
    message_id: str
    """The same with each try: who gets it twice knows by it."""
    state: NoticeState
    tries: int
    next_at: datetime
    error: str | None = None
    firing_id: int | None = None


@record
class News:
    """What came of a batch."""

    batch: int
    key: str
    name: str
    state: str
    counts: Mapping[str, int]
    failures: Mapping[str, int]
    """Code → jobs, the most frequent ones."""
    created_at: datetime
    finished_at: datetime
    prompt_tokens: int = 0
    output_tokens: int = 0
    eval_seconds: float = 0.0
    more: Mapping[str, Any] = field(default_factory=dict)
    answers: AnswerCounts = field(default_factory=AnswerCounts)

    @property
    def is_bad(self) -> bool:
        """Something in it was not answered."""
        return self.state == "cancelled" or any(
            n for state, n in self.counts.items() if state != JobState.SUCCEEDED
        )

    @property
    def seconds(self) -> float:
        """From its submission to its end."""
        return max(0.0, (self.finished_at - self.created_at).total_seconds())

    @property
    def event(self) -> str:
        """``batch.finished`` or ``batch.cancelled``."""
        return f"batch.{self.state}"


@record
class Message:
    """A message about a batch or a firing."""

    event: str
    """``batch.finished``, ``firing.skipped``, …"""
    summary: str
    """One line."""
    text: str
    """For a mail."""
    data: Mapping[str, Any]
    """For a webhook or a command."""
    is_bad: bool
    about: Mapping[str, str]
    """For the environment of a command."""

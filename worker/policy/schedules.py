"""When is a schedule due, and which of its documents are to be asked? Pure: times, rules and hashes in, decisions out.

Times of a cron expression are those of the clock on the wall in the schedule's zone. A time that a change of clocks
skips fires at the next one there is; one that comes twice fires the first time (Debian cron's rules). An expression
that begins with a star in minutes or hours keeps its pace through a change.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import islice
from typing import Any, Literal
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from worker.errors import InputRefused, Problem
from worker.policy.zones import zone_of
from worker.records import record

Misfire = Literal["run", "skip"]
Overlap = Literal["refuse", "queue", "allow"]
OnModelChange = Literal["keep", "rerun"]

LATE = timedelta(minutes=15)
"""A firing that nobody began for so long was missed: whoever should have was down."""
MOST_MISSED = 1000
UNSETTLED = timedelta(minutes=1)
"""At the times of a schedule, a file that was changed within this time may still be written. By hand, now means now."""


@record
class Due:
    """What a look at a schedule came to."""

    fire_at: datetime | None
    """The firing that is to begin now; None: none, or it was missed and is passed over."""
    missed: int
    """Firings before it, or all of them, that nobody began in time; counted to ``MOST_MISSED``."""
    skipped_at: datetime | None
    """The latest one that is passed over because it was missed."""
    next_at: datetime | None
    """The first after now; None where there is none in fifty years."""


def check_cron(cron: str, zone: str) -> None:
    """Raise InputRefused where either is not valid."""
    zone_of(zone)
    try:
        if len(cron.split()) != 5:
            raise CronSimError("expected five fields")
        next(CronSim(cron, datetime(2026, 1, 1, tzinfo=UTC)))
    except (CronSimError, StopIteration) as error:
        why = str(error) or "no such time ever comes"
        message = f"--cron {cron[:60]!r}: {why}; expected minute hour day month weekday, e.g. '0 2 * * *'"
        raise InputRefused([Problem(0, "cron", "invalid_value", message)]) from error


def fire_times(cron: str, zone: ZoneInfo, *, after: datetime) -> Iterator[datetime]:
    """The times after ``after``, in UTC, each once.

    >>> berlin, march = ZoneInfo("Europe/Berlin"), datetime(2026, 3, 28, 12, tzinfo=UTC)
    >>> [str(at) for at in islice(fire_times("30 2 * * *", berlin, after=march), 2)]
    ['2026-03-29 01:00:00+00:00', '2026-03-30 00:30:00+00:00']
    """
    last = after
    try:
        for local in CronSim(cron, after.astimezone(zone)):
            at = local.astimezone(UTC)
            if (
                at > last
            ):  # several skipped times fire together, and a wall clock that was put back shows old ones
                last = at
                yield at
    except StopIteration:
        return


def next_fire(cron: str, zone: ZoneInfo, *, after: datetime) -> datetime | None:
    """The first time after ``after``."""
    return next(fire_times(cron, zone, after=after), None)


def due(cron: str, zone: ZoneInfo, *, next_at: datetime, now: datetime, misfire: Misfire) -> Due:
    """What is to begin at ``now`` of a schedule whose next firing was to be at ``next_at``.

    Of several that are due, the latest stands for all: the documents are what they are now. One that is late is begun
    all the same (``run``), once, or passed over (``skip``).
    """
    if now < next_at:
        return Due(None, 0, None, next_at)
    following = fire_times(cron, zone, after=next_at)
    passed, latest, then = 0, next_at, None
    for at in islice(following, MOST_MISSED):
        if at > now:
            then = at
            break
        passed, latest = passed + 1, at
    else:
        then = next_fire(cron, zone, after=now)
        latest = max(
            (at for at in islice(fire_times(cron, zone, after=now - timedelta(days=1)), 2000) if at <= now),
            default=latest,
        )
    if now - latest > LATE and misfire == "skip":
        return Due(None, passed + 1, latest, then)
    return Due(latest, passed, None, then)


class Fate(StrEnum):
    """What is done with a firing while an earlier one has not ended."""

    BEGIN = "begin"
    QUEUE = "queue"
    REFUSE = "refuse"


def fate(overlap: Overlap, *, unfinished: int, queued: int) -> Fate:
    """Beside ``unfinished`` firings, of which ``queued`` wait for their turn. At most one waits.

    >>> fate("queue", unfinished=1, queued=0), fate("queue", unfinished=2, queued=1), fate("allow", unfinished=3, queued=0)
    (<Fate.QUEUE: 'queue'>, <Fate.REFUSE: 'refuse'>, <Fate.BEGIN: 'begin'>)
    """
    if unfinished == 0 or overlap == "allow":
        return Fate.BEGIN
    return Fate.QUEUE if overlap == "queue" and queued == 0 else Fate.REFUSE


def fingerprint(sha256: str, model: str, request: Mapping[str, Any]) -> bytes:
    """16 bytes that tell whether a document was asked the same of the same model: its bytes, and the ``request``
    (template, system, options, format, think), as plain values."""
    plain = json.dumps(request, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.blake2b(
        f"{sha256}\0{model}\0{plain}".encode("utf-8", "surrogatepass"), digest_size=16
    ).digest()


class Change(StrEnum):
    """What a firing found of a document and model."""

    NEW = "new"
    CHANGED = "changed"
    REUSED = "reused"
    """Nothing changed, and there is an answer."""
    RETRIED = "retried"
    """Nothing changed, and it has no answer: it failed the last time, or was not got to. Or its answer was cut, and such
    answers are asked for again."""
    PENDING = "pending"
    """Nothing changed, and an earlier firing is still at it."""
    FAILED = "failed"
    """It cannot be read."""
    GONE = "gone"
    DROPPED = "dropped"
    """The schedule asks its model no more."""

    @property
    def asks(self) -> bool:
        """Whether a job comes of it."""
        return self in (Change.NEW, Change.CHANGED, Change.RETRIED)


@record
class DocumentHistory:
    """What is remembered of a document and model."""

    fingerprint: bytes | None
    """Of what was asked last; None: it could never be read."""
    answered: bytes | None = None
    """Fingerprint of its latest answer."""
    digest: str | None = None
    """Of the weights that gave it."""
    pending: bool = False
    """Its latest job has not ended."""
    flawed: bool = False
    """The answer was cut, is empty, or was given to a part of the prompt."""


def change(
    history: DocumentHistory | None,
    current: bytes,
    *,
    digests: frozenset[str] = frozenset(),
    on_model_change: OnModelChange = "keep",
    ask_cut_again: bool = False,
) -> Change:
    """The change of a document that can be read and has the fingerprint ``current``.

    ``digests``: the weights that hosts have under the model's name now; none known, or the ones of the answer among
    them, is no change.
    """
    if history is None or history.fingerprint is None:
        return Change.NEW
    if current == history.answered:
        moved = on_model_change == "rerun" and model_moved(history.digest, digests)
        again = ask_cut_again and history.flawed
        if not moved and not again:
            return Change.REUSED
        if history.pending:
            return Change.PENDING
        return Change.CHANGED if moved else Change.RETRIED
    if current != history.fingerprint:
        return Change.CHANGED
    return Change.PENDING if history.pending else Change.RETRIED


def model_moved(answered: str | None, digests: frozenset[str]) -> bool:
    """Whether the weights of an answer are those of no host any more.

    >>> model_moved("a", frozenset({"a", "b"})), model_moved("a", frozenset({"b"})), model_moved("a", frozenset())
    (False, True, False)
    """
    return answered is not None and bool(digests) and answered not in digests

"""Should a batch stop by itself? A mistake in it costs some outcomes, not all of them.

Two brakes. The first 20 outcomes all failed with one code: nothing suggests that the 21st will not. Or more jobs failed
than its producer allowed. A batch that somebody resumed is judged again, by what comes after.
"""

import re
from collections.abc import Collection

from worker.clock import Clock
from worker.domain.batches import BatchState, Tally
from worker.errors import InputRefused, Problem
from worker.maintenance.withdraw import withdraw
from worker.observability.events import emit
from worker.records import record
from worker.storage.engine import Connection, Database
from worker.storage.pauses import (
    batch_tally,
    first_failure,
    latest_codes,
    lock_tally,
    pause_batch,
)

FIRST = 20
"""Outcomes that are enough to judge by."""
LOOKED_AT = 500
"""Failures; a batch that came so far was not stopped by the first brake, and its codes are not looked at any more."""
MOST = 20_000
"""Failures of a batch that was let go on again and again; to look at its latest would take too long."""

_LIMIT = re.compile(r"(\d{1,8})|(\d{1,3}(?:\.\d{1,3})?)%")


@record
class MaxFailures:
    """How many failures a batch may have: a number, or a share of its outcomes."""

    number: float
    percent: bool = False

    def exceeded(self, failed: int, outcomes: int) -> bool:
        """A share is judged from the 20th outcome on.

        >>> MaxFailures(3).exceeded(4, 4), MaxFailures(5, percent=True).exceeded(4, 19)
        (True, False)
        """
        if self.percent:
            return outcomes >= FIRST and failed * 100 > self.number * outcomes
        return failed > self.number


def parse_max_failures(text: str) -> MaxFailures:
    """``N`` or ``P%``. Raises InputRefused.

    >>> parse_max_failures("5%")
    MaxFailures(number=5.0, percent=True)
    """
    match = _LIMIT.fullmatch(text.strip()) if text.isascii() and len(text) <= 10 else None
    if match is not None and match[1] is not None:
        return MaxFailures(float(match[1]))
    if match is not None and float(match[2]) <= 100:
        return MaxFailures(float(match[2]), percent=True)
    message = f"--max-failures {text[:40]}: expected a number of jobs, or a share of the outcomes such as 5%"
    raise InputRefused([Problem(0, "--max-failures", "invalid_value", message)])


@record
class Braked:
    """A batch that was paused just now."""

    batch_id: int
    code: str
    """``same_failure`` or ``max_failures``."""
    reason: str
    """For people, with what to do next."""


def apply_brakes(database: Database, batch_ids: Collection[int], *, clock: Clock) -> list[Braked]:
    """Pause those of these batches whose brakes are due; for batches of which failures were stored just now.

    However many call this at once, a batch is paused once, and only the first call returns it.
    """
    suspects = []
    if batch_ids:
        with database.read() as conn:
            for batch_id in sorted(set(batch_ids)):
                tally = batch_tally(conn, batch_id)
                if tally is not None and _why(conn, batch_id, tally) is not None:
                    suspects.append(batch_id)
    braked = []
    for batch_id in suspects:
        with database.write() as conn:
            tally = lock_tally(conn, batch_id)
            reason = None if tally is None else _why(conn, batch_id, tally)
            if reason is None:
                continue
            jobs = pause_batch(conn, batch_id, code=reason.code, reason=reason.reason, now=clock.now())
        withdraw(database)
        emit("batch.braked", batch=batch_id, code=reason.code, jobs=jobs)
        braked.append(reason)
    return braked


def _why(conn: Connection, batch_id: int, tally: Tally) -> Braked | None:
    if tally.state is not BatchState.OPEN:
        return None
    failed, outcomes = tally.failed_since, tally.outcomes_since
    since = " since it went on" if tally.forgiven.outcomes else ""
    if tally.max_failures is not None and parse_max_failures(tally.max_failures).exceeded(failed, outcomes):
        reason = (
            f"{failed:,} of {outcomes:,} outcomes failed{since}, more than --max-failures {tally.max_failures} "
            f"allows; caravan status {batch_id} says with what, then: caravan resume {batch_id}"
        )
        return Braked(batch_id, "max_failures", reason)
    if tally.succeeded or not FIRST <= failed <= LOOKED_AT or tally.failed > MOST:
        return None
    codes = latest_codes(conn, batch_id, failed)
    if len(codes) != 1:
        return None
    (code,) = codes
    message = " ".join((first_failure(conn, batch_id, code) or "").split())[:300]
    reason = (
        f"{failed:,} of {failed:,} outcomes failed{since} with {code}{': ' if message else ''}{message}; "
        f"correct it, then: caravan resume {batch_id}, or caravan retry {batch_id} --state failed"
    )
    return Braked(batch_id, "same_failure", reason)

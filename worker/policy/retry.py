"""What becomes of a job whose attempt failed: again, and when, or never."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from worker.domain.attempts import Cancelled, Failed, Held, Outcome, Retried
from worker.domain.reuse import is_repeatable
from worker.errors import CODES, Code, HostError

LONGEST_WAIT = timedelta(minutes=10)
SUSPECT_AFTER = 2
"""Deaths of a host or a worker that a job ran on, after which it is a suspect: it runs alone on an idle host, so that
the next death tells whether it was the job."""
MOST_LOSSES = 3
"""Deaths after which it is held."""

_MAY_BE_THE_JOB = frozenset(
    {
        Code.RUNNER_DIED,
        Code.REPLY_CUT,
        Code.REPLY_STALLED,
        Code.NO_FIRST_BYTE,
        Code.BELOW_FLOOR,
        Code.BAD_REPLY,
        Code.INTERNAL,
    }
)


def is_suspect(losses: int) -> bool:
    """Whether a job that was running when its host or worker died so often has to run alone."""
    return losses >= SUSPECT_AFTER


def backoff(failures: int, *, jitter: float = 0.0) -> timedelta:
    """Wait after the ``failures``-th failure: its fourth power in seconds, at most ten minutes, plus jitter.

    >>> [backoff(n).total_seconds() for n in (1, 2, 3, 4, 9)]
    [1.0, 16.0, 81.0, 256.0, 600.0]
    """
    return min(timedelta(seconds=failures**4), LONGEST_WAIT) * (1 + jitter)


def after_failure(
    error: HostError, *, charged: int, losses: int, max_attempts: int, now: datetime, jitter: float
) -> Outcome:
    """Decide what becomes of a job whose attempt ended with ``error``.

    The job's own fault is charged and limited by ``max_attempts``. A host's or runner's fault is not: the job goes
    back at once for another host, while the one that failed steps back (``host_pause``). A fault that follows the
    job around makes it a suspect, which runs alone; at the next one it is held.
    """
    code, message = error.code, error.message
    facts = CODES[code]
    if code is Code.CANCELLED:
        return Cancelled(partial=error.partial)
    if not facts.retried:
        return Failed(code, message, partial=error.partial)
    if facts.fault == "job":
        if charged + 1 >= max_attempts:
            return Failed(code, message, partial=error.partial)
        wait = backoff(charged + 1, jitter=jitter)
        return Retried(code, message, at=now + wait, charged=True, partial=error.partial)
    lost = code in _MAY_BE_THE_JOB
    if lost and losses + 1 >= MOST_LOSSES:
        return Held(
            code,
            f"its host or worker failed {losses + 1} times while it ran, last when it ran alone: {message}",
        )
    at = now + timedelta(seconds=1 + jitter)
    return Retried(code, message, at=at, charged=False, partial=error.partial, lost=lost)


def most_attempts(code: Code, request: Mapping[str, Any], max_attempts: int) -> int:
    """How often a job is tried whose attempt failed with ``code``.

    At temperature 0 and with a seed a model that answered nothing answers nothing again.

    >>> most_attempts(Code.EMPTY_ANSWER, {"options": {"seed": 7}}, 3), most_attempts(Code.HOST_ERROR, {}, 3)
    (1, 3)
    """
    return 1 if code is Code.EMPTY_ANSWER and is_repeatable(request) else max_attempts


def host_pause(failures: int) -> timedelta:
    """How long a host, or a runner key on it, is left alone after ``failures`` failures in a row.

    >>> [host_pause(n).total_seconds() for n in (1, 2, 3, 6, 20)]
    [2.0, 4.0, 8.0, 60.0, 60.0]
    """
    return timedelta(seconds=min(2**failures, 60))


def load_pause(failures: int) -> timedelta:
    """How long a runner key is left alone on a host after ``failures`` failed loads in a row.

    >>> [load_pause(n).total_seconds() for n in (1, 2, 5)]
    [15.0, 60.0, 600.0]
    """
    return min(timedelta(seconds=15 * 4 ** (min(failures, 10) - 1)), LONGEST_WAIT)

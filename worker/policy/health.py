"""How well is a host, and how long is it left alone? Generation decides: the other endpoints of a wedged server answer
at once all the while (``/api/tags``, ``/api/ps``; a stopped runner behind them is silent)."""

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime, timedelta

from worker.domain.hosts import Health
from worker.errors import Code
from worker.records import mutable_record

WEDGED = frozenset({Code.NO_FIRST_BYTE, Code.REPLY_STALLED, Code.BELOW_FLOOR})
"""Ends of calls that say that the runner may hang: it has to be unloaded before it is used again."""
BROKEN = WEDGED | {Code.RUNNER_DIED, Code.REPLY_CUT}
"""Ends of calls that count towards quarantine."""
BROKEN_IN_A_ROW = 5
"""Incidents without an answer between them after which the host, not a job, must be what is broken: a job that kills
hosts is held after three."""
WEDGED_IN_A_ROW = 2
"""A runner that hangs again after it was unloaded and loaded again."""
LONGEST_QUARANTINE = timedelta(minutes=30)


def quarantine(times: int) -> timedelta:
    """How long a host is left alone the ``times``-th time in a row.

    >>> [quarantine(n).total_seconds() for n in (1, 2, 5, 6, 40)]
    [60.0, 120.0, 960.0, 1800.0, 1800.0]
    """
    return min(timedelta(minutes=2 ** (min(times, 10) - 1)), LONGEST_QUARANTINE)


def health_of(
    *,
    now: datetime,
    draining: bool,
    quarantined_until: datetime | None,
    unreachable_since: datetime | None,
    slow_since: datetime | None,
    closed: bool = False,
) -> Health:
    """The one state that a host is shown in."""
    if draining:
        return Health.DRAINING
    if closed:
        return Health.CLOSED
    if quarantined_until is not None and quarantined_until > now:
        return Health.QUARANTINED
    if unreachable_since is not None:
        return Health.UNREACHABLE
    return Health.READY if slow_since is None else Health.SLOW


SLOW_SHARE = 4.0
"""A host is slow from a fourth of its usual tokens/s on: more slots in use alone make it less than half."""
WELL_SHARE = 2.0
RECENT, USUAL = 0.2, 0.01
"""Weights of one more answer."""
FEW_TOKENS = 16
"""A shorter answer says little of the pace."""
ENOUGH = 8
"""Answers before anything is said."""


@mutable_record
class _Speed:
    """Tokens per second of late, and as a rule."""

    recent: float
    usual: float
    answers: int = 1


@mutable_record
class Speeds:
    """Tokens per second of a host's answers by runner key: what is usual there, and what it gives lately."""

    slow: str | None = None
    """The runner key that the host is slow with, while it is."""
    _speeds: dict[str, _Speed] = field(default_factory=dict)

    def answered(self, runner_key: str, tokens_per_second: float) -> str | None:
        """One more answer. Returns in words why the host is slow with this key, None where it is not."""
        known = self._speeds.get(runner_key)
        if known is None:
            self._speeds[runner_key] = _Speed(tokens_per_second, tokens_per_second)
            return None
        known.answers += 1
        known.recent += RECENT * (tokens_per_second - known.recent)
        known.usual += max(USUAL, 1 / known.answers) * (tokens_per_second - known.usual)
        if known.answers < ENOUGH:
            return None
        share = WELL_SHARE if self.slow == runner_key else SLOW_SHARE
        if known.recent * share >= known.usual:
            if self.slow == runner_key:
                self.slow = None
            return None
        self.slow = runner_key
        return f"{runner_key}: {known.recent:.1f} tokens/s lately, {known.usual:.1f} as a rule"

    @property
    def speeds(self) -> Mapping[str, tuple[float, float]]:
        """Runner key → tokens per second lately, and as a rule."""
        return {key: (speed.recent, speed.usual) for key, speed in self._speeds.items()}

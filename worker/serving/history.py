"""What a process remembers of a host from one pass to the next."""

from dataclasses import field

from worker.errors import DatabaseFailure, DatabaseUnavailable, HostError
from worker.policy.health import Speeds
from worker.policy.retry import host_pause
from worker.records import mutable_record
from worker.serving.pace import Paces


@mutable_record
class Wedges:
    """Runners that fell silent."""

    incidents: int = 0
    """In a row, in each of which a runner had to be unloaded."""
    runners: dict[str, HostError] = field(default_factory=dict)
    """Runner keys to be unloaded when the slots are dry, with the failures that tell."""


@mutable_record
class Refusals:
    """What the database did not take."""

    lease: str | None = None
    """Serving token of a pass that has not given its lease back, as where the disk was full when it ended."""
    reason: DatabaseUnavailable | None = None
    """Why it took nothing the last time; None since it did."""


@mutable_record
class HostHistory:
    """How fast the host is, how often it failed in a row, and how long its runners were asked to stay.

    A pass ends when work runs out; the failures of a host are not forgiven by that.
    """

    paces: Paces = field(default_factory=Paces)
    failures: int = 0
    """Incidents in a row; calls that failed together are one."""
    paused_until: float = float("-inf")
    """On the process's monotonic clock."""
    broken: int = 0
    """Incidents in a row that say that the host does not generate, whatever its other endpoints answer."""
    wedges: Wedges = field(default_factory=Wedges)
    quarantines: int = 0
    """How often in a row it was left alone for that; above 0 it is tried with one job at a time."""
    condemned: str | None = None
    """Why the host goes into quarantine when the slots are dry."""
    speeds: Speeds = field(default_factory=Speeds)
    hints: dict[str, float] = field(default_factory=dict)
    """Runner key → the longest keep_alive, in seconds, that jobs of its run asked for."""
    refusals: Refusals = field(default_factory=Refusals)

    def add_refusal(self, error: DatabaseFailure) -> None:
        """The database failed a step of the pass."""
        self.refusals.reason = error if isinstance(error, DatabaseUnavailable) else None

    def paused(self, now: float) -> bool:
        """Whether the host steps back at ``now``."""
        return now < self.paused_until

    def add_failure(self, now: float, *, at_most: float, retry_after: float = 0.0) -> float | None:
        """The host failed: step back, longer with each incident in a row, or for ``retry_after`` where that is longer, but
        for ``at_most`` seconds. Returns the seconds.

        None where it steps back already: calls that fail together fail of one cause.
        """
        if self.paused(now):
            return None
        self.failures += 1
        pause = min(max(host_pause(self.failures).total_seconds(), retry_after), at_most)
        self.paused_until = now + pause
        return pause

    def step_back(self, now: float, seconds: float) -> None:
        """Leave the host alone for a while, through no fault of its own."""
        self.paused_until = max(self.paused_until, now + seconds)

    def add_answer(self, now: float) -> None:
        """The host answered a job, and not one that was sent before it failed."""
        if not self.paused(now):
            self.failures = self.broken = self.wedges.incidents = self.quarantines = 0

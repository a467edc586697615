"""When is the next pass of a pool of services due? Soon while there is work, seldom at rest."""

from worker.records import mutable_record


@mutable_record
class Cadence:
    """The times of one loop, in seconds of a monotonic clock.

    The first passes after a rest follow each change at once, since somebody may be waiting; where changes go on, the gap
    between two passes grows by ``soonest`` with each of them, up to ``busy``. Without changes it is ``rest``, so that what
    only time brings about (a retry, a window, a schedule) is done too.
    """

    busy: float
    rest: float
    soonest: float
    _last: float = float("-inf")
    _passes: int = 0
    """Passes that followed changes without a rest in between."""
    _pending: bool = False
    """Something changed that no pass has seen yet."""

    def is_due(self, now: float, *, changed: bool) -> bool:
        """Whether to run a pass now. ``changed``: since the last call."""
        self._pending = self._pending or changed
        gap = min(self.busy, self.soonest * self._passes) if self._pending else max(self.busy, self.rest)
        return now - self._last >= gap

    def ran(self, now: float, *, changed: bool) -> None:
        """A pass has begun at ``now``. ``changed``: by the pass itself, after which there may be more to do."""
        self._passes = self._passes + 1 if self._pending else int(changed)
        self._pending = changed
        self._last = now

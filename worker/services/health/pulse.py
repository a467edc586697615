"""I am alive: what each process that has to run says while it does, for others to miss it when it no longer does."""

import os
import platform

from worker.clock import Clock
from worker.storage.engine import Database
from worker.storage.pulses import forget_pulse, record_pulse


class Heart:
    """The pulse of one process. ``beat`` may be called as often as one likes."""

    def __init__(self, name: str, *, every: float) -> None:
        self._name, self._every = name, every
        self._at = float("-inf")

    def beat(self, database: Database, clock: Clock) -> None:
        """Record the pulse, once in ``every`` seconds. Raises DatabaseUnavailable."""
        if clock.monotonic() - self._at < 0.9 * self._every:
            return
        detail = {"every": self._every, "node": platform.node(), "pid": os.getpid()}
        with database.write() as conn:
            record_pulse(conn, self._name, now=clock.now(), detail=detail)
        self._at = clock.monotonic()

    def stop(self, database: Database) -> None:
        """It ends as it should and is not to be missed. Raises DatabaseUnavailable."""
        with database.write() as conn:
            forget_pulse(conn, self._name)
        self._at = float("-inf")

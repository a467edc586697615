"""The pulse that each process which has to run leaves in the database, so that its absence is noticed."""

import os
import platform
from collections.abc import Mapping

from worker.clock import Clock
from worker.storage.engine import Database
from worker.storage.pulses import forget_pulse, record_pulse


class Heart:
    """The pulse of one process. ``beat`` may be called as often as one likes."""

    def __init__(self, name: str, *, every: float, silent: bool = False) -> None:
        """``silent``: a process that nobody misses, such as a single run, leaves no pulse."""
        self.name = name
        self._every, self._silent = every, silent
        self._at = float("-inf")

    def beat(self, database: Database, clock: Clock, *, failing: Mapping[str, str] | None = None) -> None:
        """Record the pulse, once in ``every`` seconds. Raises DatabaseUnavailable.

        ``failing``: services of this process that fail, with their errors.
        """
        if self._silent or clock.monotonic() - self._at < 0.9 * self._every:
            return
        detail: dict[str, object] = {"every": self._every, "node": platform.node(), "pid": os.getpid()}
        if failing:
            detail["failing"] = dict(failing)
        with database.write() as conn:
            record_pulse(conn, self.name, now=clock.now(), detail=detail)
        self._at = clock.monotonic()

    def stop(self, database: Database) -> None:
        """It ends as it should and is not to be missed. Raises DatabaseUnavailable."""
        if self._silent:
            return
        with database.write() as conn:
            forget_pulse(conn, self.name)
        self._at = float("-inf")

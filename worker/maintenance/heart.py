"""The pulse that each process which has to run leaves in the database, so that its absence is noticed."""

import os
import platform
from collections.abc import Mapping
from pathlib import Path

from worker.clock import Clock
from worker.storage.backlog import has_work
from worker.storage.engine import Database
from worker.storage.pulses import forget_pulse, record_pulse

REST = 300.0
"""Seconds between two pulses of a process that has nothing to do."""


def lock_of(home: Path) -> str:
    """Where the lock of ``home`` can be asked for its holder: the machine, its process table (of a container its own) and
    the folder."""
    try:
        table = Path("/proc/self/ns/pid").stat().st_ino
    except OSError:
        table = 0
    return f"{platform.node()}:{table}:{home}"


class Heart:
    """The pulse of one process. ``beat`` may be called as often as one likes."""

    def __init__(self, name: str, *, every: float, silent: bool = False, home: Path | None = None) -> None:
        """``silent``: a process that nobody misses, such as a single run, leaves no pulse. ``home``: the folder that it
        holds, by whose lock others on its machine see whether it lives."""
        self.name = name
        self._every, self._silent = every, silent
        self._detail: dict[str, object] = {"every": every, "node": platform.node(), "pid": os.getpid()}
        if home is not None:
            self._detail["lock"] = lock_of(home)
        self._looked_at = self._at = float("-inf")
        self._rests = False

    def beat(self, database: Database, clock: Clock, *, failing: Mapping[str, str] | None = None) -> None:
        """Record the pulse, once in ``every`` seconds; while no job waits or runs, once in ``REST``. Raises
        DatabaseUnavailable.

        ``failing``: services of this process that fail, with their errors.
        """
        now = clock.monotonic()
        if self._silent or now - self._looked_at < 0.9 * self._every:
            return
        rests = not failing
        if rests:
            with database.read() as conn:
                rests = not has_work(conn)
        if not (rests and self._rests and now - self._at < 0.9 * REST):
            detail = dict(self._detail)
            if rests:
                detail["rests"] = REST
            if failing:
                detail["failing"] = dict(failing)
            with database.write() as conn:
                record_pulse(conn, self.name, now=clock.now(), detail=detail)
            self._at, self._rests = now, rests
        self._looked_at = now

    def stop(self, database: Database) -> None:
        """It ends as it should and is not to be missed. Raises DatabaseUnavailable."""
        if self._silent:
            return
        with database.write() as conn:
            forget_pulse(conn, self.name)
        self._looked_at = self._at = float("-inf")

"""Runs a slow service in a background thread, one pass at a time, so that it holds up no other service."""

import threading

from worker.clock import Clock
from worker.maintenance.service import Counts, RunOnce
from worker.storage.engine import Database


class Background:
    """A ``run_once`` that only starts a pass, and reports the one before it: what it changed, or what it raised.

    While a pass goes on, calls do nothing: the next one follows soon.
    """

    def __init__(self, name: str, run_once: RunOnce) -> None:
        self._name, self._run_once = name, run_once
        self._thread: threading.Thread | None = None
        self._counts: Counts = {}
        self._error: Exception | None = None

    def __call__(self, database: Database, clock: Clock) -> Counts:
        if self._thread is not None and self._thread.is_alive():
            return {}
        counts, error = self._counts, self._error
        self._counts, self._error = {}, None
        self._thread = threading.Thread(
            target=self._pass, args=(database, clock), name=self._name, daemon=True
        )
        self._thread.start()
        if error is not None:
            raise error
        return counts

    @property
    def thread(self) -> threading.Thread | None:
        """The thread of the last pass; it may have ended."""
        return self._thread

    def wait(self, seconds: float) -> bool:
        """Wait for the pass that goes on; whether none is left."""
        if self._thread is None:
            return True
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _pass(self, database: Database, clock: Clock) -> None:
        try:
            self._counts = self._run_once(database, clock)
        except Exception as error:
            self._error = error

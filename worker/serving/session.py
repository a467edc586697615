"""The right to serve a host: every transaction that changes the state of the host checks that it is still ours."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from worker.errors import HostLost
from worker.storage.engine import Connection, Database
from worker.storage.hosts import hold_host, lock_fleet


class HostSession:
    """One worker's right to serve ``host``, known by its serving ``token``. Thread-safe.

    A worker that was stopped in the middle of its work, by SIGSTOP or a machine that slept, may go on after another one
    took the host. What it believes of the host is old then, and must not be written.
    """

    def __init__(self, database: Database, host: str, token: str) -> None:
        self._database = database
        self.host = host
        self.token = token
        self.lost = threading.Event()
        """Another worker serves the host: nothing more may be claimed, loaded or written for it."""
        self.failure: Exception | None = None
        """A defect in a thread of this pass: the pass ends with it, in the thread that decides."""
        self.changed = threading.Event()
        """Somebody set the host otherwise, as its address or its slots: this pass ends, and the next one reads them."""

    @contextmanager
    def write(self, *, fleet: bool = False) -> Iterator[Connection]:
        """A transaction that may change the state of the host; with ``fleet`` it decides a load, one at a time in the
        whole fleet. Raises HostLost where another worker serves the host: then nothing is written; DatabaseFailure.
        """
        try:
            with self._database.write() as conn:
                if fleet:
                    lock_fleet(conn)
                hold_host(conn, self.host, self.token)
                yield conn
        except HostLost:
            self.lost.set()
            raise

"""The right to serve a host: every transaction that changes the state of the host checks that this worker still has it."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import field

from worker.clock import Clock
from worker.domain.hosts import Host
from worker.domain.timings import Timings
from worker.errors import HostLost
from worker.ollama.client import OllamaHost
from worker.records import record
from worker.replies.families import FAMILIES, Marks
from worker.storage.engine import Connection, Database
from worker.storage.hosts import hold_host, lock_fleet


@record
class ServingContext:
    """What one pass over a host works with: the host, the way to it, the database, and what the caller wants."""

    database: Database
    host: Host
    gpu: OllamaHost
    clock: Clock
    timings: Timings
    stop: threading.Event = field(default_factory=threading.Event)
    """Set by the caller to end the pass. The loop reads it with every turn; a watchdog takes that for a sign of life."""
    wake: threading.Event | None = None
    """Set by the caller where there may be work."""
    batch_id: int | None = None
    """Serve the jobs of this batch alone."""
    fail_on_cut: bool = False
    families: Sequence[Marks] = FAMILIES


class HostSession:
    """One worker's right to serve a host, known by its serving ``token``. Thread-safe.

    A worker that was stopped in the middle of its work, by SIGSTOP or a machine that slept, may go on after another one
    took the host. What it believes of the host is old then, and must not be written.
    """

    def __init__(self, context: ServingContext, token: str) -> None:
        self.context = context
        self.host = context.host.name
        self.token = token
        self.lost = threading.Event()
        """Another worker serves the host: nothing more may be claimed, loaded or written for it."""
        self.changed = threading.Event()
        """The host's row has other settings by now, as its address or its slots: the next pass reads them."""
        self.leases_lost = threading.Event()
        """Jobs that run here belong to others by now. The pass ends: what is claimed again has a new token, so that the
        fence tells a late answer of the old claim from an answer of the new one."""
        self.failure: Exception | None = None
        """A defect in a thread of this pass. The thread that decides raises it."""

    @contextmanager
    def write(self, *, fleet: bool = False) -> Iterator[Connection]:
        """A transaction that may change the state of the host; with ``fleet`` it decides a load, one at a time in the
        whole fleet. Raises HostLost where another worker serves the host: then nothing is written; DatabaseFailure.
        """
        try:
            with self.context.database.write() as conn:
                if fleet:
                    lock_fleet(conn)
                hold_host(conn, self.host, self.token)
                yield conn
        except HostLost:
            self.lost.set()
            raise

"""Keeps a worker's leases alive while it generates, and tells it what was cancelled."""

import threading
from collections.abc import Callable, Collection
from contextlib import suppress
from datetime import timedelta

from worker.clock import Clock
from worker.domain.hosts import Host
from worker.domain.timings import Timings
from worker.errors import DatabaseFailure, NotFound
from worker.observability.events import emit_failure
from worker.serving.session import HostSession
from worker.storage.claims import Renewed, cancel_requested, mark_asked, renew, renew_host
from worker.storage.engine import Connection, Database
from worker.storage.hosts import get_host


class Heartbeat:
    """A thread that renews the serving lease of ``session`` and the leases of the jobs that are ``held``.

    A database that is away is no reason to stop: calls go on, and the fence decides later whose outcome counts.
    ``session.lost`` is set when somebody else serves the host, ``session.changed`` when its row in the database is no
    longer ``host``, as this pass knows it. ``renewed`` is told after each
    renewal: the jobs that turned out not to be ours any more, and the monotonic time until which the others are.
    """

    def __init__(
        self,
        database: Database,
        *,
        session: HostSession,
        host: Host,
        timings: Timings,
        clock: Clock,
        held: Callable[[], Collection[int]],
        cancel: Callable[[frozenset[int]], None],
        renewed: Callable[[frozenset[int], float], None],
        asked: Callable[[], Collection[int]],
    ) -> None:
        self._database = database
        self._session = session
        self._host, self._token = host, session.token
        self._timings = timings
        self._clock = clock
        self._held = held
        self._cancel = cancel
        self._renewed = renewed
        self._asked = asked
        self._marked: frozenset[int] = frozenset()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name=f"{session.host}-heartbeat", daemon=True)

    def __enter__(self) -> "Heartbeat":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=10)

    def _beat(self) -> None:
        renewed_at = self._clock.monotonic()
        pause = min(self._timings.cancel_poll, self._timings.renew)
        while not self._stop.wait(pause):
            try:
                if self._clock.monotonic() - renewed_at >= self._timings.renew:
                    self._renew()
                    renewed_at = self._clock.monotonic()
                else:
                    self._look()
            except DatabaseFailure as error:
                emit_failure(error, host=self._host.name)
            except Exception as error:  # else the leases would run out, and nobody would know why
                self._session.failure = error
                return

    def _look(self) -> None:
        asked = frozenset(self._asked())
        with self._database.read() if asked <= self._marked else self._database.write() as conn:
            mark_asked(conn, token=self._token, job_ids=asked - self._marked)
            flagged = cancel_requested(conn, token=self._token)
            with suppress(NotFound):  # somebody removed it: the next renewal finds that it is lost
                if get_host(conn, self._host.name) != self._host:
                    self._session.changed.set()
        self._marked = asked
        if flagged:
            self._cancel(flagged)

    def _renew(self) -> None:
        now, began = self._clock.now(), self._clock.monotonic()
        until, held = now + timedelta(seconds=self._timings.lease), frozenset(self._held())

        def renew_all(conn: Connection) -> tuple[bool, Renewed]:
            serves = renew_host(conn, host=self._host.name, token=self._token, now=now, until=until)
            return serves, renew(conn, token=self._token, job_ids=held, lease_until=until)

        serves, renewed = self._database.transact(renew_all)
        if not serves:
            self._session.lost.set()
        self._renewed(held - renewed.job_ids, began + self._timings.lease)
        if renewed.cancel:
            self._cancel(renewed.cancel)

"""Keeps a worker's leases alive while its host generates, passes cancel flags on to the running calls, and what was written
so far on to who waits for it in another process."""

import threading
from contextlib import suppress
from datetime import timedelta

from worker.errors import DatabaseFailure, NotFound
from worker.observability.events import emit_failure
from worker.serving.claims import Claims
from worker.serving.session import HostSession
from worker.serving.slots import Slots
from worker.storage.drafts import drafts_to_write, write_drafts
from worker.storage.engine import Connection
from worker.storage.hosts import get_host
from worker.storage.leases import Renewed, cancel_requested, mark_in_slot, renew, renew_host

TURN_SECONDS = 0.5
"""Between two looks whether an interactive job runs."""
DRAFT_SECONDS = 0.2
"""Between two writings of what the host has written to one."""


class Heartbeat:
    """A thread that renews the serving lease of ``session`` and the leases of the jobs that its worker holds.

    A database that is away is no reason to stop: calls go on, and the fence decides later whose outcome counts.
    """

    def __init__(self, session: HostSession, slots: Slots, claims: Claims) -> None:
        self._session, self._slots, self._claims = session, slots, claims
        self._marked: frozenset[int] = frozenset()
        """Running jobs whose rows say that a host is working on them."""
        self._drafts: dict[int, str] = {}
        """As they were written last."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name=f"{session.host}-heartbeat", daemon=True)

    def __enter__(self) -> "Heartbeat":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=10)

    def _beat(self) -> None:
        clock, timings = self._session.context.clock, self._session.context.timings
        renewed_at = clock.monotonic()
        pause, rested = min(timings.cancel_poll, timings.renew), 0.0
        while not self._stop.wait(turn := min(pause, DRAFT_SECONDS if self._drafts else TURN_SECONDS)):
            rested += turn
            try:
                self._pass_drafts_on()
                if rested < pause:
                    continue
                rested = 0.0
                if clock.monotonic() - renewed_at >= timings.renew:
                    self._renew()
                    renewed_at = clock.monotonic()
                else:
                    self._look()
            except DatabaseFailure as error:
                emit_failure(error, host=self._session.host)
            except Exception as error:  # else the leases would run out, and nobody would know why
                self._session.failure = error
                return

    def _pass_drafts_on(self) -> None:
        drafts = self._slots.drafts
        changed = {job: draft for job, draft in drafts.items() if draft != self._drafts.get(job)}
        self._drafts = drafts
        if not changed:
            return
        database = self._session.context.database
        with database.read() as conn:
            due = drafts_to_write(conn, changed)
        if due:
            with database.write() as conn:
                write_drafts(conn, {job: changed[job] for job in due})

    def _look(self) -> None:
        """See which jobs are to be cancelled, and whether the host's row is still the one that this pass began with."""
        session, running = self._session, self._slots.running
        database = session.context.database
        with database.read() if running <= self._marked else database.write() as conn:
            mark_in_slot(conn, token=session.token, job_ids=running - self._marked)
            flagged = cancel_requested(conn, token=session.token)
            with suppress(NotFound):  # somebody removed it: the next renewal finds that it is lost
                if get_host(conn, session.host) != session.context.host:
                    session.changed.set()
        self._marked = running
        if flagged:
            self._slots.abort(flagged)

    def _renew(self) -> None:
        session, context = self._session, self._session.context
        now, began = context.clock.now(), context.clock.monotonic()
        until, held = now + timedelta(seconds=context.timings.lease), self._claims.held()

        def renew_all(conn: Connection) -> tuple[bool, Renewed]:
            serves = renew_host(conn, host=session.host, token=session.token, now=now, until=until)
            return serves, renew(conn, token=session.token, job_ids=held, lease_until=until)

        serves, renewed = context.database.transact(renew_all)
        if not serves:
            session.lost.set()
        self._keep_in_step(held - renewed.job_ids, began + context.timings.lease)
        if renewed.cancel:
            self._slots.abort(renewed.cancel)

    def _keep_in_step(self, lost: frozenset[int], leased_until: float) -> None:
        """What seems lost may have been claimed again just now: then it is a stray, and is released."""
        self._slots.renew(lost, leased_until)
        if lost:
            self._claims.doubt()
        if lost & self._slots.held:
            self._session.leases_lost.set()

"""A host that a thread of this process serves, pass after pass, until it is stopped."""

import logging
import threading
from datetime import timedelta

from worker.clock import Clock
from worker.domain.hosts import Host
from worker.errors import DatabaseFailure, DatabaseUnavailable, NotFound, SettingsRefused
from worker.hosts.registry import look_again
from worker.maintenance.heart import REST
from worker.maintenance.hold import hosts_to_wake
from worker.observability.events import emit, emit_failure
from worker.ollama.client import OllamaHost
from worker.policy.serving import NO_WORK
from worker.serving.history import HostHistory
from worker.serving.loop import CHANGED, serve_host
from worker.serving.outbox import Outbox
from worker.serving.pace import Paces
from worker.serving.session import ServingContext
from worker.serving.spool import Spool, spool_path
from worker.serving.watchdog import StopSignal, Watchdog
from worker.settings import Settings
from worker.storage.engine import Database
from worker.storage.hosts import get_host, record_unreachable

_log = logging.getLogger("caravan")

LOOK_SECONDS = 60.0
"""How often a host without work is looked at."""
HOST_MAX_AGE = timedelta(seconds=REST)
"""What such a look finds as it was is stored this often."""


class ServedHost:
    """The host, its thread, and what stops it. Raises SettingsRefused for a secret that is not here."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        clock: Clock,
        watchdog: Watchdog,
        host: Host,
        *,
        batch_id: int | None,
    ) -> None:
        self._settings, self._database, self._clock, self._watchdog = settings, database, clock, watchdog
        self._batch_id = batch_id
        self.host = host
        self.gpu = self._open(host)
        spool = Spool(spool_path(settings.home, host.name))
        self.outbox = Outbox(database, host.name, clock=clock, spool=spool)
        self.stop = StopSignal()
        self.wake = threading.Event()
        self.rests = False
        """It had no work at its last look, and waits to be woken."""
        self.thread: threading.Thread | None = None
        self._history = HostHistory(Paces(host.name))

    @property
    def refusal(self) -> DatabaseUnavailable | None:
        """Why the database takes no outcomes, or no pass over the host, now."""
        return self.outbox.refusal or self._history.refusals.reason

    def start(self) -> None:
        """Serve it in a thread."""
        thread = threading.Thread(target=self._watched, name=f"serve-{self.host.name}", daemon=True)
        thread.start()
        self.thread = thread

    @property
    def is_alive(self) -> bool:
        return self.thread is not None and self.thread.is_alive()

    def end(self) -> None:
        """Have it come to its end: running calls finish, nothing new starts."""
        self.stop.set()
        self.wake.set()

    def _open(self, host: Host) -> OllamaHost:
        return OllamaHost.of(host, deadlines=self._settings.deadlines)

    def _watched(self) -> None:
        # a load takes its time within one turn of the loop, and so do the running calls once it comes to its end
        load = self._settings.load_timeout_seconds + self._settings.unload_seconds
        with self._watchdog.watching(f"serve-{self.host.name}", allowing=load) as turned:

            def turn(stopping: bool) -> None:
                turned(allowing=load + (self._settings.reply_seconds if stopping else 0.0))

            with self.stop.read_here(turn):
                self._serve()

    def _serve(self) -> None:
        name = self.host.name
        history = self._history
        while not self.stop.is_set():
            changed = rests = False
            try:
                reason = serve_host(self._context(), history=history, outbox=self.outbox).reason
                changed = reason == CHANGED and self._reopen()
                given_back = (
                    history.refusals.lease is None
                )  # else it looks as if somebody served it, and had the work
                rests = reason == NO_WORK and given_back and self.outbox.is_empty and not self._has_work()
            except DatabaseFailure as error:
                emit_failure(error, host=name)
                history.add_refusal(error)
            except Exception:
                _log.exception("defect while %s was served; it is served again", name)
            if not self.stop.is_set() and not changed and not rests:
                self.wake.wait(self._settings.tick_seconds)
            self.rests = rests
            while rests and not self.stop.is_set() and not self.wake.wait(LOOK_SECONDS):
                self._look_at_rest()
            self.rests = False
            self.wake.clear()

    def _context(self) -> ServingContext:
        return ServingContext(
            self._database,
            self.host,
            self.gpu,
            self._clock,
            self._settings.timings,
            stop=self.stop,
            wake=self.wake,
            batch_id=self._batch_id,
            fail_on_cut=self._settings.fail_on_cut,
            families=self._settings.families,
        )

    def _reopen(self) -> bool:
        """Go on with the host as the database has it now; False where a secret that it wants is not here.

        Raises NotFound where somebody removed it, DatabaseFailure.
        """
        with self._database.read() as conn:
            host = get_host(conn, self.host.name)
        try:
            gpu = self._open(host)
        except SettingsRefused as error:
            note_unreachable(self._database, self._clock, host, error)
            return False
        self.gpu.close()
        self.host, self.gpu = host, gpu
        emit("host.changed", host=host.name)
        return True

    def _has_work(self) -> bool:
        """Work that came between the last look and the end of the pass: who wakes hosts saw it served still."""
        return self.host.name in hosts_to_wake(self._database, clock=self._clock)

    def _look_at_rest(self) -> None:
        """Nobody serves it until the services wake it: its models may be others by now, and it may have gone."""
        try:
            with self._database.read() as conn:
                host = get_host(conn, self.host.name)
            look_again(self._database, host, open_host=self._open, clock=self._clock, max_age=HOST_MAX_AGE)
        except NotFound:
            pass  # somebody removed it, and the services will see it
        except DatabaseFailure as error:
            emit_failure(error, host=self.host.name)


def note_unreachable(database: Database, clock: Clock, host: Host, error: SettingsRefused) -> None:
    """Say and store why a host cannot even be called. Raises DatabaseFailure."""
    emit("host.unreachable", host=host.name, message=str(error))
    with database.write() as conn:
        record_unreachable(conn, host.name, message=str(error), now=clock.now())

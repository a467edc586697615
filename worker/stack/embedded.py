"""Serves hosts from threads of this process, with the tick on one of its own.

The code that serves a host is the same as on a fleet. There is no broker: a wake-up is a ``threading.Event``, since
in one process a message would only be a slower one.
"""

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from worker.clock import Clock
from worker.domain.hosts import Host
from worker.errors import DatabaseUnavailable, NoHost
from worker.observability.events import emit
from worker.ollama.client import OllamaHost
from worker.services.hosts import Seen, register
from worker.services.pace import Paces
from worker.services.serve import serve_host
from worker.services.spool import Spool
from worker.services.standing import Standing
from worker.services.store import Store
from worker.services.tick import Outage, tick, tidy
from worker.settings import Settings
from worker.stack.home import held_home
from worker.storage.claims import rescue_holder
from worker.storage.engine import Database, open_database
from worker.storage.migrate import upgrade

_log = logging.getLogger("caravan")


@dataclass
class Embedded:
    """The stack while it runs."""

    settings: Settings
    database: Database
    clock: Clock
    stores: list[Store] = field(default_factory=list)
    gpus: dict[str, OllamaHost] = field(default_factory=dict)
    stop: threading.Event = field(default_factory=threading.Event)
    wakes: dict[str, threading.Event] = field(default_factory=dict)
    threads: list[threading.Thread] = field(default_factory=list)
    hosts: list[Host] = field(default_factory=list)
    batch_id: int | None = None

    def open_host(self, host: Host) -> OllamaHost:
        return OllamaHost(host.url, slots=host.slots, deadlines=self.settings.deadlines)

    def wake(self) -> None:
        """Have every host look at the database now."""
        for event in self.wakes.values():
            event.set()

    @property
    def output_tokens(self) -> int:
        """Tokens generated since the start, as stored."""
        return sum(store.output_tokens for store in self.stores)

    def serve(self, hosts: Sequence[Host], *, batch_id: int | None = None) -> None:
        """Start a thread per host, and the tick. With ``batch_id`` nothing but that batch is worked on: what an
        earlier, interrupted run left behind waits for its own command."""
        self.hosts, self.batch_id = list(hosts), batch_id
        for host in hosts:
            self.wakes[host.name] = threading.Event()
            self.gpus[host.name] = self.open_host(host)
            self._start(f"serve-{host.name}", self._serve, host)
        self._start("tick", self._tick)

    def _start(self, name: str, target, *args: object) -> None:  # type: ignore[no-untyped-def]
        thread = threading.Thread(target=target, args=args, name=name, daemon=True)
        self.threads.append(thread)
        thread.start()

    def _serve(self, host: Host) -> None:
        standing, wake = Standing(Paces(host.name)), self.wakes[host.name]
        # nobody waits for the end of a pass here, and each would run the slots dry
        timings = replace(self.settings.timings, budget=float("inf"))
        store = Store(
            self.database,
            host.name,
            clock=self.clock,
            spool=Spool(self.settings.home / "spool" / f"{host.name}.jsonl"),
        )
        self.stores.append(store)
        while not self.stop.is_set():
            try:
                serve_host(
                    self.database,
                    host,
                    gpu=self.gpus[host.name],
                    clock=self.clock,
                    timings=timings,
                    stop=self.stop,
                    wake=wake,
                    standing=standing,
                    store=store,
                    fail_on_cut=self.settings.fail_on_cut,
                    batch_id=self.batch_id,
                )
            except DatabaseUnavailable as error:
                emit("database.unavailable", host=host.name, message=str(error))
            except Exception:
                _log.exception("defect while %s was served; it is served again", host.name)
            if not self.stop.is_set():
                wake.wait(self.settings.tick_seconds)
            wake.clear()

    def _tick(self) -> None:
        names = {host.name for host in self.hosts}
        chores_at = self.clock.monotonic()
        outage = Outage(self.clock, self.settings.lease_seconds)
        while not self.stop.wait(min(self.settings.tick_seconds, 1.0)):
            try:
                if tick(self.database, clock=self.clock, rescuing=outage.over).promoted:
                    self.wake()
                if self.clock.monotonic() - chores_at > self.settings.tick_seconds:
                    chores_at = self.clock.monotonic()
                    tidy(self.database, clock=self.clock, among=names, batch_id=self.batch_id)
            except DatabaseUnavailable as error:
                outage.seen()
                emit("database.unavailable", host="tick", message=str(error))
            except Exception:
                _log.exception("defect in the tick; it goes on")

    def abort(self) -> None:
        """Cut all running calls: for a second Ctrl-C."""
        self.stop.set()
        for gpu in self.gpus.values():
            gpu.close()


@contextmanager
def embedded(settings: Settings) -> Iterator[Embedded]:
    """Hold CARAVAN_HOME, open the database at its newest version, and end what a dead predecessor left running.

    Raises AlreadyRunning, DatabaseUnavailable.
    """
    with held_home(settings.home):
        upgrade(settings.database)
        database = open_database(settings.database)
        stack = Embedded(settings, database, database.clock())
        try:
            if database.dialect == "sqlite":
                with database.write() as conn:
                    rescue_holder(conn, now=stack.clock.now())
            yield stack
        finally:
            stack.stop.set()
            stack.wake()
            for thread in stack.threads:
                thread.join(timeout=settings.stop_grace_seconds)
            for gpu in stack.gpus.values():
                gpu.close()
            database.close()


def join_hosts(stack: Embedded, hosts: Sequence[Host]) -> list[Seen]:
    """Register these hosts and say what was seen. Raises NoHost when none of them answers."""
    seen = [register(stack.database, host, open_host=stack.open_host, clock=stack.clock) for host in hosts]
    if all(look.error is not None for look in seen):
        places = "; ".join(f"{look.host.url}: {look.error}" for look in seen)
        raise NoHost(
            f"no host can be reached ({places}). Is Ollama running there? Give --host URL or set OLLAMA_HOST."
        )
    return seen

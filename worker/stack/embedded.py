"""Serves hosts from threads of this process, with the periodic services on threads of their own.

The code that serves a host is the same as on a fleet. There is no broker: a wake-up is a ``threading.Event``, since
in one process a message would only be a slower one.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import field, replace

from worker.clock import Clock, SystemClock
from worker.dispatch.services import (
    FleetServices,
    batch_services,
    fleet_services,
    urgent_feature_services,
    urgent_services,
)
from worker.domain.hosts import Host
from worker.errors import DatabaseFailure, DatabaseUnavailable, NoHost, SettingsRefused
from worker.hosts.registry import HostLook, keep_look, look_at_all
from worker.maintenance.cadence import Cadence
from worker.maintenance.heart import Heart
from worker.maintenance.hold import hosts_to_wake
from worker.maintenance.number import number_all
from worker.maintenance.runner import Runner
from worker.maintenance.service import Counts, Service
from worker.maintenance.settle import settle
from worker.observability.events import emit
from worker.ollama.client import OllamaHost
from worker.records import mutable_record
from worker.serving.outbox import store_spools
from worker.serving.watchdog import Watchdog
from worker.settings import Settings
from worker.stack.home import lock_home
from worker.stack.served_host import ServedHost, note_unreachable
from worker.storage.changes import Changes
from worker.storage.engine import Database, open_database
from worker.storage.folders import network_folder
from worker.storage.host_rows import HostRow, near_host, read_hosts
from worker.storage.hosts import (
    add_host,
    forget_passing_host,
    is_permanent,
)
from worker.storage.migrate import bring_up_to_date
from worker.storage.pulses import forget_pulse
from worker.storage.rescues import rescue_holder

_log = logging.getLogger("caravan")

UP = "up"
"""The pool of urgent services where one process does everything."""
UP_CHORES = "up-chores"
NOTICE_SECONDS = 0.5
"""How often the services look whether anything changed."""
CUT_SECONDS = 10.0
"""How long threads may take to end once their calls are cut: they store what came."""

Looks = AbstractContextManager[Callable[[], bool]]
"""A function that tells, within the block, whether anything changed since its last call."""
Follow = Callable[[HostRow], bool]
"""Whether a host that is in the database is one to serve."""


@mutable_record
class Embedded:
    """The stack while it runs."""

    settings: Settings
    database: Database
    clock: Clock
    watchdog: Watchdog
    permanent: bool = False
    """It is meant to run for good, so that it is missed when it does not."""
    stop: threading.Event = field(default_factory=threading.Event)
    moved: threading.Event = field(default_factory=threading.Event)
    """The database changed since the last pass of the chores looked."""
    served: dict[str, ServedHost] = field(default_factory=dict)
    former: list[ServedHost] = field(default_factory=list)
    passing: list[str] = field(default_factory=list)
    """Hosts that this command registered for itself alone."""
    batch_id: int | None = None
    maintenance: list[threading.Thread] = field(default_factory=list)
    fleet_chores: FleetServices | None = None
    health: threading.Thread | None = None
    aborted: bool = False

    def open_host(self, host: Host) -> OllamaHost:
        return OllamaHost.of(host, deadlines=self.settings.deadlines)

    @property
    def hosts(self) -> list[str]:
        """Names of the hosts that are served."""
        return sorted(self.served)

    @property
    def _every(self) -> tuple[ServedHost, ...]:
        """Also those that are served no more; threads add and remove them meanwhile."""
        return (*tuple(self.served.values()), *tuple(self.former))

    def wake(self) -> None:
        """Have every host look at the database now."""
        for served in tuple(self.served.values()):
            served.wake.set()

    @property
    def output_tokens(self) -> int:
        """Tokens generated since the start, as stored."""
        return sum(served.outbox.output_tokens for served in self._every)

    @property
    def refusal(self) -> DatabaseUnavailable | None:
        """Why nothing can be stored now; the database may still be read, as that of a full disk is."""
        return next(filter(None, (served.refusal for served in tuple(self.served.values()))), None)

    def serve(
        self, hosts: Sequence[Host], *, batch_id: int | None = None, follow: Follow | None = None
    ) -> None:
        """Start a thread per host, and one for each pool of periodic services.

        With ``batch_id`` only that batch is worked on: what an earlier, interrupted run left behind waits for its own
        command. With ``follow`` the hosts in the database are read with every pass: one that it takes is served from
        then on, and one that was removed is served no longer.
        """
        self.batch_id = batch_id
        for host in hosts:
            self._begin(host)
        urgent = urgent_services(lease=self.settings.lease_seconds, wake=self._wake)
        urgent.extend(urgent_feature_services())
        if follow is not None:
            urgent.append(Service("hosts", lambda _database, _clock: self._follow(follow)))
        chores = batch_services(keep=self.settings.keep, hosts=lambda: set(self.served), batch_id=batch_id)
        if batch_id is None:  # a run works on its own batch, and tells of it in the end
            self.fleet_chores = fleet_services(self.settings)
            chores.extend(self.fleet_chores.services)
        tick, chores_every = self.settings.tick_seconds, self.settings.chores_seconds
        rest = min(2 * tick, self.settings.lease_seconds / 9)  # else ``rescue`` would take it for an outage
        urgent_cadence = Cadence(busy=min(tick, 1.0), rest=rest, soonest=NOTICE_SECONDS)
        self._maintain(UP, urgent, urgent_cadence, self._changes)
        # a run settles its own batch in the end, and looks only at what it has done itself
        chores_busy = tick if batch_id is None else max(tick, chores_every)
        chores_cadence = Cadence(busy=chores_busy, rest=2 * chores_every, soonest=tick)
        self._maintain(UP_CHORES, chores, chores_cadence, self._changes_for_chores)

    def _maintain(
        self, pool: str, services: Sequence[Service], cadence: Cadence, changes: Callable[[], Looks]
    ) -> None:
        runner = Runner(self.heart(pool), services)
        thread = threading.Thread(
            target=self._run_services, args=(runner, cadence, changes), name=pool, daemon=True
        )
        self.maintenance.append(thread)
        thread.start()

    def _run_services(self, runner: Runner, cadence: Cadence, changes: Callable[[], Looks]) -> None:
        with self.watchdog.watching(runner.pool) as turned, changes() as changed:
            while not self.stop.wait(min(cadence.busy, cadence.soonest, 1.0)):
                turned()
                now = self.clock.monotonic()
                if cadence.is_due(now, changed=changed()):
                    results = runner.run_due(self.database, self.clock)
                    cadence.ran(now, changed=bool(results))

    @contextmanager
    def _changes(self) -> Iterator[Callable[[], bool]]:
        """Looks at the database, once for both pools."""
        changes = Changes(self.database)

        def changed() -> bool:
            moved = changes.any()
            if moved:
                self.moved.set()
                self._wake_resting()
            return moved

        try:
            yield changed
        finally:
            changes.close()

    @contextmanager
    def _changes_for_chores(self) -> Iterator[Callable[[], bool]]:
        def changed() -> bool:
            moved = self.moved.is_set()
            self.moved.clear()
            return moved

        yield changed

    def heart(self, pool: str) -> Heart:
        """The pulse of a pool of services."""
        every = max(self.settings.chores_seconds, 1.0)
        return Heart(pool, every=every, silent=not self.permanent, home=self.settings.home)

    def _wake_resting(self) -> None:
        """Somebody may wait for an answer while the pool has other work: hosts without any do not wait for its next pass."""
        if any(served.rests for served in tuple(self.served.values())):
            with suppress(DatabaseFailure):  # the next pass reports it
                self._wake(hosts_to_wake(self.database, clock=self.clock))

    def _wake(self, hosts: list[str]) -> None:
        for name in hosts:
            if name in self.served:
                self.served[name].wake.set()

    def watch_health(self) -> None:
        """Look every minute whether all is well, and tell those whom the settings name. Raises SettingsRefused."""
        if self.settings.telling.anybody:
            from worker.health.facts import Place  # mail and HTTP, which hardly any run needs
            from worker.health.watch import Watch

            place = Place(self.settings.database, self.settings.home, fleet=False)
            watch = Watch(place, self.settings.health_limits, self.settings.telling, held=lambda: True)
            self.health = threading.Thread(target=watch.run, args=(self.stop,), name="health", daemon=True)
            self.health.start()

    @property
    def threads(self) -> Iterator[threading.Thread]:
        """Every thread that the stack started, running or not: those of the services first, since they start others."""
        yield from tuple(self.maintenance)
        for served in self._every:
            if served.thread is not None:
                yield served.thread
        if self.fleet_chores is not None:
            yield from self.fleet_chores.threads
        if self.health is not None:
            yield self.health

    def forget_passing(self) -> None:
        """Remove the hosts that this command registered for itself and never served, or that do not answer."""
        served = {*self.served, *(former.host.name for former in self.former)}
        with self.database.write() as conn:
            for name in self.passing:
                forget_passing_host(conn, name, served=name in served, now=self.clock.now())

    def join(self, timeout: float) -> None:
        """Wait for all threads, up to ``timeout`` seconds together."""
        until = time.monotonic() + timeout
        for thread in self.threads:
            while thread.is_alive() and (left := until - time.monotonic()) > 0:
                thread.join(min(left, 0.5))  # in slices, so that a second Ctrl-C is seen in any case

    def end(self) -> None:
        """Stop every thread: running calls may end within the grace, then they are cut. A thread that goes on all the
        same is named in the log."""
        self.ask_to_stop()
        if not self.aborted:
            self.join(self.settings.stop_grace_seconds)
        for served in self._every:
            served.gpu.close()
        self.join(CUT_SECONDS)
        self.watchdog.close()
        alive = sorted(thread.name for thread in self.threads if thread.is_alive())
        if alive:
            _log.warning("the stack closes while threads of it still run: %s", ", ".join(alive))

    def settle(self) -> None:
        """End batches whose last jobs ended while the services stopped, and number their results for readers that go on
        from a number: nobody else does until something serves again."""
        settle(self.database, self.clock)
        number_all(self.database)

    def ask_to_stop(self) -> None:
        """Running calls may end; nothing new starts."""
        self.stop.set()
        for served in tuple(self.served.values()):
            served.end()

    def abort(self) -> None:
        """Cut all running calls: for a second Ctrl-C."""
        self.aborted = True
        self.ask_to_stop()
        for served in self._every:
            served.gpu.close()

    def _begin(self, host: Host) -> None:
        try:
            served = ServedHost(
                self.settings, self.database, self.clock, self.watchdog, host, batch_id=self.batch_id
            )
        except SettingsRefused as error:  # a secret that is not here; it may be tomorrow, and others are well
            note_unreachable(self.database, self.clock, host, error)
            return
        self.served[host.name] = served
        if self.stop.is_set():  # asked to stop meanwhile, by a thread that did not see this host yet
            served.end()
        served.start()

    def _follow(self, follow: Follow) -> Counts:
        before = set(self.served)
        with self.database.read() as conn:
            known = {
                report.host.name: (replace(report.host, draining=False), follow(report))
                for report in read_hosts(conn, self.clock.now())
            }
        hosts = {name: host for name, (host, taken) in known.items() if taken}
        for name in tuple(self.served):
            if name not in known:
                self._retire(name)
        for name, host in hosts.items():
            if name not in self.served and not any(
                former.host.name == name and former.is_alive for former in self.former
            ):
                emit("host.joined", host=name)
                self._begin(host)
        return {"joined": len(set(self.served) - before), "left": len(before - set(self.served))}

    def _retire(self, name: str) -> None:
        served = self.served.pop(name)
        served.end()
        self.former.append(served)


@contextmanager
def embedded(settings: Settings, *, command: str = "run") -> Iterator[Embedded]:
    """Hold CARAVAN_HOME, open the database at its newest version, and end what a dead predecessor left running.

    Raises AlreadyRunning, DatabaseUnavailable.
    """
    with lock_home(settings.home, command=command), closing(open_database(settings.database)) as database:
        bring_up_to_date(database, backups=settings.home / "backups", now=SystemClock().now())
        kind = network_folder(settings.home)
        if kind is not None and not settings.database_url:
            emit("database.on_network", folder=str(settings.home), kind=kind)
        clock = database.clock()
        watchdog = Watchdog(seconds=settings.hang_seconds, clock=clock)
        stack = Embedded(settings, database, clock, watchdog, permanent=command == "up")
        try:
            store_spools(
                database, settings.home, clock=clock
            )  # the home is ours: no other process writes there
            if database.dialect == "sqlite":
                with database.write() as conn:
                    rescue_holder(conn, now=stack.clock.now())
                    for pool in (UP, UP_CHORES):
                        forget_pulse(conn, pool)
            if stack.permanent:
                stack.heart(UP).beat(database, clock)
            yield stack
        finally:
            stack.end()
            with suppress(DatabaseFailure):
                stack.settle()
            with suppress(DatabaseFailure):
                stack.forget_passing()
            with suppress(DatabaseFailure):
                for pool in (UP, UP_CHORES):
                    stack.heart(pool).stop(database)


def join_hosts(stack: Embedded, hosts: Sequence[Host]) -> list[HostLook]:
    """Look at these hosts and register them. Raises NoHost when none of them answers; then none is registered.

    A host that was added for good stays as it is. The others are registered for this command alone: it removes those
    that it did not serve, and those that do not answer.
    """
    looks = look_at_all(hosts, open_host=stack.open_host)
    with stack.database.write() as conn:
        permanent = {look.host.name for look in looks if is_permanent(conn, look.host.name)}
        if any(look.error is None for look in looks):
            for look in looks:
                if look.host.name not in permanent:
                    add_host(conn, look.host, now=stack.clock.now(), permanent=False)
                    stack.passing.append(look.host.name)
    for look in looks:
        keep_look(stack.database, look, stack.clock.now())
    if all(look.error is not None for look in looks):
        with stack.database.write() as conn:  # one that an earlier run used is not there any more
            for name in {look.host.name for look in looks} - permanent:
                forget_passing_host(conn, name, served=True, now=stack.clock.now())
        places = "; ".join(f"{look.host.url}: {look.error}" for look in looks)
        with stack.database.read() as conn:
            near = next(
                (near for look in looks if (near := near_host(conn, look.host.name.split(":")[0]))), None
            )
        help_ = f"Did you mean --host {near}?" if near else "Give --host URL or set OLLAMA_HOST."
        raise NoHost(f"no host can be reached ({places}). Is Ollama running there? {help_}")
    return looks

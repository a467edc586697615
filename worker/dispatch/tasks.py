"""The tasks: each unpacks its message and calls one service."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic
from typing import Any

from celery import Celery
from celery.signals import worker_process_init, worker_shutting_down

from worker.clock import Clock, SystemClock
from worker.dispatch.services import (
    CHORES,
    TICK,
    batch_services,
    fleet_services,
    urgent_feature_services,
    urgent_services,
)
from worker.dispatch.wake import wake_hosts
from worker.domain.hosts import Host
from worker.errors import DatabaseFailure, NotFound, SettingsRefused
from worker.maintenance.heart import Heart
from worker.maintenance.hold import hosts_to_wake
from worker.maintenance.runner import Runner
from worker.observability.events import emit, emit_failure
from worker.ollama.client import OllamaHost
from worker.policy.serving import NO_WORK
from worker.serving.history import HostHistory
from worker.serving.loop import CHANGED, LEASES_LOST, SERVED_ELSEWHERE, serve_host
from worker.serving.outbox import Outbox
from worker.serving.pace import Paces
from worker.serving.session import ServingContext
from worker.serving.spool import Spool, spool_path
from worker.serving.watchdog import StopSignal, Watchdog
from worker.settings import Settings
from worker.storage.engine import Database, open_database
from worker.storage.hosts import get_host, record_unreachable

IDLE_SECONDS = 15.0
"""How long the locks of a worker that was paused amid a transaction may hold up the rescue of its jobs; with its lease
less than two minutes."""
AT_ONCE = 0.5
"""Seconds after a pass that found nothing more within which another wake-up is one that waited behind it. One that is
lost by that comes again with the next tick."""
LONGEST_TASK = 3600
"""Seconds after which Celery ends the process of a task that hangs. Serving a host has no such limit: it goes on as long as
there is work, and the watchdog ends it where its loop no longer turns."""
_SHUTTING_DOWN = multiprocessing.get_context("fork").Event()
"""Celery tells only its main process that a stop was asked for; the forked child sees this event."""
_FAST = multiprocessing.get_context("fork").Event()
"""The stop is to be a fast one: calls that run longer than the grace are given up."""


class Resources:
    """What a worker process keeps between tasks. Nothing is opened before the fork: connections do not cross it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._database: Database | None = None
        self._clock: Clock | None = None
        self._gpus: dict[str, tuple[Host, OllamaHost]] = {}
        self.histories: dict[str, HostHistory] = {}
        self.watchdog = Watchdog(seconds=settings.hang_seconds, clock=SystemClock())

    @property
    def database(self) -> Database:
        if self._database is None:
            self._database = open_database(self.settings.database, idle_seconds=IDLE_SECONDS)
        return self._database

    @property
    def clock(self) -> Clock:
        if self._clock is None:
            self._clock = self.database.clock()
        return self._clock

    def gpu(self, host: Host) -> OllamaHost:
        """Raises SettingsRefused where a secret that the host wants is not here."""
        known = self._gpus.get(host.name)
        if known is not None and known[0] == host:
            return known[1]
        if known is not None:
            known[1].close()
        gpu = OllamaHost.of(host, deadlines=self.settings.deadlines)
        self._gpus[host.name] = (host, gpu)
        return gpu

    def spool(self, host: str) -> Path:
        return spool_path(self.settings.home, host)

    def forget(self) -> None:
        """After a fork: what the parent opened is not ours to use or to close."""
        if self._database is not None:
            self._database.after_fork()
        self._database, self._clock, self._gpus = None, None, {}


def register_tasks(app: Celery, settings: Settings) -> Resources:
    """Give ``app`` Caravan's tasks, bound to these settings."""
    resources = Resources(settings)
    ticks = Runner(
        Heart(TICK, every=settings.tick_seconds),
        [
            *urgent_services(lease=settings.lease_seconds, wake=lambda hosts: wake_hosts(app, hosts)),
            *urgent_feature_services(),
        ],
    )
    chores = Runner(
        Heart(CHORES, every=settings.chores_seconds),
        [
            *batch_services(keep=settings.keep, hosts=lambda: None),
            *fleet_services(settings).services,
        ],
    )
    ended: dict[str, float] = {}
    """What piled up while nobody was there to take it follows at once, and asks for what has just been done."""

    def piled_up(name: str, within: float) -> bool:
        return monotonic() - ended.get(name, float("-inf")) < within

    def run(runner: Runner) -> None:
        try:
            database, clock = resources.database, resources.clock
        except DatabaseFailure as error:
            emit_failure(error, host=runner.pool)
            return
        runner.run_due(database, clock)

    @app.task(name="caravan.serve", shared=False)
    def serve(host: str) -> None:
        if piled_up(host, AT_ONCE):
            return
        if _serve(app, resources, host):
            ended[host] = monotonic()

    @app.task(name="caravan.tick", shared=False, time_limit=LONGEST_TASK)
    def tick_task() -> None:
        if piled_up(" tick", settings.tick_seconds / 2):
            return
        run(ticks)
        ended[" tick"] = monotonic()

    @app.task(name="caravan.tidy", shared=False, time_limit=LONGEST_TASK)
    def tidy_task() -> None:
        if piled_up(" chores", settings.chores_seconds / 2):
            return
        run(chores)
        ended[" chores"] = monotonic()

    @app.task(name="caravan.submit", bind=True, shared=False, ignore_result=False, time_limit=LONGEST_TASK)
    def submit(task: Any, *positional: Any, **arguments: Any) -> dict[str, Any]:
        from api_schemas.submit_message import SubmitAnswer
        from worker.dispatch.submit import take_message

        named = dict(zip(("key", "jobs", "name"), positional, strict=False)) | arguments
        try:
            database, clock = resources.database, resources.clock
        except DatabaseFailure as error:
            emit_failure(error, host="submit")
            return SubmitAnswer(unavailable=str(error)).model_dump()
        answer = take_message(
            database, clock, named, message_id=task.request.id, max_attempts=settings.max_attempts
        )
        if answer.batch is not None and answer.state != "refused":
            wake_hosts(app, hosts_to_wake(database, clock=clock))
        return answer.model_dump()

    worker_process_init.connect(lambda **_: _after_fork(resources), weak=False)
    worker_shutting_down.connect(lambda **_: _SHUTTING_DOWN.set(), weak=False)
    app.finalize()
    return resources


def take_signals() -> None:
    """In Celery's main process, over its own handlers: SIGQUIT, and Ctrl-C for the second time, stop it fast.

    Its own cold stop would cut the child off before it could give anything back: so this is a warm stop, of which the
    child knows that it may not last.
    """

    def fast(*_: object) -> None:
        _FAST.set()
        os.kill(os.getpid(), signal.SIGTERM)

    def interrupted(*_: object) -> None:
        signal.signal(signal.SIGINT, fast)
        os.kill(os.getpid(), signal.SIGTERM)

    signal.signal(signal.SIGQUIT, fast)
    signal.signal(signal.SIGINT, interrupted)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # Celery would start itself anew
        signal.signal(signal.SIGHUP, lambda *_: os.kill(os.getpid(), signal.SIGTERM))


def _after_fork(resources: Resources) -> None:
    signal.signal(
        signal.SIGQUIT, signal.SIG_IGN
    )  # a terminal sends it to the whole group; the main process tells us
    resources.forget()


def _serve(app: Celery, resources: Resources, name: str) -> bool:
    """One pass over a host; whether it looked and found nothing more to do."""
    try:
        with resources.database.read() as conn:
            host = get_host(conn, name)
        gpu = resources.gpu(host)
    except NotFound:
        emit("host.unreachable", host=name, message="no such host in the database: caravan hosts add")
        return False
    except SettingsRefused as error:
        emit("host.unreachable", host=name, message=str(error))
        with suppress(DatabaseFailure), resources.database.write() as conn:
            record_unreachable(conn, name, message=str(error), now=resources.clock.now())
        return False
    except DatabaseFailure as error:
        emit_failure(error, host=name)
        return False
    stop, ended = StopSignal(), threading.Event()
    grace = resources.settings.stop_grace_seconds
    watcher = threading.Thread(target=_watch, args=(stop, ended, gpu, grace), daemon=True)
    watcher.start()
    try:
        with _watched(resources, name, stop):
            context = ServingContext(
                resources.database,
                host,
                gpu,
                resources.clock,
                resources.settings.timings,
                stop=stop,
                fail_on_cut=resources.settings.fail_on_cut,
                families=resources.settings.families,
            )
            spool = Spool(resources.spool(name))
            outbox = Outbox(resources.database, name, clock=resources.clock, spool=spool)
            history = resources.histories.setdefault(name, HostHistory(Paces(name)))
            reason = serve_host(context, history=history, outbox=outbox).reason
    except DatabaseFailure as error:
        emit_failure(error, host=name)
        return False
    finally:
        stopped = stop.is_set()
        ended.set()
    if reason in (CHANGED, LEASES_LOST) and not stopped:
        wake_hosts(app, [name])
    return reason in (NO_WORK, SERVED_ELSEWHERE)


@contextmanager
def _watched(resources: Resources, name: str, stop: StopSignal) -> Iterator[None]:
    """End this process if the serving loop no longer turns. Loads take their time within a turn, and so do the running
    calls once the loop comes to its end."""
    settings = resources.settings
    load = settings.load_timeout_seconds + settings.unload_seconds
    with resources.watchdog.watching(f"serve-{name}", allowing=load) as turned:

        def turn(stopping: bool) -> None:
            turned(allowing=load + (settings.reply_seconds if stopping else 0.0))

        with stop.read_here(turn):
            yield


def _watch(stop: threading.Event, ended: threading.Event, gpu: OllamaHost, grace: float) -> None:
    """Pass the main process's stop on to the serving loop; after a fast one cut what still runs when ``grace`` is over.
    The jobs go back uncharged."""
    while not ended.is_set() and not _SHUTTING_DOWN.wait(0.25):
        pass
    stop.set()
    while not ended.is_set():
        if _FAST.wait(0.25):
            if not ended.wait(grace):
                gpu.close()
            return

"""The processes of a fleet: a worker for hosts, control with its pools, beat."""

import os
import signal
import sys
import threading
import warnings
from collections.abc import Sequence
from contextlib import closing
from difflib import get_close_matches
from typing import Any

from celery import Celery
from celery.beat import Scheduler
from celery.exceptions import SecurityWarning

from worker.dispatch.app import CHORES_QUEUE, SUBMIT_QUEUE, TICK_QUEUE, host_queue, make_app
from worker.dispatch.beside import keep_running
from worker.dispatch.tasks import register_tasks, take_signals
from worker.errors import DatabaseFailure
from worker.health.facts import Place
from worker.health.watch import Watch
from worker.maintenance.heart import Heart
from worker.observability.events import emit, emit_failure
from worker.serving.outbox import store_spools
from worker.settings import Settings
from worker.storage.engine import open_database
from worker.storage.host_rows import read_hosts
from worker.storage.migrate import renew_report_views

HEALTH_POOL = "health"


def fleet_app(settings: Settings) -> Celery:
    """The app with its tasks, ready for a worker."""
    app = make_app(settings)
    register_tasks(app, settings)
    return app


def run_worker(settings: Settings, hosts: Sequence[str]) -> int:
    """Serve ``hosts`` until told to stop: one child process per host, each with the slots as its threads."""
    names = list(dict.fromkeys(hosts))
    _begin_work(settings, names)
    return _work(
        settings, f"serve-{'-'.join(names)}", [host_queue(name) for name in names], concurrency=len(names)
    )


def run_control(settings: Settings, *, pool: str | None = None) -> int:
    """Tick, chores and submitted messages, each in a pool of its own, so that neither chores nor a producer hold up a
    rescue; and a process that watches the health where the settings name somebody to notify. Raises SettingsRefused."""
    if pool == HEALTH_POOL:
        return _run_health(settings)
    if pool is not None:
        return _work(settings, f"control-{pool}", [pool], concurrency=1)
    with closing(open_database(settings.database)) as database:
        renew_report_views(database)
    pools = [CHORES_QUEUE, SUBMIT_QUEUE]
    if settings.telling.anybody:
        _watch_of(settings)  # what is set wrong is refused here, not in the log of a child
        pools.append(HEALTH_POOL)
    with keep_running({name: [sys.executable, "-m", "worker", "control", "--pool", name] for name in pools}):
        return _work(settings, f"control-{TICK_QUEUE}", [TICK_QUEUE], concurrency=1)


def _begin_work(settings: Settings, names: Sequence[str]) -> None:
    """Say which hosts this worker serves, and store what was generated on this machine for hosts that it serves no more;
    their own workers read the other spools."""
    database = open_database(settings.database, pool_size=1)
    try:
        with database.read() as conn:
            urls = {report.host.name: report.host.url for report in read_hosts(conn, database.clock().now())}
        for name in names:
            if name in urls:
                emit("worker.serving", host=name, url=urls[name])
            else:
                emit("worker.waiting", host=name, message=_unknown_host(name, sorted(urls)))
        store_spools(database, settings.home, clock=database.clock(), but=names)
    except DatabaseFailure as error:
        emit_failure(error, host="spool")
    finally:
        database.close()  # before the fork: connections do not cross it


def _unknown_host(name: str, known: Sequence[str]) -> str:
    """That nobody added a host of this name, which one may be meant, and what this worker does about it.

    >>> _unknown_host("gpu1", ["gpu-1", "gpu-2"])
    "no host 'gpu1'; did you mean 'gpu-1'? This worker waits until it is added: caravan hosts add gpu1 URL"
    >>> _unknown_host("nope", [])
    "no host 'nope'; no host was added yet. This worker waits until it is added: caravan hosts add nope URL"
    """
    near = get_close_matches(name, known, n=1, cutoff=0.5)
    if near:
        hint = f"did you mean {near[0]!r}?"
    elif known:
        hint = f"the hosts are {', '.join(known[:10])}{' …' if len(known) > 10 else ''}."
    else:
        hint = "no host was added yet."
    return f"no host {name!r}; {hint} This worker waits until it is added: caravan hosts add {name} URL"


def _watch_of(settings: Settings) -> Watch:
    place = Place(settings.database, settings.home, fleet=True)
    return Watch(place, settings.health_limits, settings.telling)


def _run_health(settings: Settings) -> int:
    """Look and tell until told to stop, or the process that started this one has gone.

    A process of its own, without Celery: a dead broker, or a beat that sends nothing, must not silence it.
    """
    received: list[int] = []
    stop, parent = threading.Event(), os.getppid()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda number, _: received.append(number))
    thread = threading.Thread(target=_watch_of(settings).run, args=(stop,), name="watch", daemon=True)
    thread.start()
    # in slices, and the handler sets no event: it could meet a wait that holds the event's lock
    while not received and os.getppid() == parent and thread.is_alive():
        stop.wait(0.5)
    failed = not thread.is_alive()
    stop.set()
    thread.join(timeout=10)
    return int(failed)


def _work(settings: Settings, name: str, queues: Sequence[str], *, concurrency: int) -> int:
    app = fleet_app(settings)

    class Stoppable(app.Worker):  # type: ignore[name-defined,misc]  # a class that the app makes
        """Takes signals from its start on: a worker may be told to stop before it has reached its broker."""

        def install_platform_tweaks(self, worker: object) -> None:
            super().install_platform_tweaks(worker)
            take_signals()

    # Celery warns root to give --uid, an option that caravan does not have; docs/howto/services.md says who should run it
    warnings.simplefilter("ignore", SecurityWarning)
    worker = Stoppable(
        hostname=f"{name}@{os.uname().nodename}",
        queues=list(queues),
        pool="prefork",
        concurrency=concurrency,
        loglevel="WARNING",
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
        quiet=True,
        optimization="fair",
    )
    worker.start()
    return int(worker.exitcode or 0)


def run_beat(settings: Settings) -> int:
    """Send ticks until told to stop. Two beats are harmless: a tick is idempotent."""
    app = fleet_app(settings)
    turned = threading.Event()

    class Turning(Scheduler):
        """Says with every turn that it turns."""

        def tick(self, *args: Any, **kwargs: Any) -> Any:
            turned.set()
            return super().tick(*args, **kwargs)

    # a thread of its own: a database that is away must not keep the ticks from being sent
    threading.Thread(target=_pulse, args=(settings, turned), name="pulse", daemon=True).start()
    app.Beat(
        loglevel="WARNING",
        logfile=None,
        schedule=None,
        quiet=True,
        scheduler_cls=Turning,  # type: ignore[arg-type]  # a name or a class (celery.utils.imports.symbol_by_name)
    ).run()
    return 0


def _pulse(settings: Settings, turned: threading.Event) -> None:
    database, heart, clock = open_database(settings.database, pool_size=1), None, None
    while True:
        turned.wait()
        turned.clear()
        try:
            clock = clock or database.clock()
            heart = heart or Heart("beat", every=max(settings.tick_seconds, 1.0))
            heart.beat(database, clock)
        except DatabaseFailure as error:
            emit_failure(error, host="beat")

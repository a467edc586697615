"""The processes of a fleet: a worker for hosts, control with its two pools, beat."""

import os
import subprocess
import sys
from collections.abc import Sequence

from celery import Celery

from worker.dispatch.app import CHORES_QUEUE, TICK_QUEUE, host_queue, make_app
from worker.dispatch.tasks import register_tasks
from worker.settings import Settings


def fleet_app(settings: Settings) -> Celery:
    """The app with its tasks, ready for a worker."""
    app = make_app(settings)
    register_tasks(app, settings)
    return app


def run_worker(settings: Settings, hosts: Sequence[str]) -> int:
    """Serve ``hosts`` until told to stop: one child process per host, each with the slots as its threads."""
    return _work(
        settings, f"serve-{'-'.join(hosts)}", [host_queue(host) for host in hosts], concurrency=len(hosts)
    )


def run_control(settings: Settings, *, pool: str | None = None) -> int:
    """Tick and chores, each in a pool of its own, so that chores never hold up a rescue."""
    if pool is not None:
        return _work(settings, f"control-{pool}", [pool], concurrency=1)
    chores = subprocess.Popen([sys.executable, "-m", "worker", "control", "--pool", CHORES_QUEUE])
    try:
        return _work(settings, f"control-{TICK_QUEUE}", [TICK_QUEUE], concurrency=1)
    finally:
        chores.terminate()
        chores.wait(timeout=60)


def _work(settings: Settings, name: str, queues: Sequence[str], *, concurrency: int) -> int:
    app = fleet_app(settings)
    worker = app.Worker(
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
    app.Beat(loglevel="WARNING", logfile=None, schedule=None, quiet=True).run()
    return 0

"""Asks a fleet's workers to look at the database; where one process serves, it looks by itself."""

from typing import TYPE_CHECKING

from worker.cli.streams import say
from worker.errors import AlreadyRunning, ExtraMissing

if TYPE_CHECKING:
    from worker.clock import Clock
    from worker.settings import Settings
    from worker.storage.engine import Database


def wake(settings: "Settings", database: "Database", clock: "Clock") -> None:
    """Wake the hosts that have work and that nobody serves. A broker that is away costs seconds and nothing else."""
    if not settings.broker_url:
        return
    try:
        from worker.dispatch import require_fleet

        require_fleet()
        from worker.dispatch.app import make_app  # Celery takes a third of a second to import
        from worker.dispatch.wake import PRODUCER_SECONDS, wake_hosts
    except ExtraMissing as error:  # what was submitted is stored, and the next tick wakes the hosts
        say(f"caravan: no worker is woken: {error}")
        return
    from worker.maintenance.hold import hosts_to_wake

    wake_hosts(make_app(settings, socket_seconds=PRODUCER_SECONDS), hosts_to_wake(database, clock=clock))


def is_served(settings: "Settings", database: "Database", clock: "Clock") -> bool:
    """Whether anybody takes the batch up by itself: a worker now, or ``up``, which may be between two passes."""
    from worker.storage.host_rows import read_hosts

    with database.read() as conn:
        if any(view.serving for view in read_hosts(conn, clock.now())):
            return True
    if settings.broker_url:
        return False
    from worker.stack.home import lock_home

    try:
        with lock_home(settings.home, command="submit"):
            return False
    except AlreadyRunning as error:
        return error.command == "up"


def not_served(settings: "Settings") -> str:
    """What to print where ``is_served`` is false. An idle worker of a fleet holds no host, so it cannot be seen."""
    if not settings.broker_url:
        return "Nothing serves it now: start caravan up"
    return (
        "No worker is at work now. An idle one begins within seconds; if none runs, "
        "start caravan worker --host NAME, with control and beat"
    )

"""The one list of periodic services, for a fleet and for one process alike."""

import threading
from collections.abc import Callable, Collection, Sequence
from datetime import timedelta
from functools import partial

from worker.clock import Clock
from worker.maintenance.background import Background
from worker.maintenance.expire import expire
from worker.maintenance.hold import hold, hosts_to_wake
from worker.maintenance.number import number
from worker.maintenance.operate import operate
from worker.maintenance.promote import promote, settle_waiting
from worker.maintenance.rescue import rescue
from worker.maintenance.service import Counts, Service
from worker.maintenance.settle import fold, settle_batches
from worker.maintenance.windows import turn_windows
from worker.maintenance.withdraw import withdraw_again
from worker.records import record
from worker.settings import Settings
from worker.storage.engine import Database

TICK = "tick"
"""The pool of what somebody may be waiting for: rescue, promotion, windows."""
CHORES = "chores"
"""The pool of what nobody waits for."""

Wake = Callable[[list[str]], object]


def urgent_services(*, lease: float | None, wake: Wake) -> list[Service]:
    """The core's services of the pool ``tick``. ``lease``: seconds, as ``rescue`` takes it; ``wake`` is given the hosts
    that nobody serves although there is work for them."""
    return [
        Service("rescue", partial(rescue, lease=lease)),
        Service("windows", turn_windows),
        Service("withdraw", withdraw_again),
        Service("follow", settle_waiting),
        Service("promote", promote),
        Service("expire", expire),
        Service("wake", partial(_wake, wake=wake)),
    ]


def urgent_feature_services() -> list[Service]:
    """What features have in the pool ``tick``."""
    return [Service("firings", _open_firings)]


def batch_services(
    *, keep: timedelta | None, hosts: Callable[[], Collection[str] | None], batch_id: int | None = None
) -> list[Service]:
    """Chores of the pool ``chores`` that also a process does which works on one batch alone (``batch_id``).

    ``hosts`` tells which hosts count when jobs are parked; None: all.
    """
    return [
        Service("number", number),
        Service("fold", fold),
        Service("settle", settle_batches),
        Service("operations", operate),
        Service("hold", partial(hold, hosts=hosts, batch_id=batch_id)),
        Service("prune", partial(_prune, keep=keep)),
    ]


@record
class FleetServices:
    """Chores for everybody: search, notices and schedules. The last two run in threads of their own."""

    services: Sequence[Service]
    backgrounds: Sequence[Background]

    @property
    def threads(self) -> list[threading.Thread]:
        """The threads in the background, running or not."""
        return [background.thread for background in self.backgrounds if background.thread is not None]


def fleet_services(settings: Settings) -> FleetServices:
    """The chores that belong to no single batch."""
    notices = Background("notices", partial(_deliver_notices, settings=settings))
    firings = Background("schedules", partial(_work_firings, settings=settings))
    return FleetServices(
        (
            Service("search", _index_texts),
            Service("notices", notices),
            Service("schedules", firings),
        ),
        (notices, firings),
    )


# The features are imported when their service first runs: a command that runs one batch loads none of them.


def _open_firings(database: Database, clock: Clock) -> Counts:
    from worker.schedules.open import open_due

    return {"opened": open_due(database, clock=clock)}


def _wake(database: Database, clock: Clock, *, wake: Wake) -> Counts:
    wake(hosts_to_wake(database, clock=clock))
    return {}


def _prune(database: Database, clock: Clock, *, keep: timedelta | None) -> Counts:
    from worker.maintenance.keeping import prune_due

    return {"pruned": prune_due(database, clock=clock, default=keep)}


def _index_texts(database: Database, clock: Clock) -> Counts:
    from worker.search.search import index_texts

    return {"indexed": index_texts(database, clock=clock)}


def _deliver_notices(database: Database, clock: Clock, *, settings: Settings) -> Counts:
    from worker.reports.notices import deliver_notices

    delivered = deliver_notices(database, clock=clock, means=settings.means)
    return {"sent": delivered.sent, "unsent": delivered.failed}


def _work_firings(database: Database, clock: Clock, *, settings: Settings) -> Counts:
    from worker.schedules.reading import reading_of, texts_of
    from worker.schedules.work import work_firings

    reading = reading_of(settings.home, commands=settings.means.commands)
    worked = work_firings(database, clock=clock, reading=reading, max_attempts=settings.max_attempts)
    if worked.fired:
        texts_of(settings.home).prune(now=clock.now().timestamp())
    return {"fired": worked.fired, "finished": worked.finished}

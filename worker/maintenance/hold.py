"""Parks the jobs that no host can do, and tells which idle hosts have work."""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta

from worker.clock import Clock
from worker.domain.backlog import Waiting
from worker.domain.hosts import Health
from worker.domain.model_operations import BRINGS
from worker.domain.runners import RunnerKey, concrete
from worker.errors import Code
from worker.maintenance.service import Counts
from worker.observability.events import emit
from worker.storage.backlog import read_backlog
from worker.storage.engine import Database
from worker.storage.host_rows import HostRow, pull_command, read_hosts
from worker.storage.hosts import failing_keys
from worker.storage.jobs import hold_jobs
from worker.storage.model_operations import failed_parts, hosts_with_parts, last_removal, open_parts

CHUNK = 5000
"""Jobs of a runner key in one pass."""
LOADS_TRIED = 3
"""Failed loads in a row on each host that has the model, after which its jobs are parked."""
FAILURES_KNOWN = timedelta(days=7)
"""A pull that failed longer ago is no reason why a model is not there."""


def hold(
    database: Database,
    clock: Clock,
    *,
    hosts: Callable[[], Collection[str] | None] = lambda: None,
    batch_id: int | None = None,
) -> Counts:
    """The service: ``hosts`` tells at each pass which hosts count, all where it gives None."""
    return {"held": hold_unservable(database, clock=clock, among=hosts(), batch_id=batch_id)}


def hold_unservable(
    database: Database, *, clock: Clock, among: Collection[str] | None, batch_id: int | None
) -> int:
    """Park the jobs that none of the hosts (of those named in ``among``) can do: none has their model, or it failed to
    load ``LOADS_TRIED`` times in a row on each that has it. Jobs wait as long as an operation brings their model.

    A host that was never looked at may have any model, so nothing is parked while there is one.
    """
    now = clock.now()
    with database.read() as conn:
        views = [view for view in read_hosts(conn, now) if among is None or view.name in among]
        backlog = read_backlog(conn, now=now, batch_id=batch_id)
        failing = failing_keys(conn, now, failures=LOADS_TRIED) if backlog else {}
        names = {view.name for view in views}
        parts = open_parts(conn) if backlog else []
        coming = {part.model for part in parts if part.verb in BRINGS and part.host in names}
    if not views or any(not view.looked for view in views):
        return 0
    held = 0
    for waiting in backlog:
        fault = _fault(views, waiting, failing)
        if fault is None:
            continue
        code, reason = fault
        if code is Code.MODEL_MISSING:
            if waiting.model in coming:
                continue
            reason = _missing(database, waiting.model, views, now)
        with database.write() as conn:
            jobs = hold_jobs(
                conn,
                runner_key=waiting.runner_key,
                code=code,
                reason=reason,
                batch_id=batch_id,
                limit=CHUNK,
            )
        if jobs:
            emit("job.held", runner_key=waiting.runner_key, jobs=jobs, code=code)
        held += jobs
    return held


def _fault(
    views: Collection[HostRow], waiting: Waiting, failing: Mapping[tuple[str, str], str]
) -> tuple[Code, str] | None:
    """Why no host can do this work, or None."""
    having = [view.name for view in views if waiting.model in view.models]
    if not having:
        return Code.MODEL_MISSING, ""
    loaded = concrete(RunnerKey.parse(waiting.runner_key)).text
    reasons = [failing.get((host, loaded)) for host in having]
    if any(reason is None for reason in reasons):
        return None
    written = str(reasons[0])
    code = written.partition(":")[0]
    reason = (
        f"{waiting.runner_key} does not load on {', '.join(having)}, tried {LOADS_TRIED} times: {written}"
    )
    return (Code(code) if code in set(Code) else Code.LOAD_FAILED), reason


def _missing(database: Database, model: str, views: Sequence[HostRow], now: datetime) -> str:
    """That no host has the model, who removed it, or why it did not come, where somebody tried, and what brings it."""
    names = sorted(view.name for view in views)
    with database.read() as conn:
        removal = last_removal(conn, model)
        failed = [
            part
            for part in failed_parts(conn, since=now - FAILURES_KNOWN)
            if part.verb in BRINGS and part.model == model and part.host in names
        ]
    removed = ""
    if removal is not None:
        host, at = removal
        removed = f"; caravan models rm removed it from {host} at {at:%Y-%m-%d %H:%M} UTC"
    tried = "".join(f"; {part.verb} on {part.host} failed: {part.error}" for part in failed)
    return (
        f"no host has {model} (looked at {', '.join(names)}){removed}{tried}; "
        f"{pull_command(model, views)} brings it, and its jobs go on"
    )


def hosts_to_wake(database: Database, *, clock: Clock) -> list[str]:
    """Hosts that nobody serves while there is work they could do, or something to be done with their models. A model that
    no host had at the last look may have been pulled since: then all of them look again, before its jobs are parked."""
    now = clock.now()
    with database.read() as conn:
        backlog = read_backlog(conn, now=now)
        caring = hosts_with_parts(conn, now)
        if not backlog and not caring:
            return []
        views = read_hosts(conn, now)
    models = {waiting.model for waiting in backlog}
    anywhere = any(not any(view.may_have(model) for view in views) for model in models)
    return [
        view.name
        for view in views
        if not view.serving
        and view.health is not Health.QUARANTINED
        and (
            (view.name in caring and (caring[view.name] or not view.closed))
            or (
                not view.draining
                and not view.closed
                and (anywhere or any(view.may_have(model) for model in models))
            )
        )
    ]

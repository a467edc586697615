"""What does the policy get to see? The database's rows and what is learned of speeds, as facts for ``policy.choose``."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from worker.domain.backlog import Waiting
from worker.domain.hosts import HostModel
from worker.domain.jobs import Priority
from worker.policy.coalesce import coalesce
from worker.policy.facts import Due, Facts, HostFacts, Parameters, Tier, Work
from worker.serving.pace import Paces
from worker.storage.backlog import read_backlog, served_at
from worker.storage.engine import Connection
from worker.storage.host_rows import HostRow, read_hosts

Dated = Mapping[str, Sequence[tuple[datetime, int]]]
"""Runner key → (deadline, jobs), as ``read_due`` gives it."""


@dataclass(frozen=True, slots=True)
class Own:
    """What a host knows of itself better than the database does."""

    name: str
    in_flight: Mapping[str, int]
    """Runner key → jobs in its slots, or before them."""
    slots: int
    models: Mapping[str, HostModel]


@dataclass(frozen=True, slots=True)
class Seen:
    """The facts, and which of the queued runner keys each runner serves."""

    facts: Facts
    members: Mapping[str, tuple[str, ...]]


def see(
    conn: Connection,
    own: Own,
    *,
    paces: Paces,
    now: datetime,
    dated: Dated,
    batch_id: int | None = None,
    parameters: Parameters | None = None,
) -> Seen:
    """The facts as they stand now; under the fleet's lock where a load is to be decided."""
    backlog = read_backlog(conn, now=now, batch_id=batch_id)
    rows = read_hosts(conn, now, models={waiting.model for waiting in backlog})
    mine = next(row for row in rows if row.name == own.name)
    others = [row for row in rows if row.name != own.name]
    groups = coalesce(
        list(dict.fromkeys(waiting.runner_key for waiting in backlog)),
        resident=list(mine.residents),
        elsewhere={key for row in others if row.serving for key in (*row.residents, row.intent) if key},
        blocked=list(mine.blocked),
        weights={name: model.weights for name, model in own.models.items() if model.weights},
    )
    by_key: dict[str, list[Waiting]] = {}
    for waiting in backlog:
        by_key.setdefault(waiting.runner_key, []).append(waiting)
    work = []
    for group in groups:
        queued = [row for member in group.members for row in by_key[member]]
        due = sorted(one for member in group.members for one in dated.get(member, ()))
        work.append(_work(group.runner_key, queued, due, paces, own.models))
    last = {
        key: at.timestamp()
        for (key, priority), at in served_at(conn).items()
        if priority == Priority.INTERACTIVE
    }
    facts = Facts(
        host=_mine(mine, own, paces),
        others=[_other(row, paces) for row in others],
        work=work,
        now=now.timestamp(),
        interactive_at=last,
        parameters=parameters or Parameters(),
    )
    oldest = {row.runner_key: row.oldest_at for row in reversed(backlog)}
    members = {
        group.runner_key: tuple(sorted(group.members, key=lambda key: (oldest[key], key))) for group in groups
    }
    return Seen(facts, members)


def _work(
    key: str,
    rows: Sequence[Waiting],
    due: Sequence[tuple[datetime, int]],
    paces: Paces,
    models: Mapping[str, HostModel],
) -> Work:
    tiers: dict[Priority, Tier] = {}
    for row in rows:
        served = None if row.served_at is None else row.served_at.timestamp()
        one = Tier(row.jobs, row.oldest_at.timestamp(), served)
        tiers[row.priority] = _together(tiers.get(row.priority), one)
    model = key.split(" ", 1)[0]
    known = models.get(model)
    estimate = paces.estimate(key, size=known.size if known is not None and known.size else None)
    return Work(
        key,
        tiers,
        model=model,
        due=[Due(at.timestamp(), jobs) for at, jobs in due],
        load_seconds=estimate.load_seconds,
        service_seconds=estimate.service_seconds,
        memory=estimate.memory,
        tried=estimate.tried,
        group=max(row.group for row in rows),
    )


def _together(one: Tier | None, other: Tier) -> Tier:
    """Two windows' jobs at one priority. The one that was served longest ago counts: it must not starve beside the other."""
    if one is None:
        return other
    served = None if one.served_at is None or other.served_at is None else min(one.served_at, other.served_at)
    return Tier(one.jobs + other.jobs, min(one.oldest_at, other.oldest_at), served)


def _mine(row: HostRow, own: Own, paces: Paces) -> HostFacts:
    resident = {key: own.in_flight.get(key, 0) for key in row.residents}
    resident |= {key: jobs for key, jobs in own.in_flight.items() if key not in resident}
    return _facts(row, paces, slots=own.slots, resident=resident)


def _other(row: HostRow, paces: Paces) -> HostFacts:
    """Another host: what it uses is taken to fill its slots, since nobody counts its calls."""
    busy = {key: (row.slots if key == row.resident and row.serving else 0) for key in row.residents}
    return _facts(row, paces, slots=row.slots, resident=busy)


def _facts(row: HostRow, paces: Paces, *, slots: int, resident: Mapping[str, int]) -> HostFacts:
    return HostFacts(
        name=row.name,
        slots=slots,
        resident=resident,
        speed=paces.speed(row.name),
        models_at_once=row.host.models_at_once,
        memory=row.host.memory,
        sizes={key: size for key, size in row.residents.items() if size is not None},
        loading=row.intent,
        loading_until=None if row.intent_until is None else row.intent_until.timestamp(),
        loading_starved=row.intent_starved,
        serving=row.serving,
        models=row.models if row.looked else None,
        blocked={key: until.timestamp() for key, until in row.blocked.items()},
        draining=row.draining or row.closed or row.in_quarantine,
        loads=paces.loads(row.name),
        loaded_at=None if row.loaded_at is None else row.loaded_at.timestamp(),
        loaded_seconds=row.loaded_seconds or 0.0,
    )

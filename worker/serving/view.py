"""The facts for the next choice, read from the database and from what was learned of speeds, as fresh as they have to be."""

from collections.abc import Mapping, Sequence
from dataclasses import field
from datetime import datetime

from worker.domain.backlog import Waiting
from worker.domain.hosts import HostModel
from worker.domain.jobs import Priority
from worker.policy.facts import Due, Facts, HostFacts, Tier, Work
from worker.records import mutable_record, record
from worker.serving.facts import groups_of, host_facts
from worker.serving.machine import Machine
from worker.serving.pace import SERVICE_PRIOR, VECTOR_PRIOR, Paces
from worker.serving.session import HostSession
from worker.storage.backlog import BacklogCache, read_backlog, read_due, served_at
from worker.storage.changes import Marks, read_marks
from worker.storage.engine import Connection
from worker.storage.host_rows import HostCache, HostRow, read_hosts
from worker.storage.paces import read_paces, save_paces

PACES_EVERY = 10.0
"""Seconds between two looks at how fast the other hosts are; a new pace is passed on at once."""
DATED_EVERY = 2.0
"""Seconds between two counts of the jobs that have a deadline; longer where counting takes long."""


Dated = Mapping[str, Sequence[tuple[datetime, int]]]
"""Runner key → (deadline, jobs), as ``read_due`` gives it."""


@record
class OwnHost:
    """What a host knows of itself better than the database does."""

    name: str
    in_flight: Mapping[str, int]
    """Runner key → jobs in its slots, or before them."""
    slots: int
    models: Mapping[str, HostModel]


@record
class Snapshot:
    """The facts, and which of the queued runner keys each runner serves."""

    facts: Facts
    members: Mapping[str, tuple[str, ...]]


@record
class RunnerWork:
    """The work of a runner, and what it was made of."""

    rows: Sequence[Waiting]
    figures: tuple[object, ...]
    work: Work


@mutable_record
class SnapshotCache:
    """What the last snapshot was made of: what did not change since is taken into the next as it is."""

    backlog: BacklogCache = field(default_factory=dict)
    hosts: HostCache = field(default_factory=HostCache)
    work: dict[str, RunnerWork] = field(default_factory=dict)
    peers: dict[str, tuple[HostRow, tuple[object, ...], HostFacts]] = field(default_factory=dict)
    """Another host → its row, its speed and loads, and its facts."""


class HostView:
    """What the host that serves sees of the database. Only the thread that serves it calls the methods."""

    def __init__(self, session: HostSession, machine: Machine, paces: Paces) -> None:
        self._session, self._context = session, session.context
        self._machine, self._paces = machine, paces
        self._paces_at = self._dated_until = float("-inf")
        self._dated: dict[str, list[tuple[datetime, int]]] = {}
        self._marks: Marks | None = None
        self._cache = SnapshotCache()

    def slots_of(self, runner_key: str | None) -> int:
        """Jobs of that key that are asked at a time."""
        return self._paces.slots(
            runner_key, limit=self._context.host.slots, is_set=not self._context.host.auto_slots
        )

    def changed(self) -> bool:
        """Whether work was added or moved since the last call, by whomever."""
        before, self._marks = self._marks, read_marks(self._context.database)
        return self._marks is None or self._marks != before

    def facts(self, in_flight: Mapping[str, int], conn: Connection | None = None) -> Snapshot:
        """The facts as they stand; within ``conn`` where a load is decided under the fleet's lock.

        A load is decided by what is known now: what another host learned of a key seconds ago may tell that its work
        is nearly done.
        """
        if conn is not None:
            self._paces.learn(read_paces(conn))
            return self._facts(in_flight, conn)
        with self._context.database.read() as read:
            return self._facts(in_flight, read)

    def _facts(self, in_flight: Mapping[str, int], conn: Connection) -> Snapshot:
        return read_snapshot(
            conn,
            OwnHost(
                self._context.host.name, in_flight, self.slots_of(self._machine.used), self._machine.models
            ),
            paces=self._paces,
            now=self._context.clock.now(),
            dated=self._count_dated(conn),
            batch_id=self._context.batch_id,
            cache=self._cache,
        )

    def _count_dated(self, conn: Connection) -> dict[str, list[tuple[datetime, int]]]:
        began = self._context.clock.monotonic()
        if began >= self._dated_until:
            self._dated = read_due(conn, now=self._context.clock.now(), batch_id=self._context.batch_id)
            now = self._context.clock.monotonic()
            self._dated_until = now + max(DATED_EVERY, 20 * (now - began))
        return self._dated

    def keep_paces(self) -> None:
        """Write down what was learned of this host. Raises DatabaseFailure, HostLost."""
        paces = self._paces.unsaved()
        if paces:
            with self._session.write() as conn:
                save_paces(conn, paces, now=self._context.clock.now())

    def exchange_paces(self) -> None:
        """Tell the others how fast this host is, and hear it of them. Raises DatabaseFailure, HostLost."""
        now = self._context.clock.monotonic()
        if now - self._paces_at < PACES_EVERY and not self._paces.has_news:
            return
        self.keep_paces()
        with self._context.database.read() as conn:
            self._paces.learn(read_paces(conn))
        self._paces_at = now


def read_snapshot(
    conn: Connection,
    own: OwnHost,
    *,
    paces: Paces,
    now: datetime,
    dated: Dated,
    batch_id: int | None = None,
    cache: SnapshotCache | None = None,
) -> Snapshot:
    """The facts as they stand now; under the fleet's lock where a load is to be decided. ``cache`` is brought up to date."""
    cache = SnapshotCache() if cache is None else cache
    served = served_at(conn)
    backlog = read_backlog(conn, now=now, batch_id=batch_id, served=served, cache=cache.backlog)
    rows = read_hosts(conn, now, cache=cache.hosts)
    mine = next(row for row in rows if row.name == own.name)
    peers = [row for row in rows if row.name != own.name]
    groups = groups_of(
        list(dict.fromkeys(waiting.runner_key for waiting in backlog)),
        mine,
        peers,
        {name: model.weights for name, model in own.models.items() if model.weights},
    )
    by_key: dict[str, list[Waiting]] = {}
    for waiting in backlog:
        by_key.setdefault(waiting.runner_key, []).append(waiting)
    before, cache.work = cache.work, {}
    for group in groups:
        queued = by_key[group.members[0]]
        if len(group.members) > 1:
            queued = [row for member in group.members for row in by_key[member]]
        due = sorted(entry for member in group.members for entry in dated.get(member, ())) if dated else []
        known = before.get(group.runner_key)
        cache.work[group.runner_key] = _work(group.runner_key, queued, due, paces, own.models, known)
    last = {key: at.timestamp() for (key, priority), at in served.items() if priority == Priority.INTERACTIVE}
    facts = Facts(
        host=_mine(mine, own, paces),
        peers=[_other(row, paces, cache) for row in peers],
        work=[known.work for known in cache.work.values()],
        now=now.timestamp(),
        interactive_at=last,
    )
    members = {
        group.runner_key: group.members
        if len(group.members) == 1
        else tuple(sorted(group.members, key=lambda key: (by_key[key][0].oldest_at, key)))
        for group in groups
    }
    return Snapshot(facts, members)


def _work(
    key: str,
    rows: Sequence[Waiting],
    due: Sequence[tuple[datetime, int]],
    paces: Paces,
    models: Mapping[str, HostModel],
    before: RunnerWork | None,
) -> RunnerWork:
    """``before`` itself where nothing changed of what it was made of."""
    model = key.split(" ", 1)[0]
    known = models.get(model)
    estimate = paces.estimate(
        key,
        size=known.size if known is not None and known.size else None,
        service=VECTOR_PRIOR if known is not None and known.only_embeds else SERVICE_PRIOR,
    )
    figures = (due, estimate)
    if before is not None and before.figures == figures and before.rows == rows:
        return before
    tiers: dict[Priority, Tier] = {}
    for row in rows:
        served = None if row.served_at is None else row.served_at.timestamp()
        tier, beside = Tier(row.jobs, row.oldest_at.timestamp(), served), tiers.get(row.priority)
        tiers[row.priority] = tier if beside is None else _combine(beside, tier)
    work = Work(
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
    return RunnerWork(rows, figures, work)


def _combine(first: Tier, second: Tier) -> Tier:
    """Two windows' jobs at one priority. The window that was served longest ago counts: it must not starve beside the other."""
    served = (
        None
        if first.served_at is None or second.served_at is None
        else min(first.served_at, second.served_at)
    )
    return Tier(first.jobs + second.jobs, min(first.oldest_at, second.oldest_at), served)


def _mine(row: HostRow, own: OwnHost, paces: Paces) -> HostFacts:
    resident = {key: own.in_flight.get(key, 0) for key in row.residents}
    resident |= {key: jobs for key, jobs in own.in_flight.items() if key not in resident}
    return _facts(row, paces, slots=own.slots, resident=resident)


def _other(row: HostRow, paces: Paces, cache: SnapshotCache) -> HostFacts:
    """Another host: what it uses is taken to fill its slots, since nobody counts its calls."""
    before = cache.peers.get(row.name)
    if (
        before is not None
        and before[0] is row
        and before[1] == (paces.speed(row.name), paces.loads(row.name))
    ):
        return before[2]
    busy = {key: (row.slots if key == row.resident and row.serving else 0) for key in row.residents}
    facts = _facts(row, paces, slots=row.slots, resident=busy)
    cache.peers[row.name] = (row, (facts.speed, facts.loads), facts)
    return facts


def _facts(row: HostRow, paces: Paces, *, slots: int, resident: Mapping[str, int]) -> HostFacts:
    speed, loads = paces.speed(row.name), paces.loads(row.name)
    return host_facts(row, slots=slots, resident=resident, speed=speed, loads=loads)

"""Taking jobs, keeping them, giving them back, ending them: all the locking there is.

A claim gives a lease; every write of an outcome passes a fence: the lease token and the attempt have to match. On
PostgreSQL claimers pass over each other's rows (SKIP LOCKED); on SQLite there is one writer at a time.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from enum import Enum
from functools import cache
from itertools import starmap
from typing import Any

from sqlalchemy import ColumnElement, Row, Text, bindparam, cast, select, text, true, update
from sqlalchemy.engine import Connection

from worker.domain.jobs import ClaimedJob, JobState, Priority
from worker.errors import Code
from worker.policy.facts import Order
from worker.policy.retry import MOST_LOSSES, SUSPECT_AFTER
from worker.policy.turns import Stretch, Turn, stretches, turn_after
from worker.records import record
from worker.replies.contexts import unpack_context
from worker.storage.conversations import Turns, earlier_turns
from worker.storage.follows.parents import Earlier, earlier_answers, parts_of
from worker.storage.ids import id_range
from worker.storage.old_answers import return_to_answers
from worker.storage.operations import free_ranges
from worker.storage.picking import change_picked
from worker.storage.rows import among, members
from worker.storage.tables import batches, firings, hosts, jobs, payloads
from worker.storage.transitions import (
    CANCEL_RELEASED,
    CANCEL_RUNNING,
    CLAIM,
    RELEASE,
    RESCUE,
    RESCUE_SUSPECT,
    Transition,
    by_pick,
    count_picked,
    move,
)
from worker.storage.types import UtcTime

LATEST = datetime.max.replace(tzinfo=UTC)


class Pick(Enum):
    """Which queued jobs of a runner key and priority a claim takes, and in which order."""

    GROUP = "jobs that never expire, those that begin alike together"
    LONGEST = "jobs that never expire, the longest first"
    DATED = "jobs with a deadline that are asked even after it, by their deadline"
    EXPIRING = "jobs that are not asked after their deadline, by their deadline, as long as it is ahead"
    SUSPECT = "one job on which hosts or workers died"


_OF_ORDER = {Order.GROUP: Pick.GROUP, Order.LONGEST: Pick.LONGEST}
_FIRST = (
    "runner_key = :key AND priority = :priority AND prefix_group >= :low AND prefix_group < :high "
    "AND batch_id NOT IN (SELECT id FROM batches WHERE state IN ('open', 'paused') AND (state = 'paused' OR closed))"
)
_PICKS: Mapping[Pick, tuple[str, str, str]] = {
    Pick.GROUP: ("ix_jobs_claim", "expires = false", "prefix_group, id"),
    Pick.LONGEST: ("ix_jobs_claim", "expires = false", "estimate DESC, prefix_group, id"),
    Pick.DATED: ("ix_jobs_dated", "expires = false AND deadline IS NOT NULL", "deadline, prefix_group, id"),
    Pick.EXPIRING: (
        "ix_jobs_dated",
        "expires = true AND deadline IS NOT NULL AND deadline > :now",
        "deadline, prefix_group, id",
    ),
    Pick.SUSPECT: ("ix_jobs_suspects", "NOT (expires AND deadline <= :now)", "id"),
}
"""Index, condition, order. ``expires`` stands before the order in the indexes: however many jobs have expired and are not
taken out of the queue yet, a claim does not pass over them one by one."""


def picked(pick: Pick, dialect: str, columns: str = "id") -> str:
    """The SELECT of a pick. Without statistics SQLite may prefer the primary key, because of the order."""
    index, condition, order = _PICKS[pick]
    hint = f" INDEXED BY {index}" if dialect == "sqlite" else ""
    losses = ">=" if pick is Pick.SUSPECT else "<"
    return (
        f"SELECT {columns} FROM jobs{hint} WHERE state = 'queued' AND {_FIRST} AND {condition} "
        f"AND losses {losses} {SUSPECT_AFTER} ORDER BY {order} LIMIT :limit"
    )


@record
class _Row:
    """The row of a job that was taken. To read a column of SQLAlchemy's own rows takes ten times as long."""

    id: int
    batch_id: int
    custom_id: str
    model: str
    runner_key: str
    priority: int
    attempt: int
    charged: int
    losses: int
    max_attempts: int
    deadline: datetime | None
    prefix_group: int
    estimate: int
    widened: bool
    reuse: int | None
    carries: bool
    kind: str


@cache
def claim_statement(pick: Pick, dialect: str) -> Any:
    """Take the jobs of a pick: one priority at a time, so that they are one stretch of the index."""
    give = ", ".join(f"jobs.{name}" for name in _Row.__annotations__)
    return by_pick(CLAIM, picked(pick, dialect), dialect, give=give).columns(deadline=UtcTime)


@cache
def _share_statement(dialect: str) -> Any:
    """How many of the next jobs by deadline expire, and how many do not."""
    both = " UNION ALL ".join(
        f"SELECT * FROM ({picked(pick, dialect, 'expires, deadline, prefix_group, id')}) AS {pick.name.lower()}"
        for pick in (Pick.DATED, Pick.EXPIRING)
    )
    return text(
        f"SELECT expires, count(*) AS jobs FROM (SELECT expires FROM ({both}) AS both_ "
        "ORDER BY deadline, prefix_group, id LIMIT :limit) AS next_ GROUP BY expires"
    ).bindparams(bindparam("now", type_=UtcTime))


def claim_jobs(
    conn: Connection,
    *,
    host: str,
    runner_keys: Sequence[str],
    limit: int,
    token: str,
    now: datetime,
    lease_until: datetime,
    priorities: Sequence[Priority] | None = None,
    batch_id: int | None = None,
    order: Order = Order.GROUP,
) -> list[ClaimedJob]:
    """Take up to ``limit`` queued jobs that one runner serves, for ``host``. Jobs of paused batches are passed over,
    those of batches that are being cancelled or deleted, and suspects (``claim_suspect``).

    The most urgent first; then those with a deadline by it; then as ``order`` says, where batches take turns. Never
    gives a job to two claimers. ``priorities`` and ``batch_id`` limit what is taken.
    """
    values: dict[str, Any] = {
        "token": token,
        "until": lease_until,
        "host": host,
        "now": now,
        **id_range(batch_id),
    }
    tiers = [tier for key in runner_keys for tier in _tiers(conn, key, now) if tier.jobs]
    if any(tier.stopped for tier in tiers):
        values["ranges"] = free_ranges(conn, batch_id)
    rows: list[_Row] = []
    turns: list[tuple[_Tier, Turn]] = []
    for tier in sorted(tiers, key=lambda tier: tier.priority):
        left = limit - len(rows)
        if left <= 0:
            break
        if priorities and tier.priority not in priorities:
            continue
        request = values | {"key": tier.runner_key, "priority": int(tier.priority)}
        taken = _by_deadline(conn, tier, request, left)
        turn = tier.turn
        if tier.plain and len(taken) < left:
            more, turn = _in_turn(conn, order, request, left - len(taken), now, tier.turn, batch_id=batch_id)
            taken += more
        if taken:
            turns.append((tier, turn))
        rows += taken
    for tier, turn in sorted(
        turns, key=lambda kept: (kept[0].runner_key, kept[0].priority)
    ):  # in one order: no deadlock
        _keep_turn(conn, tier, now, turn)
    return _claimed_jobs(conn, rows, host, token, order, now)


@record
class _Tier:
    """What is queued of a runner key and priority, before any of it is locked."""

    runner_key: str
    priority: Priority
    plain: bool
    """Jobs that never expire."""
    dated: bool
    """Jobs with a deadline that are asked even after it."""
    expiring: bool
    """Jobs that are not asked after their deadline, and it is ahead."""
    turn: Turn
    served: bool
    """Whether its row in ``served`` exists."""
    stopped: bool
    """Whether an operation stops a batch, of whatever runner key."""

    @property
    def jobs(self) -> bool:
        return self.plain or self.expiring


@cache
def _tiers_statement(dialect: str) -> Any:
    """One index probe per priority and kind of deadline, instead of a claim for each that finds nothing."""

    def some(
        index: str, condition: str, order: str
    ) -> str:  # not EXISTS, which PostgreSQL answers by hashing the queue
        hint = f" INDEXED BY {index}" if dialect == "sqlite" else ""
        return (
            f"(SELECT id FROM jobs{hint} WHERE state = 'queued' AND runner_key = :key "
            f"AND priority = tiers.priority AND {condition} ORDER BY {order} LIMIT 1) IS NOT NULL"
        )

    dated = "deadline IS NOT NULL AND expires"
    by_deadline = "deadline, prefix_group, id"
    numbers = " UNION ALL ".join(f"SELECT {int(priority)} AS priority" for priority in Priority)
    return (
        text(
            "SELECT tiers.priority, served.batch_id, served.batch_at, served.priority IS NOT NULL AS served, "
            f"{some('ix_jobs_claim', 'expires = false', 'prefix_group, id')} AS plain, "
            f"{some('ix_jobs_dated', f'{dated} = false', by_deadline)} AS dated, "
            f"{some('ix_jobs_dated', f'{dated} = true AND deadline > :now', by_deadline)} AS expiring, "
            "EXISTS (SELECT 1 FROM operations WHERE ended_at IS NULL AND stops) AS stopped "
            f"FROM ({numbers}) AS tiers "
            "LEFT JOIN served ON served.runner_key = :key AND served.priority = tiers.priority"
        )
        .bindparams(bindparam("now", type_=UtcTime))
        .columns(batch_at=UtcTime)
    )


def _tiers(conn: Connection, key: str, now: datetime) -> list[_Tier]:
    rows = conn.execute(_tiers_statement(conn.dialect.name), {"key": key, "now": now})
    return [
        _Tier(
            runner_key=key,
            priority=Priority(row.priority),
            plain=row.plain,
            dated=row.dated,
            expiring=row.expiring,
            turn=Turn(row.batch_id, row.batch_at),
            served=row.served,
            stopped=row.stopped,
        )
        for row in rows
    ]


def _by_deadline(conn: Connection, tier: _Tier, request: dict[str, Any], limit: int) -> list[_Row]:
    """The next jobs by their deadline, whether they expire or not."""
    if not (tier.dated and tier.expiring):
        pick = Pick.DATED if tier.dated else Pick.EXPIRING
        return _take(conn, pick, request, limit) if tier.dated or tier.expiring else []
    rows: list[_Row] = []
    for free in _free(request):
        shares = conn.execute(_share_statement(conn.dialect.name), free | {"limit": limit - len(rows)})
        for expires, number in shares.all():
            statement = claim_statement(Pick.EXPIRING if expires else Pick.DATED, conn.dialect.name)
            rows += starmap(_Row, conn.execute(statement, free | {"limit": number}).all())
        if len(rows) >= limit:
            break
    return rows


def _free(parameters: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The same values for each range of ids from which may be claimed, within those asked for."""
    for low, high in parameters.get("ranges", ((parameters["low"], parameters["high"]),)):
        bounds = {"low": max(low, parameters["low"]), "high": min(high, parameters["high"])}
        if bounds["low"] < bounds["high"]:
            yield parameters | bounds


def _take(conn: Connection, pick: Pick, parameters: dict[str, Any], limit: int) -> list[_Row]:
    """The next jobs of a pick."""
    rows: list[_Row] = []
    for free in _free(parameters):
        if len(rows) == limit:
            break
        statement = claim_statement(pick, conn.dialect.name)
        rows += starmap(_Row, conn.execute(statement, free | {"limit": limit - len(rows)}).all())
    return rows


def claim_suspect(
    conn: Connection,
    *,
    host: str,
    runner_keys: Sequence[str],
    token: str,
    now: datetime,
    lease_until: datetime,
    batch_id: int | None = None,
) -> list[ClaimedJob]:
    """Take one job that was running when its host or worker died, twice: for a host on which nothing else runs.

    ``claim_jobs`` passes over such jobs.
    """
    values = {
        "token": token,
        "until": lease_until,
        "host": host,
        "now": now,
        "ranges": free_ranges(conn, batch_id),
        **id_range(batch_id),
    }
    for priority in Priority:
        for key in runner_keys:
            rows = _take(conn, Pick.SUSPECT, values | {"key": key, "priority": int(priority)}, 1)
            if rows:
                return _claimed_jobs(conn, rows, host, token, Order.GROUP, now)
    return []


def _claimed_jobs(
    conn: Connection, rows: Sequence[_Row], host: str, token: str, order: Order, now: datetime
) -> list[ClaimedJob]:
    if not rows:
        return []
    count_picked(conn, CLAIM, rows)
    serving = hosts.c.name == host, hosts.c.serving_token == token
    conn.execute(update(hosts).where(*serving).values(last_claim_at=now))
    return _claimed(conn, rows, token, order)


def _in_turn(
    conn: Connection,
    order: Order,
    values: dict[str, Any],
    limit: int,
    now: datetime,
    turn: Turn,
    *,
    batch_id: int | None,
) -> tuple[list[_Row], Turn]:
    """Jobs of the batches in the order that ``policy.turns`` gives, and whose turn it is now."""
    rows: list[_Row] = []
    for stretch in (Stretch(),) if batch_id is not None else stretches(turn, order, now):
        if len(rows) == limit:
            break
        bounds = {
            "low": values["low"] if stretch.first is None else id_range(stretch.first)["low"],
            "high": values["high"] if stretch.end is None else id_range(stretch.end)["low"],
        }
        rows += _take(conn, _OF_ORDER[order], values | bounds, limit - len(rows))
    return rows, turn_after(turn, {row.batch_id for row in rows}, now)


@cache
def _turn_statements(dialect: str) -> tuple[Any, Any]:
    """Update the row of a runner key and priority, unless another claimer holds it just now; and make it.

    Nobody waits for that row: hosts that claim at the same moment agree about the turn, and the time is the same.
    """
    values = "at = :at, batch_id = :batch, batch_at = :since"
    row = "SELECT runner_key, priority FROM served WHERE runner_key = :key AND priority = :priority"
    change = {
        "sqlite": f"UPDATE served SET {values} WHERE runner_key = :key AND priority = :priority",
        "postgresql": f"WITH free AS MATERIALIZED ({row} FOR UPDATE SKIP LOCKED) UPDATE served SET {values} "
        "FROM free WHERE served.runner_key = free.runner_key AND served.priority = free.priority",
    }[dialect]
    make = (
        "INSERT INTO served (runner_key, priority, at, batch_id, batch_at) "
        "VALUES (:key, :priority, :at, :batch, :since) ON CONFLICT (runner_key, priority) DO NOTHING"
    )
    types = (bindparam("at", type_=UtcTime), bindparam("since", type_=UtcTime))
    return text(change).bindparams(*types), text(make).bindparams(*types)


def _keep_turn(conn: Connection, tier: _Tier, now: datetime, turn: Turn) -> None:
    change, make = _turn_statements(conn.dialect.name)
    values = {"key": tier.runner_key, "priority": int(tier.priority)}
    conn.execute(
        change if tier.served else make, values | {"at": now, "batch": turn.batch, "since": turn.since}
    )


@cache
def _payloads(dialect: str) -> Any:
    """What jobs ask. Requests come as text: those of a batch are mostly the same, and are read once."""
    p = payloads.c
    return (
        select(p.job_id, p.prompt, cast(p.request, Text), p.reuse_key, batches.c.fail_on_cut)
        .join(jobs, jobs.c.id == p.job_id)
        .join(batches, batches.c.id == jobs.c.batch_id)
        .where(text(among(dialect, "payloads.job_id")))
    )


_PRIORITIES = tuple(Priority)


def _claimed(conn: Connection, rows: Sequence[_Row], token: str, order: Order) -> list[ClaimedJob]:
    """The rows with what is asked, in the order they are to be run in."""
    earlier = earlier_answers(conn, [row.id for row in rows if row.carries and row.kind != "chat"])
    turns = earlier_turns(conn, [row.id for row in rows if row.carries and row.kind == "chat"])
    payload = {
        job: (prompt, request, reuse_key, fail_on_cut)
        for job, prompt, request, reuse_key, fail_on_cut in conn.execute(
            _payloads(conn.dialect.name), {"members": members(conn, [row.id for row in rows])}
        ).all()
    }
    requests = {text_: json.loads(text_) for text_ in {values[1] for values in payload.values()}}
    parts = parts_of(conn, [job for job, values in payload.items() if "combine" in requests[values[1]]])
    claimed = []
    for row in rows:
        prompt, asked, reuse_key, fail_on_cut = payload[row.id]
        claimed.append(
            ClaimedJob(
                row.id,
                row.batch_id,
                row.custom_id,
                row.model,
                row.runner_key,
                _PRIORITIES[row.priority],
                row.attempt,
                row.charged,
                row.max_attempts,
                token,
                prompt,
                _carried_on(row, requests[asked], earlier, turns) if row.carries else requests[asked],
                row.deadline,
                row.losses,
                row.prefix_group,
                row.estimate,
                bool(row.widened),
                None if row.reuse is None else reuse_key,
                bool(row.carries),
                parts.get(row.id, ()),
                fail_on_cut,
                row.kind,
            )
        )
    if order is Order.LONGEST:
        return sorted(claimed, key=lambda job: (job.priority, job.deadline or LATEST, -job.estimate, job.id))
    return sorted(claimed, key=lambda job: (job.priority, job.deadline or LATEST, job.prefix_group, job.id))


def _carried_on(
    row: _Row, request: Mapping[str, Any], earlier: Mapping[int, Earlier], turns: Mapping[int, Turns]
) -> Mapping[str, Any]:
    if row.kind != "chat":
        return continued(request, row.id, earlier)
    before = turns.get(row.id)
    return {**request, "messages": [] if before is None else [*before, *request["messages"]]}


def continued(request: Mapping[str, Any], job: int, earlier: Mapping[int, Earlier]) -> Mapping[str, Any]:
    """The request with the context of the answer before it. An empty context where there should be one and it is missing:
    ``kinds.generate`` refuses that. A parent without an answer that is passed over has none."""
    found = earlier.get(job)
    if found is not None and not found.answered:
        return request
    if found is None or found.context is None:
        return {**request, "context": [], "context_digest": None}
    return {**request, "context": unpack_context(found.context), "context_digest": found.digest}


@record
class Renewed:
    """Jobs that are still ours, and those of them whose producer wants them cancelled."""

    job_ids: frozenset[int]
    cancel: frozenset[int]


# The column itself, not a test of it: SQLite 3.40 answers 1 to IS NOT NULL within RETURNING, whatever it holds.
_RENEW = {
    dialect: text(statement).bindparams(bindparam("ids", expanding=True), bindparam("until", type_=UtcTime))
    for dialect, statement in change_picked(
        "SELECT id FROM jobs WHERE id IN :ids AND state = 'running' AND lease_token = :token ORDER BY id",
        "lease_until = :until",
        "jobs.id, jobs.cancel_requested_at",
        wait=True,
    ).items()
}


def renew(conn: Connection, *, token: str, job_ids: Iterable[int], lease_until: datetime) -> Renewed:
    """Keep these jobs of ``token``, in one statement; tells which are still ours.

    By name, not all that bear the token: a claim whose commit was not heard of bears it too, and nobody works on it.
    """
    ids = list(job_ids)
    if not ids:
        return Renewed(frozenset(), frozenset())
    rows = conn.execute(_RENEW[conn.dialect.name], {"ids": ids, "token": token, "until": lease_until}).all()
    return Renewed(frozenset(row[0] for row in rows), frozenset(row[0] for row in rows if row[1] is not None))


_MARK = text(
    "UPDATE jobs SET asked = true WHERE id IN :ids AND lease_token = :token AND NOT asked"
).bindparams(bindparam("ids", expanding=True))


def mark_in_slot(conn: Connection, *, token: str, job_ids: Iterable[int]) -> None:
    """These jobs of ``token`` are in a slot, not before one: should their worker die, it may have been one of them."""
    ids = sorted(job_ids)
    if ids:
        conn.execute(_MARK, {"ids": ids, "token": token})


def cancel_requested(conn: Connection, *, token: str) -> frozenset[int]:
    """Running jobs of ``token`` whose producer wants them cancelled."""
    rows = conn.execute(
        select(jobs.c.id).where(
            jobs.c.state == "running", jobs.c.lease_token == token, jobs.c.cancel_requested_at.is_not(None)
        )
    )
    return frozenset(row[0] for row in rows)


def release_jobs(conn: Connection, *, token: str, job_ids: Iterable[int], now: datetime) -> int:
    """Give back jobs that were never started; nothing is charged. Returns how many were still ours."""
    ids = sorted(job_ids)
    if not ids:
        return 0
    j = jobs.c
    rows = conn.execute(
        select(j.id, j.batch_id, j.runner_key, j.priority, j.state, j.cancel_requested_at)
        .where(j.id.in_(ids), j.lease_token == token, j.state == JobState.RUNNING)
        .order_by(j.id)
        .with_for_update(key_share=True)
    ).all()
    cancelled = [row for row in rows if row.cancel_requested_at is not None]
    move(conn, RELEASE, [row for row in rows if row.cancel_requested_at is None])
    move(conn, CANCEL_RELEASED, cancelled, now=now)
    _return_cancelled(conn, [row.id for row in cancelled])
    return len(rows)


def _return_cancelled(conn: Connection, job_ids: Sequence[int]) -> None:
    if job_ids:
        return_to_answers(conn, jobs.c.id.in_(job_ids))


def release_strays(conn: Connection, *, token: str, keep: Iterable[int], now: datetime) -> int:
    """Give back the jobs that bear ``token`` and are not among those of ``keep``; returns how many.

    For a worker that could not hear how its last claim or release ended. Only the thread that claims may call it.
    """
    rows = conn.execute(select(jobs.c.id).where(jobs.c.state == "running", jobs.c.lease_token == token))
    return release_jobs(conn, token=token, job_ids={row[0] for row in rows} - set(keep), now=now)


# -- what a dead worker left ------------------------------------------------------------------------------------


@record
class Rescued:
    """Jobs whose leases were ended, by their new state."""

    retried: int = 0
    held: int = 0
    cancelled: int = 0

    @property
    def any(self) -> bool:
        """Whether a lease was ended at all."""
        return bool(self.retried or self.held or self.cancelled)


_RUNNING = text("SELECT EXISTS (SELECT 1 FROM jobs WHERE state = 'running')")


def any_running(conn: Connection) -> bool:
    """Whether any job has a lease."""
    return bool(conn.scalar(_RUNNING))


def rescue_stale(conn: Connection, *, now: datetime, limit: int = 500) -> Rescued:
    """End the leases that ran out; their jobs are eligible again at once, or held after three losses.

    Goes by the lease's age alone: a worker that was cut off from the database but still generates may be doubled. Its
    late answer is stored if nobody claimed the job since, else refused.
    """
    return _rescue(conn, jobs.c.lease_until < now, now=now, limit=limit)


_HELD = text(
    "SELECT 1 FROM hosts WHERE serving_token IS NOT NULL OR intent IS NOT NULL "
    "UNION ALL SELECT 1 FROM firings WHERE token IS NOT NULL "
    "UNION ALL SELECT 1 FROM jobs WHERE state = 'running' LIMIT 1"
)
"""Whether anything is held at all: every start asks."""


def rescue_holder(
    conn: Connection, *, now: datetime, host: str | None = None, blameless: bool = False
) -> Rescued:
    """End every lease, serving leases too: for whoever knows that all their holders (or that of ``host``) are dead.

    On the whole database also whoever read the documents of a firing is dead.

    They ran when their worker died, as after ``rescue_stale``; unless they are known to be ``blameless``: none died.
    """
    if host is None and conn.scalar(_HELD) is None:
        return Rescued()
    served, held = (true(), true()) if host is None else (hosts.c.name == host, jobs.c.host == host)
    free = {"serving_token": None, "serving_until": None, "intent": None, "intent_at": None}
    conn.execute(update(hosts).where(served).values(free))
    if host is None:
        conn.execute(update(firings).where(firings.c.token.is_not(None)).values(token=None, token_until=None))
    total = Rescued()
    while (rescued := _rescue(conn, held, now=now, limit=5000, blameless=blameless)) != Rescued():
        total = Rescued(
            total.retried + rescued.retried, total.held + rescued.held, total.cancelled + rescued.cancelled
        )
    return total


def _rescue(
    conn: Connection, condition: ColumnElement[bool], *, now: datetime, limit: int, blameless: bool = False
) -> Rescued:
    query = select(jobs).where(jobs.c.state == "running", condition).order_by(jobs.c.lease_until)
    if conn.dialect.name == "postgresql":
        query = query.with_for_update(skip_locked=True)
    rows = conn.execute(query.limit(limit)).all()
    told = {row.lease_token for row in rows if row.asked}
    groups: dict[tuple[Transition, int], list[Row[Any]]] = {}
    for row in rows:
        # claimed ahead and never asked, it cannot be what its worker died of; where none was marked it may be any
        loss = int(not blameless and (row.asked or row.lease_token not in told))
        groups.setdefault((_rescue_of(row, loss), loss), []).append(row)
    for (transition, loss), group in groups.items():
        values: dict[str, Any] = {"now": now}
        if transition is not CANCEL_RUNNING:
            values["loss"] = loss
        if transition is RESCUE_SUSPECT:
            reason = f"its host or worker died {MOST_LOSSES} times while it ran, last when it ran alone"
            values = {"loss": loss, "code": str(Code.WORKER_LOST), "reason": reason}
        move(conn, transition, group, **values)
    if rows:
        conn.execute(
            _LOST,
            [
                {
                    "job": row.id,
                    "attempt": row.attempt,
                    "host": row.host,
                    "started": row.started_at,
                    "ended": now,
                    "code": str(Code.WORKER_LOST),
                }
                for row in rows
            ],
        )
    by_transition: defaultdict[Transition, list[int]] = defaultdict(list)
    for (transition, _), group in groups.items():
        by_transition[transition] += [row.id for row in group]
    _return_cancelled(conn, by_transition[CANCEL_RUNNING])
    return Rescued(*(len(by_transition[one]) for one in (RESCUE, RESCUE_SUSPECT, CANCEL_RUNNING)))


_LOST = text(
    "INSERT INTO attempts (job_id, attempt, host, started_at, ended_at, outcome, charged, error_code, error_message) "
    "VALUES (:job, :attempt, :host, :started, :ended, 'rescued', false, :code, 'its lease ran out') "
    "ON CONFLICT (job_id, attempt) DO NOTHING"
).bindparams(bindparam("started", type_=UtcTime), bindparam("ended", type_=UtcTime))


def _rescue_of(row: Row[Any], loss: int) -> Transition:
    if row.cancel_requested_at is not None:
        return CANCEL_RUNNING
    return RESCUE_SUSPECT if loss and row.losses + 1 >= MOST_LOSSES else RESCUE


# -- the right to serve a host ----------------------------------------------------------------------------------


def take_host(conn: Connection, *, host: str, token: str, now: datetime, until: datetime) -> bool:
    """Take the serving lease of ``host``; False while somebody else holds it, or where there is no such host."""
    return bool(
        conn.execute(
            update(hosts)
            .where(hosts.c.name == host, hosts.c.serving_token.is_(None) | (hosts.c.serving_until < now))
            .values(serving_token=token, serving_until=until, intent=None, intent_at=None)
        ).rowcount
    )


def renew_host(conn: Connection, *, host: str, token: str, now: datetime, until: datetime) -> bool:
    """Keep the serving lease; False when it is lost to another worker. One that ran out untaken is taken again."""
    return bool(
        conn.execute(
            update(hosts)
            .where(hosts.c.name == host, hosts.c.serving_token == token)
            .values(serving_until=until)
        ).rowcount
    )


def leave_host(conn: Connection, *, host: str, token: str, now: datetime) -> None:
    """Give the serving lease back, and what was meant to be loaded with it."""
    conn.execute(
        update(hosts)
        .where(hosts.c.name == host, hosts.c.serving_token == token)
        .values(serving_token=None, serving_until=None, intent=None, intent_at=None)
    )

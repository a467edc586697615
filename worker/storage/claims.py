"""Claims jobs for a worker.

A claim gives a lease; every write of an outcome passes a fence: the lease token and the attempt have to match. On
PostgreSQL claimers pass over each other's rows (SKIP LOCKED); on SQLite there is one writer at a time.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from enum import Enum
from functools import cache
from itertools import starmap
from typing import Any

from sqlalchemy import bindparam, text, update
from sqlalchemy.engine import Connection

from worker.domain.jobs import ClaimedJob, Priority
from worker.policy.facts import Order
from worker.policy.retry import SUSPECT_AFTER
from worker.policy.turns import Stretch, Turn, stretches, turn_after
from worker.records import record
from worker.storage.ids import id_range
from worker.storage.operations import free_ranges
from worker.storage.payloads import PickedRow, jobs_with_payloads
from worker.storage.tables import hosts
from worker.storage.transitions import (
    CLAIM,
    by_pick,
    count_picked,
)
from worker.storage.types import UtcTime


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


@cache
def claim_statement(pick: Pick, dialect: str) -> Any:
    """Take the jobs of a pick: one priority at a time, so that they are one stretch of the index."""
    give = ", ".join(f"jobs.{name}" for name in PickedRow.__annotations__)
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
    rows: list[PickedRow] = []
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


def _by_deadline(conn: Connection, tier: _Tier, request: dict[str, Any], limit: int) -> list[PickedRow]:
    """The next jobs by their deadline, whether they expire or not."""
    if not (tier.dated and tier.expiring):
        pick = Pick.DATED if tier.dated else Pick.EXPIRING
        return _take(conn, pick, request, limit) if tier.dated or tier.expiring else []
    rows: list[PickedRow] = []
    for free in _free(request):
        shares = conn.execute(_share_statement(conn.dialect.name), free | {"limit": limit - len(rows)})
        for expires, number in shares.all():
            statement = claim_statement(Pick.EXPIRING if expires else Pick.DATED, conn.dialect.name)
            rows += starmap(PickedRow, conn.execute(statement, free | {"limit": number}).all())
        if len(rows) >= limit:
            break
    return rows


def _free(parameters: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The same values for each range of ids from which may be claimed, within those asked for."""
    for low, high in parameters.get("ranges", ((parameters["low"], parameters["high"]),)):
        bounds = {"low": max(low, parameters["low"]), "high": min(high, parameters["high"])}
        if bounds["low"] < bounds["high"]:
            yield parameters | bounds


def _take(conn: Connection, pick: Pick, parameters: dict[str, Any], limit: int) -> list[PickedRow]:
    """The next jobs of a pick."""
    rows: list[PickedRow] = []
    for free in _free(parameters):
        if len(rows) == limit:
            break
        statement = claim_statement(pick, conn.dialect.name)
        rows += starmap(PickedRow, conn.execute(statement, free | {"limit": limit - len(rows)}).all())
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
    conn: Connection, rows: Sequence[PickedRow], host: str, token: str, order: Order, now: datetime
) -> list[ClaimedJob]:
    if not rows:
        return []
    count_picked(conn, CLAIM, rows)
    serving = hosts.c.name == host, hosts.c.serving_token == token
    conn.execute(update(hosts).where(*serving).values(last_claim_at=now))
    return jobs_with_payloads(conn, rows, token, order)


def _in_turn(
    conn: Connection,
    order: Order,
    values: dict[str, Any],
    limit: int,
    now: datetime,
    turn: Turn,
    *,
    batch_id: int | None,
) -> tuple[list[PickedRow], Turn]:
    """Jobs of the batches in the order that ``policy.turns`` gives, and whose turn it is now."""
    rows: list[PickedRow] = []
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

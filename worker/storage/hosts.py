"""Hosts: who they are, what was seen of them, what they hold and mean to load."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import Row, bindparam, delete, func, literal, select, text, update
from sqlalchemy.engine import Connection

from worker.domain.hosts import Host, HostModel, HostReport, HostView
from worker.errors import Conflict, NotFound
from worker.storage.tables import blocks, hosts
from worker.storage.types import UtcTime, storable

_ADD = text(
    "INSERT INTO hosts (name, url, slots, added_at) VALUES (:name, :url, :slots, :now) "
    "ON CONFLICT (name) DO UPDATE SET url = excluded.url, slots = excluded.slots, "
    + ", ".join(
        f"{seen} = CASE WHEN hosts.url = excluded.url THEN hosts.{seen} END"
        for seen in ("version", "models", "last_seen_at", "error", "resident")
    )
).bindparams(bindparam("now", type_=UtcTime))


def add_host(conn: Connection, host: Host, *, now: datetime) -> None:
    """Add a host, or change the URL and slots of the one of that name. What was seen at another URL is forgotten."""
    conn.execute(_ADD, {"name": host.name, "url": host.url, "slots": host.slots, "now": now})


def remove_host(conn: Connection, name: str, *, now: datetime) -> None:
    """Forget a host; what it did stays. Raises NotFound; Conflict while a worker serves it."""
    row = conn.execute(select(hosts.c.serving_until).where(hosts.c.name == name)).first()
    if row is None:
        raise NotFound(f"no host {name!r}")
    if row.serving_until is not None and row.serving_until > now:
        raise Conflict(f"host {name!r} is being served; stop its worker first")
    conn.execute(delete(hosts).where(hosts.c.name == name))


def get_host(conn: Connection, name: str) -> Host:
    """Raises NotFound."""
    row = conn.execute(select(hosts.c.name, hosts.c.url, hosts.c.slots).where(hosts.c.name == name)).first()
    if row is None:
        raise NotFound(f"no host {name!r}: caravan hosts add {name} URL")
    return Host(*row)


def list_hosts(conn: Connection, now: datetime) -> list[HostReport]:
    """All hosts by name, as an operator sees them."""
    backing_off = _blocked(conn, now)
    return [
        HostReport(
            host=Host(row.name, row.url, row.slots),
            version=row.version,
            view=_view(row, now, backing_off),
            last_seen_at=row.last_seen_at,
            last_claim_at=row.last_claim_at,
            error=row.error,
        )
        for row in conn.execute(select(hosts).order_by(hosts.c.name))
    ]


def host_views(conn: Connection, now: datetime) -> list[HostView]:
    """All hosts by name, as they see each other."""
    backing_off = _blocked(conn, now)
    return [_view(row, now, backing_off) for row in conn.execute(select(hosts).order_by(hosts.c.name))]


def _blocked(conn: Connection, now: datetime) -> dict[str, dict[str, datetime]]:
    found: dict[str, dict[str, datetime]] = {}
    rows = conn.execute(
        select(blocks.c.host, blocks.c.runner_key, blocks.c.until).where(blocks.c.until > now)
    )
    for host, key, until in rows:
        found.setdefault(host, {})[key] = until
    return found


def _view(row: Row[Any], now: datetime, backing_off: dict[str, dict[str, datetime]]) -> HostView:
    return HostView(
        name=row.name,
        resident=row.resident,
        intent=row.intent,
        serving=row.serving_until is not None and row.serving_until > now,
        looked=row.models is not None,
        models=frozenset(model["name"] for model in row.models or ()),
        blocked=backing_off.get(row.name, {}),
        draining=row.draining_at is not None,
        slots=row.slots,
    )


def record_probe(
    conn: Connection, name: str, *, version: str, models: Sequence[HostModel], now: datetime
) -> None:
    """Keep what a look at the host found."""
    conn.execute(
        update(hosts)
        .where(hosts.c.name == name)
        .values(
            version=storable(version)[:50],
            models=[asdict(model) for model in models],
            last_seen_at=now,
            error=None,
            unreachable_since=None,
        )
    )


def record_unreachable(conn: Connection, name: str, *, message: str, now: datetime) -> None:
    """Keep why the host could not be looked at, and since when; what it was last seen to have stays."""
    conn.execute(
        update(hosts)
        .where(hosts.c.name == name)
        .values(
            error=storable(message),
            unreachable_since=func.coalesce(hosts.c.unreachable_since, literal(now, UtcTime)),
        )
    )


def record_resident(conn: Connection, name: str, runner_key: str | None, *, now: datetime) -> None:
    """What the host holds now."""
    conn.execute(update(hosts).where(hosts.c.name == name).values(resident=runner_key))


def publish_intent(conn: Connection, name: str, runner_key: str | None, *, now: datetime) -> None:
    """What the host is about to load, for the others to see."""
    at = None if runner_key is None else now
    conn.execute(update(hosts).where(hosts.c.name == name).values(intent=runner_key, intent_at=at))


def lock_fleet(conn: Connection) -> None:
    """Hold the right to decide a load until the transaction ends: one decision at a time in the whole fleet."""
    if conn.dialect.name == "postgresql":  # on SQLite the transaction itself is that lock
        conn.execute(text("SELECT id FROM fleet WHERE id = 1 FOR UPDATE"))


_BLOCK = text(
    "INSERT INTO blocks (host, runner_key, until, failures, reason) VALUES (:host, :key, :until, :failures, :reason) "
    "ON CONFLICT (host, runner_key) DO UPDATE SET until = excluded.until, failures = excluded.failures, "
    "reason = excluded.reason"
).bindparams(bindparam("until", type_=UtcTime))


def block_failures(conn: Connection, host: str, runner_key: str) -> tuple[int, datetime | None]:
    """How often in a row a runner key failed on a host, and until when it is left alone for the last time."""
    row = conn.execute(
        select(blocks.c.failures, blocks.c.until).where(
            blocks.c.host == host, blocks.c.runner_key == runner_key
        )
    ).first()
    return (0, None) if row is None else (row.failures, row.until)


def block_key(
    conn: Connection, host: str, runner_key: str, *, until: datetime, reason: str, failures: int
) -> None:
    """Leave a runner key alone on a host for a while."""
    conn.execute(
        _BLOCK,
        {
            "host": host,
            "key": runner_key,
            "until": until,
            "failures": failures,
            "reason": storable(reason),
        },
    )


def clear_block(conn: Connection, host: str, runner_key: str) -> None:
    """It loads again."""
    conn.execute(delete(blocks).where(blocks.c.host == host, blocks.c.runner_key == runner_key))

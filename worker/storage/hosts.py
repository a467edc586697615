"""Hosts: who they are, what was seen of them, what they hold and mean to load."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, delete, func, literal, or_, select, text, update
from sqlalchemy.engine import Connection

from worker.domain.hosts import Access, Host, HostModel, Run
from worker.errors import Conflict, HostLost
from worker.storage.host_rows import host_of, unknown_host
from worker.storage.runs import list_runs
from worker.storage.tables import blocks, host_models, hosts, residents
from worker.storage.types import UtcTime, storable

_SETTINGS = ("url", "slots", "access", "models_at_once", "memory", "shared", "slots_told")
_LOOK = (
    "version",
    "models",
    "last_seen_at",
    "error",
    "resident",
    "unreachable_since",
    "slow_since",
    "slow_reason",
    "quarantined_until",
    "quarantine_reason",
)
_ADD = text(
    f"INSERT INTO hosts (name, {', '.join(_SETTINGS)}, added_at, kept) "
    f"VALUES (:name, {', '.join(f':{column}' for column in _SETTINGS)}, :now, :kept) ON CONFLICT (name) DO UPDATE SET "
    + ", ".join(
        ["added_at = CASE WHEN hosts.kept THEN hosts.added_at ELSE excluded.added_at END"]
        + ["kept = hosts.kept OR excluded.kept"]
        + [f"{column} = excluded.{column}" for column in _SETTINGS]
    )
).bindparams(bindparam("now", type_=UtcTime), bindparam("access", type_=hosts.c.access.type))


def add_host(conn: Connection, host: Host, *, now: datetime, permanent: bool = True) -> None:
    """Add a host, or replace the settings of the host of that name. What was seen at another URL is forgotten.

    One that is not ``permanent`` was named by a single run, and other commands do not take it for theirs. Whether it is
    draining stays: see ``drain_host``.
    """
    _forget_other_url(conn, host.name, host.url)
    values = {
        "url": host.url,
        "slots": host.slots,
        "access": host.access.stored,
        "models_at_once": host.models_at_once,
        "memory": host.memory,
        "shared": host.shared,
        "slots_told": not host.auto_slots,
    }
    conn.execute(_ADD, {"name": host.name, **values, "now": now, "kept": permanent})


def _forget_other_url(conn: Connection, name: str, url: str) -> None:
    """What was seen of the host of that name, if it was at another URL."""
    query = update(hosts).where(hosts.c.name == name, hosts.c.url != url)
    if conn.execute(query.values(dict.fromkeys(_LOOK))).rowcount:
        for table in (host_models, residents):
            conn.execute(delete(table).where(table.c.host == name))


def is_permanent(conn: Connection, name: str) -> bool:
    """Whether a host of that name was added for good."""
    return bool(conn.scalar(select(hosts.c.kept).where(hosts.c.name == name)))


def set_host(
    conn: Connection,
    name: str,
    *,
    url: str | None = None,
    slots: int | None = None,
    models_at_once: int | None = None,
    memory: int | None = None,
    access: Access | None = None,
    shared: bool | None = None,
) -> Host:
    """Change what is given of a host and leave the rest; ``memory`` 0 forgets it. Raises NotFound.

    Columns that were not given are not written: two operators who change two things at once lose neither.
    """
    values: dict[str, Any] = {
        "url": url,
        "slots": slots,
        "slots_told": None if slots is None else True,
        "models_at_once": models_at_once,
        "shared": shared,
    }
    values = {column: value for column, value in values.items() if value is not None}
    if memory is not None:
        values["memory"] = memory or None
    if access is not None:
        values["access"] = access.stored
    if url is not None:
        _forget_other_url(conn, name, url)
    if values:
        conn.execute(update(hosts).where(hosts.c.name == name).values(values))
    return get_host(conn, name)


def drain_host(conn: Connection, name: str, *, now: datetime) -> None:
    """From now on the host finishes what it runs and takes nothing new. Idempotent. Raises NotFound."""
    _mark(conn, name, func.coalesce(hosts.c.draining_at, literal(now, UtcTime)))


def resume_host(conn: Connection, name: str) -> None:
    """The host takes work again. Raises NotFound."""
    _mark(conn, name, None)
    end_quarantine(conn, name)


def quarantine_host(conn: Connection, name: str, *, until: datetime, reason: str) -> None:
    """Nothing is sent to the host before ``until``: it answers, and does not generate."""
    conn.execute(
        update(hosts)
        .where(hosts.c.name == name)
        .values(
            quarantined_until=until,
            quarantine_reason=storable(reason),
            quarantines=hosts.c.quarantines + 1,
        )
    )


def end_quarantine(conn: Connection, name: str) -> None:
    """It answered a job, or an operator says that it is well."""
    conn.execute(
        update(hosts)
        .where(hosts.c.name == name)
        .values(quarantined_until=None, quarantine_reason=None, quarantines=0)
    )


def quarantine_of(conn: Connection, name: str) -> tuple[int, datetime | None]:
    """How often in a row the host was quarantined, and until when the last time."""
    row = conn.execute(
        select(hosts.c.quarantines, hosts.c.quarantined_until).where(hosts.c.name == name)
    ).first()
    return (0, None) if row is None else (row.quarantines, row.quarantined_until)


def record_slow(conn: Connection, name: str, reason: str | None, *, now: datetime) -> None:
    """The host generates more slowly than it did, or (``reason`` is None) no longer does."""
    since = None if reason is None else func.coalesce(hosts.c.slow_since, literal(now, UtcTime))
    stored_reason = None if reason is None else storable(reason)
    conn.execute(
        update(hosts).where(hosts.c.name == name).values(slow_since=since, slow_reason=stored_reason)
    )


def _mark(conn: Connection, name: str, draining_at: Any) -> None:
    if not conn.execute(update(hosts).where(hosts.c.name == name).values(draining_at=draining_at)).rowcount:
        raise unknown_host(conn, name)


def remove_host(conn: Connection, name: str, *, now: datetime) -> None:
    """Forget a host; what it did stays. Raises NotFound; Conflict while a worker serves it."""
    row = conn.execute(select(hosts.c.serving_until).where(hosts.c.name == name)).first()
    if row is None:
        raise unknown_host(conn, name)
    if row.serving_until is not None and row.serving_until > now:
        raise Conflict(f"host {name!r} is being served; stop its worker first")
    conn.execute(delete(hosts).where(hosts.c.name == name))


def forget_passing_host(conn: Connection, name: str, *, served: bool, now: datetime) -> None:
    """Remove a host that one command registered for itself: one that it did not serve, or that does not answer.

    A host that was added for good meanwhile, or that somebody serves, stays.
    """
    query = delete(hosts).where(
        hosts.c.name == name,
        hosts.c.kept.is_(False),
        or_(hosts.c.serving_until.is_(None), hosts.c.serving_until <= bindparam("now", now, type_=UtcTime)),
    )
    conn.execute(query.where(hosts.c.error.is_not(None)) if served else query)


def get_host(conn: Connection, name: str, *, lock: bool = False) -> Host:
    """With ``lock`` nobody changes it before the transaction ends. Raises NotFound."""
    query = select(hosts).where(hosts.c.name == name)
    row = conn.execute(query.with_for_update() if lock else query).first()
    if row is None:
        raise unknown_host(conn, name)
    return host_of(row)


def host_at(conn: Connection, url: str) -> Host | None:
    """The host at ``url`` (as ``host_address`` gives it): one that was added for good before one of a single run, and the
    one that was added first. None for none.
    """
    order = hosts.c.kept.desc(), hosts.c.added_at
    row = conn.execute(select(hosts).where(hosts.c.url == url).order_by(*order).limit(1)).first()
    return None if row is None else host_of(row)


def host_history(conn: Connection, name: str, limit: int = 20) -> list[Run]:
    """What a host did between two loads, the newest first. Raises NotFound for a host that is not there and has no
    history either."""
    runs_of_host = list_runs(conn, name, limit)
    if not runs_of_host:
        get_host(conn, name)
    return runs_of_host


def record_probe(
    conn: Connection, name: str, *, version: str, models: Sequence[HostModel], now: datetime
) -> None:
    """Keep what a look at the host found, where there is a host of that name."""
    known = conn.execute(
        update(hosts)
        .where(hosts.c.name == name)
        .values(
            version=storable(version)[:50],
            models=None,
            last_seen_at=now,
            error=None,
            unreachable_since=None,
        )
    ).rowcount
    rows = {model.name: asdict(model) | {"host": name} for model in models}
    m = host_models.c
    conn.execute(delete(host_models).where(m.host == name, m.name.not_in(sorted(rows))))
    if rows and known:
        conn.execute(_HAS, list(rows.values()))


_HAS = text(
    "INSERT INTO host_models (host, name, digest, thinking, trained_context, size, vocabulary, weights, quantization, "
    "parameters, capabilities) VALUES (:host, :name, :digest, :thinking, :trained_context, :size, :vocabulary, :weights, "
    ":quantization, :parameters, :capabilities) "
    "ON CONFLICT (host, name) DO UPDATE SET digest = excluded.digest, thinking = excluded.thinking, "
    "trained_context = excluded.trained_context, size = excluded.size, vocabulary = excluded.vocabulary, "
    "weights = excluded.weights, quantization = excluded.quantization, parameters = excluded.parameters, "
    "capabilities = excluded.capabilities"
).bindparams(bindparam("capabilities", type_=host_models.c.capabilities.type))


def forget_model(conn: Connection, name: str, model: str, *, now: datetime) -> None:
    """The host has this model no more, or is about to remove it. It counts as looked at, so that whoever remembers what it
    has on disk reads that again."""
    m = host_models.c
    conn.execute(delete(host_models).where(m.host == name, m.name == model))
    conn.execute(update(hosts).where(hosts.c.name == name).values(last_seen_at=now))


def record_unreachable(
    conn: Connection, name: str, *, message: str, now: datetime, token: str | None = None
) -> None:
    """Keep why the host could not be looked at, and since when; what it was last seen to have stays.

    Whoever serves the host gives its ``token``. Of somebody else, a laptop perhaps, it is kept only while nobody serves
    the host: a worker that does knows better whether it answers.
    """
    h = hosts.c
    free = h.serving_until.is_(None) | (h.serving_until <= bindparam("now", now, type_=UtcTime))
    conn.execute(
        update(hosts)
        .where(h.name == name, free if token is None else h.serving_token == token)
        .values(
            error=storable(message),
            unreachable_since=func.coalesce(h.unreachable_since, literal(now, UtcTime)),
        )
    )


def record_resident(conn: Connection, name: str, runner_key: str | None, *, now: datetime) -> None:
    """The host holds this runner now, and no other."""
    record_residents(conn, name, {} if runner_key is None else {runner_key: None}, runner_key, now=now)


def record_idle_load(conn: Connection, name: str, runner_key: str, *, now: datetime) -> None:
    """Somebody who does not serve the host has loaded this there; kept only while nobody serves it."""
    h = hosts.c
    free = h.serving_until.is_(None) | (h.serving_until <= bindparam("now", now, type_=UtcTime))
    if conn.execute(update(hosts).where(h.name == name, free).values(resident=runner_key)).rowcount:
        record_resident(conn, name, runner_key, now=now)


def record_residents(
    conn: Connection, name: str, runners: Mapping[str, int | None], used: str | None, *, now: datetime
) -> None:
    """The host holds these runners now (→ the bytes each takes, where known) and uses ``used``."""
    conn.execute(update(hosts).where(hosts.c.name == name).values(resident=used))
    conn.execute(
        delete(residents).where(residents.c.host == name, residents.c.runner_key.not_in(sorted(runners)))
    )
    if runners:
        rows = [{"host": name, "key": key, "memory": memory, "now": now} for key, memory in runners.items()]
        conn.execute(_HOLDS, rows)


_HOLDS = text(
    "INSERT INTO residents (host, runner_key, memory, since) VALUES (:host, :key, :memory, :now) "
    "ON CONFLICT (host, runner_key) DO UPDATE SET memory = coalesce(excluded.memory, residents.memory)"
).bindparams(bindparam("now", type_=UtcTime))


def record_use(conn: Connection, name: str, runner_key: str) -> None:
    """Which of the runners it holds the host uses."""
    conn.execute(update(hosts).where(hosts.c.name == name).values(resident=runner_key))


def record_load(conn: Connection, name: str, *, seconds: float, now: datetime) -> None:
    """A load of the host has ended after ``seconds``."""
    conn.execute(update(hosts).where(hosts.c.name == name).values(loaded_at=now, loaded_seconds=seconds))


def publish_intent(
    conn: Connection,
    name: str,
    runner_key: str | None,
    *,
    now: datetime,
    until: datetime | None = None,
    starved: bool = False,
) -> None:
    """What the host is about to load, and until when about, for the others to see."""
    at = None if runner_key is None else now
    conn.execute(
        update(hosts)
        .where(hosts.c.name == name)
        .values(intent=runner_key, intent_at=at, intent_until=until, intent_starved=starved)
    )


def hold_host(conn: Connection, name: str, token: str) -> None:
    """Keep the host ours until the transaction ends: nobody takes it meanwhile. Raises HostLost where it is not.

    Whoever serves a host writes nothing of its state without this (the residents, runs, blocks and paces too).
    """
    query = update(hosts).where(hosts.c.name == name, hosts.c.serving_token == token)
    if not conn.execute(query.values(serving_token=token)).rowcount:
        raise HostLost(f"another worker serves {name} by now")


def lock_fleet(conn: Connection) -> None:
    """Hold the right to decide a load until the transaction ends: one decision at a time in the whole fleet."""
    if conn.dialect.name == "postgresql":  # on SQLite the transaction itself is that lock
        conn.execute(text("SELECT id FROM fleet WHERE id = 1 FOR UPDATE"))


_BLOCK = text(
    "INSERT INTO blocks (host, runner_key, until, failures, reason) VALUES (:host, :key, :until, :failures, :reason) "
    "ON CONFLICT (host, runner_key) DO UPDATE SET until = excluded.until, failures = excluded.failures, "
    "reason = excluded.reason"
).bindparams(bindparam("until", type_=UtcTime))


def failing_keys(conn: Connection, now: datetime, *, failures: int) -> dict[tuple[str, str], str]:
    """(host, runner key) → why, for what failed that often in a row and is being left alone now."""
    rows = conn.execute(
        select(blocks.c.host, blocks.c.runner_key, blocks.c.reason).where(
            blocks.c.until > now, blocks.c.failures >= failures
        )
    )
    return {(host, key): reason for host, key, reason in rows}


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

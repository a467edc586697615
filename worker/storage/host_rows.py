"""Reads hosts: one value for every reader, with what it has on disk, holds and leaves alone."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, field, fields
from datetime import UTC, datetime
from functools import cached_property
from operator import itemgetter
from typing import Any

from sqlalchemy import Row, bindparam, cast, null, select, union_all
from sqlalchemy.engine import Connection

from worker.domain.hosts import Access, Health, Host, HostModel
from worker.domain.runners import RunnerKey
from worker.errors import NotFound
from worker.policy.health import health_of
from worker.policy.windows import Windows, is_open, opens_at, stored_windows
from worker.records import from_row, mutable_record, record
from worker.storage.lately import HostFailure
from worker.storage.tables import blocks, host_models, hosts, residents

_NEVER = datetime.min.replace(tzinfo=UTC)


@record
class Disk:
    """What a host has on disk, as the look at ``seen_at`` found it."""

    seen_at: datetime | None = None
    models: frozenset[str] = frozenset()
    """Normalised names."""
    weights: Mapping[str, str] = field(default_factory=dict)
    """Model → what it shares with its other names, where the host tells."""
    sizes: Mapping[str, int] = field(default_factory=dict)
    """Model → its bytes on disk, where the host tells."""


@record
class Block:
    """A runner key that failed on a host and is left alone there until ``until``."""

    runner_key: str
    until: datetime
    failures: int
    reason: str

    @property
    def model(self) -> str:
        return RunnerKey.parse(self.runner_key).model


@record
class HostRow:
    """A host as the database knows it at ``at``. Its hours and its health are worked out when they are first asked for."""

    host: Host
    at: datetime = _NEVER
    kept: bool = True
    """It was added for good, not named by a single run."""
    added_at: datetime = _NEVER
    serving: bool = False
    """Somebody holds its serving lease."""
    version: str | None = None
    last_seen_at: datetime | None = None
    """When it answered a look last; None: nobody has looked since it has this URL."""
    last_claim_at: datetime | None = None
    error: str | None = None
    """Why it could not be reached when it was last looked at."""
    unreachable_since: datetime | None = None
    slow_since: datetime | None = None
    slow_reason: str | None = None
    quarantined_until: datetime | None = None
    quarantine_reason: str | None = None
    resident: str | None = None
    """Text of the runner key that it uses, where known."""
    intent: str | None = None
    """Text of the runner key that it loads, or runs dry for, since ``intent_at``."""
    intent_at: datetime | None = None
    intent_until: datetime | None = None
    """When the load under way is expected to be done."""
    intent_starved: bool = False
    loaded_at: datetime | None = None
    """When its last load ended, and how many seconds it took."""
    loaded_seconds: float | None = None
    windows: Windows | None = None
    """The hours in which it takes work; None: always."""
    disk: Disk = Disk()
    residents: Mapping[str, int | None] = field(default_factory=dict)
    """All runner keys it has loaded → the bytes each takes, where known."""
    blocks: tuple[Block, ...] = ()
    """Runner keys that are left alone there now, the first to end first."""
    running: int = 0
    """Jobs of all batches that it works on, where the reader counted them."""
    claimed: int = 0
    """Those of them that it has claimed ahead."""
    tokens_per_second: float = 0.0
    """What the answers of the last minute come to, where the reader worked that out."""
    rests_after: HostFailure | None = None
    """The failure after which it gets no jobs for up to a minute, where the reader looked for it."""

    @property
    def name(self) -> str:
        return self.host.name

    @property
    def url(self) -> str:
        return self.host.url

    @property
    def slots(self) -> int:
        return self.host.slots

    @property
    def draining(self) -> bool:
        return self.host.draining

    @property
    def models(self) -> frozenset[str]:
        """Normalised names of what it has on disk."""
        return self.disk.models

    @property
    def weights(self) -> Mapping[str, str]:
        """Model → what it shares with its other names, where the host tells."""
        return self.disk.weights

    @property
    def looked(self) -> bool:
        """Somebody has seen what it has; where nobody has, it may have anything."""
        return self.last_seen_at is not None

    @property
    def window(self) -> str | None:
        """Its hours for people; None: always."""
        return None if self.windows is None else self.windows.text

    @cached_property
    def closed(self) -> bool:
        """It is outside of its hours: it finishes what it runs and takes nothing new."""
        return not is_open(self.windows, self.at)

    @cached_property
    def opens_at(self) -> datetime | None:
        """When a closed one opens; None: not in the next two years, or it is open."""
        return opens_at(self.windows, self.at) if self.closed else None

    @cached_property
    def health(self) -> Health:
        return health_of(
            now=self.at,
            draining=self.draining,
            closed=self.closed,
            quarantined_until=self.quarantined_until,
            unreachable_since=self.unreachable_since,
            slow_since=self.slow_since,
        )

    @property
    def health_reason(self) -> str | None:
        """Why it is slow, unreachable or in quarantine."""
        match self.health:
            case Health.QUARANTINED:
                return self.quarantine_reason
            case Health.UNREACHABLE:
                return self.error
            case Health.SLOW:
                return self.slow_reason
            case _:
                return None

    @property
    def in_quarantine(self) -> bool:
        """Nothing is sent there now: it answers, and does not generate."""
        return self.quarantined_until is not None and self.quarantined_until > self.at

    @property
    def takes_nothing(self) -> bool:
        """It is drained, outside of its hours or in quarantine: it finishes what it runs."""
        return self.draining or self.closed or self.in_quarantine

    @property
    def blocked(self) -> Mapping[str, datetime]:
        """Runner keys that failed there lately, and until when they are left alone."""
        return {block.runner_key: block.until for block in self.blocks}

    def may_have(self, model: str) -> bool:
        """Whether a job of ``model`` could be answered there, as far as is known."""
        return not self.looked or model in self.models


def pull_command(model: str, hosts: Sequence[HostRow]) -> str:
    """The command that brings a model onto these hosts. It takes the hosts that were added; those that a single run named
    have to be named again.

    >>> pull_command("a:1", [HostRow(Host("10.0.0.7:11434", "http://10.0.0.7:11434"), kept=False)])
    'caravan models pull a:1 --host 10.0.0.7:11434'
    """
    there = [host for host in hosts if host.unreachable_since is None] or list(hosts)
    names = [] if any(host.kept for host in hosts) else [host.name for host in there[:4]]
    return f"caravan models pull {model}" + "".join(f" --host {name}" for name in names)


@mutable_record
class HostCache:
    """What a reader knows of the hosts from its last read. A fleet has many, and few change from one read to the next."""

    disks: dict[str, Disk] = field(default_factory=dict)
    rows: dict[str, tuple[object, HostRow]] = field(default_factory=dict)
    """Host → what its row was made of, and the row."""


def read_hosts(conn: Connection, now: datetime, *, cache: HostCache | None = None) -> list[HostRow]:
    """All hosts by name. ``cache`` is brought up to date: only of hosts that were looked at since is a model read, and a
    host of which nothing changed is the same object as before, with the time and the last claim of then."""
    held, blocked = _runners(conn, now)
    rows = conn.execute(_HOSTS).all()
    cache = HostCache() if cache is None else cache
    _renew(conn, rows, cache.disks)
    views = []
    for row in rows:
        serving = row.serving_until is not None and row.serving_until > now
        residents, blocks = held.get(row.name, {}), tuple(blocked.get(row.name, ()))
        figures = (_lasting(row), serving, residents, blocks)
        before = cache.rows.get(row.name)
        if before is None or before[0] != figures or not _lasts(before[1]):
            host = from_row(
                HostRow,
                row,
                host=host_of(row),
                at=now,
                serving=serving,
                windows=stored_windows(row.windows),
                disk=cache.disks[row.name],
                residents=residents,
                blocks=blocks,
            )
            before = cache.rows[row.name] = (figures, host)
        views.append(before[1])
    return views


def _lasts(row: HostRow) -> bool:
    """Whether time alone changes nothing of it: it has no hours, and is well."""
    return row.windows is None and not (row.quarantined_until or row.unreachable_since or row.slow_since)


_HOSTS = select(hosts).order_by(hosts.c.name)
_lasting = itemgetter(
    *(place for place, c in enumerate(hosts.c) if c.name not in ("serving_until", "last_claim_at"))
)
"""What a row says but for what each renewal of a lease and each claim changes."""


def host_of(row: Row[Any]) -> Host:
    """What people gave of a host."""
    return Host(
        row.name,
        row.url,
        row.slots,
        access=Access.parse(row.access),
        models_at_once=row.models_at_once,
        memory=row.memory,
        shared=row.shared,
        auto_slots=not row.slots_told,
        draining=row.draining_at is not None,
    )


def _runners(
    conn: Connection, now: datetime
) -> tuple[dict[str, dict[str, int | None]], dict[str, list[Block]]]:
    """What each host has loaded, and what is blocked on it: host → runner key → bytes; host → blocks, the first to end
    first."""
    held, blocked = dict[str, dict[str, int | None]](), dict[str, list[Block]]()
    for host, key, memory, until, failures, reason in conn.execute(_RUNNERS, {"now": now}).all():
        if until is None:
            held.setdefault(host, {})[key] = memory
        else:
            blocked.setdefault(host, []).append(Block(key, until, failures, reason))
    return held, blocked


def _both() -> Any:
    b, r = blocks.c, residents.c
    nothing = (cast(null(), b.until.type), cast(null(), b.failures.type), cast(null(), b.reason.type))
    loaded = select(
        r.host,
        r.runner_key,
        r.memory,
        *(column.label(name) for column, name in zip(nothing, ("until", "failures", "reason"), strict=True)),
    )
    ending = select(b.host, b.runner_key, cast(null(), r.memory.type), b.until, b.failures, b.reason)
    both = union_all(loaded, ending.where(b.until > bindparam("now", type_=b.until.type)))
    return both.order_by("until", "runner_key")


_RUNNERS = _both()
"""In one statement, since every decision reads it."""


def _renew(conn: Connection, rows: Sequence[Row[Any]], disks: dict[str, Disk]) -> None:
    stale = [row for row in rows if row.name not in disks or disks[row.name].seen_at != row.last_seen_at]
    if not stale:
        return
    m, names, weights = host_models.c, dict[str, list[str]](), dict[str, dict[str, str]]()
    sizes: dict[str, dict[str, int]] = {}
    query = select(m.host, m.name, m.weights, m.size)
    if len(stale) < len(rows):
        query = query.where(m.host.in_([row.name for row in stale]))
    for host, name, shared, size in conn.execute(query).all():
        names.setdefault(host, []).append(name)
        if size:
            sizes.setdefault(host, {})[name] = size
        if shared:
            weights.setdefault(host, {})[name] = shared
    for row in stale:
        had = names.get(row.name, ()) if row.models is None else (model["name"] for model in row.models)
        disks[row.name] = Disk(
            row.last_seen_at, frozenset(had), weights.get(row.name, {}), sizes.get(row.name, {})
        )


def is_stored(
    conn: Connection,
    name: str,
    *,
    version: str | None,
    models: Sequence[HostModel],
    error: str | None,
    since: datetime,
) -> bool:
    """Whether the database says of the host what a look at it found, and if it answered, that it did after ``since``."""
    h = hosts.c
    row = conn.execute(select(h.version, h.error, h.last_seen_at).where(h.name == name)).first()
    if row is None or row.error != error:
        return False
    if error is not None:
        return True
    if row.version != version or row.last_seen_at is None or row.last_seen_at <= since:
        return False
    columns = [host_models.c[attribute.name] for attribute in fields(HostModel)]
    stored = [
        dict(row) for row in conn.execute(select(*columns).where(host_models.c.host == name)).mappings()
    ]
    lists = [
        asdict(model) | {"capabilities": model.capabilities and list(model.capabilities)} for model in models
    ]
    return sorted(stored, key=itemgetter("name")) == sorted(lists, key=itemgetter("name"))


def unknown_host(conn: Connection, name: str) -> NotFound:
    """That there is no such host, and which one may be meant."""
    near = near_host(conn, name)
    hint = f"did you mean {near!r}?" if near else f"caravan hosts add {name} URL adds one"
    return NotFound(f"no host {name!r}; {hint}")


def near_host(conn: Connection, name: str) -> str | None:
    """The host whose name looks most like ``name``, if any does."""
    from difflib import get_close_matches  # for names that are wrong alone

    near = get_close_matches(name, conn.scalars(select(hosts.c.name)).all(), n=1, cutoff=0.6)
    return near[0] if near else None

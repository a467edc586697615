"""What was spent where: the roll-ups that ``caravan report`` reads, and what a host draws."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    and_,
    bindparam,
    case,
    func,
    literal_column,
    select,
    text,
    update,
)
from sqlalchemy.engine import Connection

from worker.domain.figures import Cell, Load, Power
from worker.domain.runners import RunnerKey
from worker.storage.host_rows import unknown_host
from worker.storage.rollups import FIGURES
from worker.storage.tables import FAILED_RESULTS, batches, hosts, hour_figures, results, runs
from worker.storage.types import UtcTime


def set_power(
    conn: Connection, name: str, *, watts: float | None = None, idle_watts: float | None = None
) -> None:
    """What the host draws at work and idle; 0 forgets it, None leaves it. Raises NotFound."""
    power = {"watts": watts, "idle_watts": idle_watts}
    values = {key: value or None for key, value in power.items() if value is not None}
    if values and not conn.execute(update(hosts).where(hosts.c.name == name).values(**values)).rowcount:
        raise unknown_host(conn, name)


def powers(conn: Connection) -> dict[str, Power]:
    """The hosts with known watts."""
    h = hosts.c
    rows = conn.execute(select(h.name, h.watts, h.idle_watts).where(h.watts.is_not(None)))
    return {name: Power(watts, idle) for name, watts, idle in rows}


def cells(
    conn: Connection,
    batch_ids: Sequence[int] = (),
    *,
    since: datetime | None = None,
    until: datetime | None = None,
) -> list[Cell]:
    """What was counted, of these batches or of all, in the hours from ``since`` to before ``until``."""
    c = hour_figures.c
    query = select(c.batch_id, c.hour, c.model, c.host, *(c[name] for name in FIGURES))
    if batch_ids:
        query = query.where(c.batch_id.in_(batch_ids))
    if since is not None:
        query = query.where(c.hour >= since.replace(minute=0, second=0, microsecond=0))
    if until is not None:
        query = query.where(c.hour < until)
    rows = conn.execute(query.order_by(c.batch_id, c.hour, c.model, c.host))
    return [Cell(**row) for row in rows.mappings()]


def loads(conn: Connection, *, since: datetime | None = None, until: datetime | None = None) -> list[Load]:
    """The loads that succeeded, begun from ``since`` to before ``until``, the oldest first."""
    r = runs.c
    query = select(r.host, r.runner_key, r.started_at, r.load_seconds, r.ended_at).where(
        r.load_seconds.is_not(None)
    )
    if since is not None:
        query = query.where(r.started_at >= since)
    if until is not None:
        query = query.where(r.started_at < until)
    return [
        Load(row.host, RunnerKey.parse(row.runner_key).model, row.started_at, row.load_seconds, row.ended_at)
        for row in conn.execute(query.order_by(r.started_at))
    ]


def batch_names(conn: Connection, batch_ids: Sequence[int]) -> dict[int, str]:
    """Number → name."""
    rows = conn.execute(select(batches.c.id, batches.c.name).where(batches.c.id.in_(batch_ids)))
    return {row.id: row.name for row in rows}


def failures(
    conn: Connection,
    batch_ids: Sequence[int] = (),
    *,
    since: datetime | None = None,
    until: datetime | None = None,
) -> dict[str, int]:
    """Failed jobs by code, the commonest first: along the index of failed results."""
    terms: dict[str, tuple[str, BindParameter[Any], object]] = {
        "ids": (" AND batch_id IN :ids", bindparam("ids", expanding=True), batch_ids),
        "since": (" AND finished_at >= :since", bindparam("since", type_=UtcTime), since),
        "until": (" AND finished_at < :until", bindparam("until", type_=UtcTime), until),
    }
    chosen = {name: term for name, term in terms.items() if term[2]}
    query = text(
        f"SELECT error_code, count(*) FROM {FAILED_RESULTS[conn.dialect.name]} "
        f"WHERE state = 'failed'{''.join(words for words, _, _ in chosen.values())} GROUP BY error_code"
    ).bindparams(*(parameter for _, parameter, _ in chosen.values()))
    rows = conn.execute(query, {name: value for name, (_, _, value) in chosen.items()})
    return dict(sorted(((code, int(n)) for code, n in rows), key=lambda item: (-item[1], item[0])))


def lengths(
    conn: Connection,
    batch_ids: Sequence[int] = (),
    *,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Mapping[str, dict[int, int]]:
    """``prompt`` and ``output`` → tokens, to the next power of two → results of that length.

    Reads every result that is chosen: some seconds for a million of them.
    """
    prompt, output = _bucket(results.c.prompt_tokens), _bucket(results.c.output_tokens)
    rows = conn.execute(
        select(prompt, output, func.count()).where(_chosen(batch_ids, since, until)).group_by(prompt, output)
    )
    histograms: dict[str, Counter[int]] = {"prompt": Counter(), "output": Counter()}
    for *sizes, n in rows:
        for name, size in zip(histograms, sizes, strict=True):
            if size is not None:
                histograms[name][int(size)] += int(n)
    return {name: dict(sorted(counted.items())) for name, counted in histograms.items()}


def _bucket(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """The smallest power of two that is no smaller, from 16 on, with what both databases know; null where it is null."""
    steps: list[ColumnElement[Any]] = [literal_column(str(2**power)) for power in range(4, 22)]
    return case((column.is_(None), None), *((column <= size, size) for size in steps[:-1]), else_=steps[-1])


def _chosen(batch_ids: Sequence[int], since: datetime | None, until: datetime | None) -> ColumnElement[bool]:
    r = results.c
    conditions: list[ColumnElement[bool]] = [r.job_id >= 0]
    if batch_ids:
        conditions.append(r.batch_id.in_(batch_ids))
    if since is not None:
        conditions += [r.day >= since.date(), r.finished_at >= since]
    if until is not None:
        conditions += [r.day <= until.date(), r.finished_at < until]
    return and_(*conditions)

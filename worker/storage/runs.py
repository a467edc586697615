"""Runs: what each host did between two loads."""

from collections.abc import Collection
from datetime import datetime, timedelta

from sqlalchemy import func, insert, select, update
from sqlalchemy.engine import Connection

from worker.domain.hosts import Run
from worker.records import from_row
from worker.storage.tables import runs
from worker.storage.types import storable


def open_run(
    conn: Connection, *, host: str, runner_key: str, reason: str, now: datetime, beside: Collection[str] = ()
) -> int:
    """A load was decided; returns the run's number. The host's other runs end here, but those of the keys ``beside``
    it: their runners stay loaded."""
    others = runs.c.host == host, runs.c.ended_at.is_(None), runs.c.runner_key.not_in(sorted(beside))
    conn.execute(update(runs).where(*others).values(ended_at=now))
    values = {"host": host, "runner_key": runner_key, "reason": reason, "started_at": now}
    return int(conn.execute(insert(runs).values(**values).returning(runs.c.id)).scalar_one())


def loaded_run(conn: Connection, run_id: int, *, load_time: timedelta) -> None:
    """The load came to its end."""
    conn.execute(update(runs).where(runs.c.id == run_id).values(load_seconds=load_time.total_seconds()))


def close_run(conn: Connection, run_id: int, *, now: datetime, error: str | None = None) -> None:
    """The host left this runner, or it could not be loaded (``error``)."""
    error = None if error is None else storable(error)
    conn.execute(update(runs).where(runs.c.id == run_id).values(ended_at=now, error=error))


def resume_run(conn: Connection, *, host: str, runner_key: str) -> int | None:
    """The open run of a runner that an earlier worker of this host loaded."""
    return conn.scalar(
        select(runs.c.id)
        .where(runs.c.host == host, runs.c.runner_key == runner_key, runs.c.ended_at.is_(None))
        .order_by(runs.c.id.desc())
        .limit(1)
    )


def loads_since(conn: Connection, since: datetime) -> tuple[int, float]:
    """Loads that succeeded, of all hosts, among the runs begun at or after ``since``, and the seconds that they took."""
    query = select(func.count(), func.sum(runs.c.load_seconds)).where(
        runs.c.started_at >= since, runs.c.load_seconds.is_not(None)
    )
    loads, seconds = conn.execute(query).one()
    return int(loads or 0), float(seconds or 0.0)


def list_runs(conn: Connection, host: str | None = None, limit: int = 50) -> list[Run]:
    """The newest first."""
    query = select(runs).order_by(runs.c.id.desc()).limit(limit)
    if host is not None:
        query = query.where(runs.c.host == host)
    return [
        from_row(
            Run, row, load_time=None if row.load_seconds is None else timedelta(seconds=row.load_seconds)
        )
        for row in conn.execute(query)
    ]

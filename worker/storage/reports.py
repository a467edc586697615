"""The read side for the command line: what hosts, batches and jobs look like to a person, at a cost that stays flat.

Nothing here walks a batch: totals come from the counts, what runs from the index of leases, and what was answered just
now from the end of the table.
"""

from collections.abc import Iterator
from datetime import datetime

from sqlalchemy import func, select, text, union_all
from sqlalchemy.engine import Connection

from worker.domain.answers import ANY_ANSWER, AnswerFilter
from worker.domain.jobs import JobState
from worker.errors import NotFound
from worker.records import from_row, record
from worker.storage.ids import id_range
from worker.storage.selection import answer_terms
from worker.storage.tables import batches, count_deltas, counts, host_models, jobs, results
from worker.storage.tries import tries
from worker.storage.types import UtcTime

WINDOW = 5_000
"""Rows that a look for examples (why jobs failed, why they are held) reads at most."""

MOST_AHEAD = 100_000
"""Queued jobs that are counted before one; beyond that it is enough to know that there are more."""


def runner_keys_in_order(conn: Connection, batch_id: int) -> Iterator[str]:
    """The runner key of each job of the batch, in input order."""
    rows = conn.execute(
        text("SELECT runner_key FROM jobs WHERE id >= :low AND id < :high ORDER BY id"),
        id_range(batch_id),
        execution_options={"yield_per": 5000},
    )
    for row in rows:
        yield row[0]


def running_by_host(conn: Connection) -> dict[str, int]:
    """Host → jobs of all batches that it works on."""
    return {host: int(n) for host, n in conn.execute(_RUNNING)}


def claimed_jobs(conn: Connection, batch_id: int) -> int:
    """Jobs of the batch that hosts have claimed ahead, and that none of them answers yet.

    A host answers those that its worker has marked, which takes it some seconds, and for the rest the first ones: as many
    as it was found to answer at once, else as it has slots.
    """
    return int(conn.scalar(_CLAIMED, {"batch": batch_id}) or 0)


def claimed_by_host(conn: Connection) -> dict[str, int]:
    """Host → jobs of all batches that it has claimed ahead."""
    return {host: int(n) for host, n in conn.execute(_CLAIMED_BY_HOST)}


_AHEAD = (
    "FROM (SELECT batch_id, host, asked, row_number() OVER "
    "(PARTITION BY host ORDER BY asked DESC, started_at, id) AS place FROM jobs WHERE state = 'running') AS taken "
    "LEFT JOIN hosts ON hosts.name = taken.host "
    "LEFT JOIN paces ON paces.host = hosts.name AND paces.runner_key = hosts.resident "
    "WHERE NOT taken.asked AND taken.place > CASE WHEN paces.slots < hosts.slots OR NOT hosts.slots_told "
    "THEN coalesce(paces.slots, hosts.slots) ELSE coalesce(hosts.slots, 1) END"
)
_CLAIMED = text(f"SELECT count(*) {_AHEAD} AND taken.batch_id = :batch")
_CLAIMED_BY_HOST = text(
    f"SELECT taken.host, count(*) {_AHEAD} AND taken.host IS NOT NULL GROUP BY taken.host"
)

_RUNNING = text("SELECT host, count(*) FROM jobs WHERE state = 'running' AND host IS NOT NULL GROUP BY host")


def jobs_by_runner_key(conn: Connection, batch_id: int | None) -> dict[str, dict[JobState, int]]:
    """Jobs by runner key and state, of one batch or of all."""
    both = union_all(
        *(
            select(table.c.runner_key, table.c.state, table.c.jobs).where(
                *(() if batch_id is None else (table.c.batch_id == batch_id,))
            )
            for table in (counts, count_deltas)
        )
    ).subquery()
    by_key: dict[str, dict[JobState, int]] = {}
    rows = conn.execute(
        select(both.c.runner_key, both.c.state, func.sum(both.c.jobs))
        .group_by(both.c.runner_key, both.c.state)
        .order_by(both.c.runner_key)
    )
    for key, state, n in rows:
        if n:
            by_key.setdefault(key, {})[JobState(state)] = int(n)
    return by_key


def failures_by_code(conn: Connection, batch_id: int, *, most: int = 5) -> dict[str, int]:
    """The batch's commonest failures, along the index of failed results."""
    rows = conn.execute(
        text(
            "SELECT error_code, count(*) AS n FROM results WHERE batch_id = :batch AND state = 'failed' "
            "GROUP BY error_code ORDER BY n DESC, error_code LIMIT :most"
        ),
        {"batch": batch_id, "most": most},
    )
    return {code: int(n) for code, n in rows}


@record
class HeldGroup:
    """Held jobs of one reason; ``jobs`` counts those that were looked at."""

    code: str
    reason: str
    jobs: int


def held_reasons(conn: Connection, batch_id: int) -> list[HeldGroup]:
    """Why jobs of the batch are held."""
    rows = conn.execute(
        text(
            "SELECT hold_code, hold_reason, count(*) AS n FROM (SELECT hold_code, hold_reason FROM jobs "
            "WHERE state = 'held' AND batch_id = :batch LIMIT :window) AS found "
            "GROUP BY hold_code, hold_reason ORDER BY n DESC LIMIT 5"
        ),
        {"batch": batch_id, "window": WINDOW},
    )
    return [HeldGroup(code, reason or "", int(n)) for code, reason, n in rows]


def next_retry(conn: Connection, batch_id: int | None) -> datetime | None:
    """When the first job that waits out its back-off is eligible again."""
    value: datetime | None = conn.scalar(_NEXT_RETRY, id_range(batch_id))
    return value


_NEXT_RETRY = (
    # +id: along the index of these jobs, not along those of the batch
    text(
        "SELECT eligible_at FROM jobs WHERE state = 'scheduled' AND eligible_at IS NOT NULL "
        "AND +id >= :low AND +id < :high ORDER BY eligible_at LIMIT 1"
    ).columns(eligible_at=UtcTime)
)


def pause_of(conn: Connection, batch_id: int) -> tuple[str | None, str | None]:
    """Why the batch was paused: a code where it paused by itself, and a sentence."""
    row = conn.execute(
        select(batches.c.pause_code, batches.c.pause_reason).where(batches.c.id == batch_id)
    ).first()
    return (None, None) if row is None else (row.pause_code, row.pause_reason)


@record
class JobLine:
    """A job as a list shows it."""

    job_id: int
    batch_id: int
    custom_id: str
    model: str
    state: JobState
    host: str | None
    attempts: int
    """How often a host was asked."""
    code: str | None
    message: str | None
    """Why it failed, or why it is held."""


def list_jobs(
    conn: Connection,
    batch_id: int,
    *,
    state: JobState | None = None,
    code: str | None = None,
    answers: AnswerFilter = ANY_ANSWER,
    after: int = 0,
    limit: int = 50,
) -> list[JobLine]:
    """Jobs of the batch with an id above ``after``, in the input's order."""
    j, r = jobs.c, results.c
    ids = id_range(batch_id)
    low = max(ids["low"], after + 1)
    why = func.coalesce(r.error_code, j.hold_code)
    query = (
        select(
            j.id,
            j.batch_id,
            j.custom_id,
            j.model,
            j.state,
            func.coalesce(r.host, j.host).label("host"),
            tries().label("tries"),
            why.label("code"),
            func.coalesce(r.error_message, j.hold_reason).label("message"),
        )
        .outerjoin_from(jobs, results, (r.job_id == j.id) & (r.job_id >= low) & (r.job_id < ids["high"]))
        .where(j.id >= low, j.id < ids["high"])
        .order_by(j.id)
        .limit(limit)
    )
    if state is not None:
        query = query.where(j.state == str(state))
    if code is not None:
        query = query.where(why == code)
    if answers:
        query = query.where(*answer_terms(answers))
    return [
        from_row(JobLine, row, job_id=row.id, state=JobState(row.state), attempts=row.tries)
        for row in conn.execute(query)
    ]


@record
class JobNow:
    """Where one job stands."""

    id: int
    batch_id: int
    custom_id: str
    model: str
    state: JobState
    priority: int
    runner_key: str
    submitted_at: datetime
    eligible_at: datetime | None
    deadline: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    attempt: int
    charged: int
    max_attempts: int
    host: str | None
    cancelling: bool
    hold_code: str | None
    hold_reason: str | None
    losses: int = 0
    """How often its host or worker died while it ran."""


def read_job(conn: Connection, job_id: int) -> JobNow:
    """Raises NotFound."""
    row = conn.execute(select(jobs).where(jobs.c.id == job_id)).first()
    if row is None:
        raise NotFound(f"no job {job_id}")
    return from_row(JobNow, row, state=JobState(row.state), cancelling=row.cancel_requested_at is not None)


def jobs_named(conn: Connection, batch_id: int, custom_id: str) -> list[int]:
    """The ids of the jobs of that custom_id, one per model."""
    j = jobs.c
    return list(
        conn.scalars(select(j.id).where(j.batch_id == batch_id, j.custom_id == custom_id).order_by(j.id))
    )


def jobs_ahead(conn: Connection, job: JobNow) -> int:
    """Queued jobs of its runner key that are claimed before it, at most ``MOST_AHEAD``."""
    ahead = conn.scalar(
        text(
            "SELECT count(*) FROM (SELECT 1 FROM jobs WHERE state = 'queued' AND runner_key = :key "
            "AND (priority < :priority OR (priority = :priority AND id < :id)) LIMIT :most) AS before_it"
        ),
        {"key": job.runner_key, "priority": job.priority, "id": job.id, "most": MOST_AHEAD},
    )
    return int(ahead or 0)


@record
class DiskModel:
    """A model that a host has on disk."""

    host: str
    name: str
    size: int
    thinking: bool
    trained_context: int | None
    digest: str
    quantization: str | None = None
    parameters: str | None = None
    capabilities: tuple[str, ...] | None = None


def list_models(conn: Connection) -> list[DiskModel]:
    """What each host was last seen to have, by model and host."""
    models = [
        from_row(DiskModel, row, capabilities=None if row.capabilities is None else tuple(row.capabilities))
        for row in conn.execute(select(host_models))
    ]
    return sorted(models, key=lambda model: (model.name, model.host))

"""Which stored answers are answers to jobs that wait? They are taken as if a host had given them, and none is asked.

Taken under the same locks as a claim: a job that waits is nobody's, and one that was claimed just now is taken within
its claim's transaction. An answer is copied as it is at that moment, so that nothing is lost when its source goes.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime

from sqlalchemy import Date, bindparam, select, text, update
from sqlalchemy.engine import Connection

from worker.domain.jobs import ClaimedJob, JobState
from worker.records import record
from worker.storage.ids import id_range
from worker.storage.operations import OPERATING
from worker.storage.slices import slices
from worker.storage.tables import jobs
from worker.storage.transitions import REUSE, REUSE_CLAIMED, count_picked, move, write_state
from worker.storage.types import UtcTime

NEW, LOOKED_UP = 1, 2
"""``jobs.reuse``: nobody has looked for an answer yet; there was none. NULL: none is to be taken."""

_COPIED = (
    "host",
    "digest",
    "answer",
    "reasoning",
    "reasoning_open",
    "done_reason",
    "cut",
    "empty",
    "prompt_fit",
    "prompt_tokens",
    "output_tokens",
    "context",
    "context_length",
    "parsed",
    "logprobs",
    "tool_calls",
    "embedding",
)
"""Of the source. Not what it took: that was spent once."""

_TAKE = text(
    f"INSERT INTO results (job_id, batch_id, custom_id, model, state, attempts, finished_at, day, reused_from, "
    f"{', '.join(_COPIED)}) "
    "SELECT j.id, j.batch_id, j.custom_id, j.model, 'succeeded', 0, :now, :day, coalesce(s.reused_from, s.job_id), "
    f"{', '.join(f's.{name}' for name in _COPIED)} "
    "FROM jobs j JOIN payloads p ON p.job_id = j.id "
    "JOIN reusable u ON u.key = p.reuse_key AND u.digest = :digest "
    "JOIN results s ON s.job_id = u.job_id AND s.state = 'succeeded' AND s.digest = u.digest "
    "JOIN jobs t ON t.id = s.job_id AND t.state = 'succeeded' "  # one that is asked again has its old answer
    "JOIN payloads q ON q.job_id = s.job_id AND q.reuse_key = u.key "  # it may have been asked something else since
    "WHERE j.id IN :ids AND (NOT coalesce(s.cut, false) OR :cut "
    "AND NOT (SELECT b.fail_on_cut FROM batches b WHERE b.id = j.batch_id)) "
    "AND (NOT s.empty OR coalesce(s.cut, false) OR CAST(p.request ->> 'allow_empty' AS TEXT) IN ('true', '1')) "
    "RETURNING job_id"
).bindparams(bindparam("ids", expanding=True), bindparam("now", type_=UtcTime), bindparam("day", type_=Date))

_FRESH = text("INSERT INTO fresh_results (job_id) SELECT id FROM jobs WHERE id IN :ids").bindparams(
    bindparam("ids", expanding=True)
)

_MARKED = (
    "jobs{hint} WHERE state = 'queued' AND reuse IS NOT NULL "
    "AND (model, reuse, id) >= (:model, :mark, :low) AND (model, reuse, id) < (:model, :mark, :high)"
)
"""A stretch of ``ix_jobs_reuse``, in words and with an order that no other index serves: without statistics both databases
may prefer the primary key, and pass over all other jobs."""
_IN_ORDER = "ORDER BY model, reuse, id LIMIT"
_HINTS = {"postgresql": "", "sqlite": " INDEXED BY ix_jobs_reuse"}
_LOCKS = {"postgresql": " FOR UPDATE SKIP LOCKED", "sqlite": ""}

_WANTS = {
    dialect: text(f"SELECT 1 FROM {_MARKED.format(hint=hint)} {_IN_ORDER} 1")
    for dialect, hint in _HINTS.items()
}
_PICK = {
    dialect: text(
        f"SELECT id, batch_id, runner_key, priority, state FROM {_MARKED.format(hint=hint)} "
        "AND batch_id NOT IN (SELECT id FROM batches WHERE state = 'paused' OR closed) "
        f"AND batch_id NOT IN ({OPERATING}) {_IN_ORDER} :limit{_LOCKS[dialect]}"
    )
    for dialect, hint in _HINTS.items()
}

_REMEMBER = text(
    "INSERT INTO reusable (key, digest, job_id) SELECT p.reuse_key, r.digest, max(r.job_id) FROM results r "
    "JOIN payloads p ON p.job_id = r.job_id JOIN jobs j ON j.id = r.job_id AND j.state = 'succeeded' "
    "WHERE r.job_id IN :ids AND r.state = 'succeeded' "
    "AND r.digest <> '' AND p.reuse_key IS NOT NULL GROUP BY p.reuse_key, r.digest "
    "ORDER BY p.reuse_key, r.digest "  # in one order, so that two who remember never wait in a circle
    "ON CONFLICT (key, digest) DO UPDATE SET job_id = excluded.job_id WHERE reusable.job_id < excluded.job_id"
).bindparams(bindparam("ids", expanding=True))

_FORGET = {
    dialect: text(
        "DELETE FROM reusable WHERE (key, digest) IN "
        f"(SELECT key, digest FROM reusable WHERE job_id IN :ids{lock})"
    ).bindparams(bindparam("ids", expanding=True))
    for dialect, lock in (("sqlite", ""), ("postgresql", " FOR UPDATE SKIP LOCKED"))
}


def want_reuse(conn: Connection, job_ids: Sequence[int]) -> None:
    """Let these jobs take stored answers, those that have not begun and may not do so yet."""
    for some in slices(job_ids):
        conn.execute(
            update(jobs)
            .where(
                jobs.c.id.in_(some),
                jobs.c.state.in_(("scheduled", "waiting", "queued", "held")),
                jobs.c.reuse.is_(None),
            )
            .values(reuse=NEW)
        )


@record
class Looked:
    """Jobs that were looked at, and those of them that have an answer now."""

    jobs: int
    hits: int


def wants_reuse(conn: Connection, models: Collection[str], *, batch_id: int | None = None) -> bool:
    """Whether a queued job of one of these models may take a stored answer and nobody has looked for one."""
    values = {"mark": NEW, **id_range(batch_id)}
    return any(conn.scalar(_WANTS[conn.dialect.name], {"model": model, **values}) for model in models)


def reuse_waiting(
    conn: Connection,
    model: str,
    digest: str,
    *,
    now: datetime,
    limit: int,
    mark: int = NEW,
    cut: bool = True,
    batch_id: int | None = None,
) -> Looked:
    """Answer up to ``limit`` queued jobs of ``model`` that bear ``mark`` from what its weights ``digest`` said before.

    Those without such an answer are marked ``LOOKED_UP``. ``cut`` is false where a cut answer would be a failure.
    """
    parameters = {"model": model, "mark": mark, "limit": limit, **id_range(batch_id)}
    rows = conn.execute(_PICK[conn.dialect.name], parameters).all()
    taken: set[int] = set()
    for ids in slices([row.id for row in rows]):
        taken.update(_take(conn, ids, digest, now=now, cut=cut))
    if mark == NEW:
        for ids in slices([row.id for row in rows if row.id not in taken]):
            conn.execute(update(jobs).where(jobs.c.id.in_(ids)).values(reuse=LOOKED_UP))
    move(conn, REUSE, [row for row in rows if row.id in taken], now=now)
    return Looked(len(rows), len(taken))


def reuse_claimed(
    conn: Connection,
    claimed: Sequence[ClaimedJob],
    digests: Mapping[str, str],
    *,
    now: datetime,
    cut: bool = True,
) -> frozenset[int]:
    """Answer those of these jobs, claimed and never asked, that have a stored answer and are still ours; their ids.

    They were never tried: the attempt's number is used up, as when a job is given back.
    """
    by_id = {job.id: job for job in claimed if job.reuse_key is not None and job.model in digests}
    by_digest: dict[str, list[int]] = {}
    for job in _ours(conn, by_id):
        by_digest.setdefault(digests[by_id[job].model], []).append(job)
    taken: set[int] = set()
    for digest, all_ids in sorted(by_digest.items()):
        for ids in slices(all_ids):
            taken.update(_take(conn, ids, digest, now=now, cut=cut))
    write_state(conn, REUSE_CLAIMED, sorted(taken), now=now)
    count_picked(conn, REUSE_CLAIMED, [job for job in claimed if job.id in taken])
    return frozenset(taken)


def _ours(conn: Connection, claimed: Mapping[int, ClaimedJob]) -> Sequence[int]:
    tokens = {job.token for job in claimed.values()}
    query = (
        select(jobs.c.id)
        .where(
            jobs.c.id.in_(sorted(claimed)),
            jobs.c.state == JobState.RUNNING,
            jobs.c.lease_token.in_(sorted(tokens)),
            jobs.c.cancel_requested_at.is_(None),
        )
        .order_by(jobs.c.id)
        .with_for_update(key_share=True)
    )
    return conn.scalars(query).all() if claimed else ()


def _take(conn: Connection, ids: Sequence[int], digest: str, *, now: datetime, cut: bool) -> Sequence[int]:
    """Copy the answers to these jobs that there are; in one statement, so that a source is there, or it is not."""
    values = {"ids": ids, "digest": digest, "now": now, "day": now.astimezone(UTC).date(), "cut": cut}
    taken = conn.scalars(_TAKE, values).all()
    if taken:
        conn.execute(_FRESH, {"ids": taken})
    return taken


def remember_answers(conn: Connection, job_ids: Sequence[int]) -> None:
    """From now on the answers of these jobs can be taken for others. Twice is as once."""
    if job_ids:
        conn.execute(_REMEMBER, {"ids": list(job_ids)})


def forget_answers(conn: Connection, job_ids: Sequence[int]) -> None:
    """The answers of these jobs go. A row that somebody holds just now stays, and is found to lead nowhere."""
    conn.execute(_FORGET[conn.dialect.name], {"ids": list(job_ids)})

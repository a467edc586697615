"""A batch that is asked again with a changed input: what it has, what is added, what is asked again."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, case, delete, func, select, update
from sqlalchemy.engine import Connection

from worker.domain.batches import BatchOrigin, BatchState
from worker.domain.jobs import JobState, NewJob
from worker.errors import Conflict
from worker.kinds.registry import kind_of
from worker.records import record
from worker.storage.deltas import add_changes
from worker.storage.follows.links import follow
from worker.storage.ids import job_id
from worker.storage.jobs import count_new, insert_rows, lock_batch, reuse_key_of
from worker.storage.operations import refuse_while_operating
from worker.storage.picking import in_batch
from worker.storage.reuse import NEW
from worker.storage.rollups import forget_results
from worker.storage.slices import slices
from worker.storage.tables import batches, follows, jobs, payloads
from worker.storage.transitions import REPLACE, by_id, count_move
from worker.storage.types import storable


@record
class StoredJob:
    """A job that a batch has: its id, the digest of what was asked (none in rows of old), its state and its metadata."""

    id: int
    digest: bytes | None
    state: JobState
    metadata: dict[str, Any] | None = None


def stored_jobs(
    conn: Connection, batch_id: int, custom_ids: Iterable[str]
) -> dict[tuple[str, str], StoredJob]:
    """The jobs of a batch by (custom_id, model), those of ``custom_ids`` alone."""
    names = list(dict.fromkeys(custom_ids))
    stored: dict[tuple[str, str], StoredJob] = {}
    j, p = jobs.c, payloads.c
    for some in slices(names):
        rows = conn.execute(
            select(j.custom_id, j.model, j.id, p.digest, j.state, p.metadata)
            .join_from(jobs, payloads, j.id == p.job_id)
            .where(j.batch_id == batch_id, j.custom_id.in_(some))
        )
        for custom_id, model, job, digest, state, metadata in rows:
            stored[custom_id, model] = StoredJob(job, digest, JobState(state), metadata)
    return stored


def places_in_use(conn: Connection, batch_id: int, seqs: Sequence[int]) -> frozenset[int]:
    """Which of these places in a batch a job has already."""
    base = job_id(batch_id, 0)
    places: set[int] = set()
    for some in slices(seqs):
        ids = [base + seq for seq in some]
        places.update(id_ - base for id_ in conn.scalars(select(jobs.c.id).where(jobs.c.id.in_(ids))))
    return frozenset(places)


def last_place(conn: Connection, batch_id: int) -> int:
    """The last place in a batch that a job has."""
    last = conn.scalar(select(func.max(jobs.c.id)).where(in_batch(batch_id)))
    return 0 if last is None else last - job_id(batch_id, 0)


def job_ids(conn: Connection, batch_id: int) -> set[int]:
    """All jobs of a batch."""
    return set(conn.scalars(select(jobs.c.id).where(in_batch(batch_id))))


def rename_batch(
    conn: Connection, batch_id: int, *, key: str, origin: BatchOrigin, source: str | None
) -> None:
    """The batch answers to another key and recipe from now on. Raises Conflict where another batch has that key."""
    other = conn.scalar(select(batches.c.id).where(batches.c.key == key, batches.c.id != batch_id))
    if other is not None:
        raise Conflict(f"batch {other} has been asked this very input already; run it with --new")
    conn.execute(
        update(batches)
        .where(batches.c.id == batch_id)
        .values(key=key, recipe=origin.recipe, source=None if source is None else storable(source))
    )


def add_jobs(conn: Connection, batch_id: int, new: Sequence[NewJob], *, now: datetime) -> None:
    """Add jobs to a batch that is sealed; one that was finished is open again.

    They are ``scheduled`` until they are promoted. Raises Conflict where the batch takes no more, or a place or a
    custom_id is taken; NotFound.
    """
    if not new:
        return
    _open_again(conn, batch_id)
    insert_rows(conn, batch_id, new, now)
    count_new(conn, batch_id, new)
    conn.execute(update(batches).where(batches.c.id == batch_id).values(jobs=batches.c.jobs + len(new)))


def replace_jobs(conn: Connection, batch_id: int, changed: Sequence[tuple[int, NewJob]]) -> int:
    """Ask these jobs (by id) again: their answers go, their attempts stay. Returns how many.

    A running job is left as it is. Raises Conflict, NotFound.
    """
    if not changed:
        return 0
    _open_again(conn, batch_id)
    new_by_id = dict(changed)
    j = jobs.c
    rows = conn.execute(
        select(j.id, j.batch_id, j.runner_key, j.priority, j.state)
        .where(j.id.in_(sorted(new_by_id)), j.state != JobState.RUNNING)
        .order_by(j.id)
        .with_for_update(key_share=True)
    ).all()
    changes: Counter[Any] = Counter()
    for row in rows:
        new = new_by_id[row.id]
        count_move(changes, REPLACE, row, runner_key=new.runner_key, priority=int(new.priority))
    ids = [row.id for row in rows]
    forget_results(conn, ids)
    if ids:
        conn.execute(by_id(REPLACE), [_columns(id_, batch_id, new_by_id[id_]) for id_ in ids])
        add_changes(conn, changes)
        follow(conn, [id_ for id_ in ids if new_by_id[id_].first_state is JobState.WAITING])
        conn.execute(delete(follows).where(follows.c.job_id.in_(ids)))
        conn.execute(
            update(payloads)
            .where(payloads.c.job_id == bindparam("job"))
            .values(
                prompt=bindparam("new_prompt"),
                request=bindparam("new_request"),
                metadata=bindparam("new_metadata"),
                digest=bindparam("new_digest"),
                reuse_key=bindparam("new_reuse_key"),
            ),
            [
                {
                    "job": id_,
                    "new_prompt": new_by_id[id_].prompt,
                    "new_request": dict(new_by_id[id_].request),
                    "new_metadata": new_by_id[id_].metadata,
                    "new_digest": kind_of(new_by_id[id_].kind).digest(new_by_id[id_]),
                    "new_reuse_key": reuse_key_of(new_by_id[id_]),
                }
                for id_ in ids
            ],
        )
    return len(ids)


def _columns(id_: int, batch_id: int, new: NewJob) -> dict[str, Any]:
    return {
        "job": id_,
        "carries": new.carries,
        "kind": new.kind,
        "priority": int(new.priority),
        "runner_key": new.runner_key,
        "prefix_group": job_id(batch_id, new.prefix_group) if new.prefix_group else id_,
        "estimate": new.estimate,
        "deadline": new.deadline,
        "expires": new.expires,
        "reuse": NEW if new.reuse else None,
    }


def set_metadata(conn: Connection, changed: Sequence[tuple[int, Mapping[str, Any] | None]]) -> None:
    """These jobs (by id) have other metadata from now on; what they were asked and answered stays."""
    if changed:
        conn.execute(
            update(payloads)
            .where(payloads.c.job_id == bindparam("job"))
            .values(metadata=bindparam("new_metadata")),
            [{"job": job, "new_metadata": metadata} for job, metadata in changed],
        )


def _open_again(conn: Connection, batch_id: int) -> None:
    state = lock_batch(conn, batch_id)
    refuse_while_operating(conn, batch_id)
    if state not in (BatchState.OPEN, BatchState.PAUSED, BatchState.FINISHED):
        raise Conflict(f"batch {batch_id} is {state}; nothing can be added to it: --new starts another")
    finished = batches.c.state == BatchState.FINISHED
    conn.execute(
        update(batches)
        .where(batches.c.id == batch_id)
        .values(
            state=case((finished, BatchState.OPEN.value), else_=batches.c.state),
            finished_at=case((finished, None), else_=batches.c.finished_at),
        )
    )

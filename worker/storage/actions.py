"""What an operator does to many jobs: they are cancelled, let go, tried again, made more urgent.

Each in chunks of one batch: the batch is locked first, then jobs in the order of their ids, as everybody does who
waits for a job. A job that is claimed, or ends, meanwhile is seen as it is then. Beside the changes stand their counts.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import replace
from datetime import datetime
from itertools import groupby
from typing import Any

from sqlalchemy import (
    Row,
    Select,
    bindparam,
    case,
    func,
    select,
    update,
)
from sqlalchemy.engine import Connection

from worker.domain.batches import BatchState
from worker.domain.jobs import FINAL, JobState, Priority
from worker.domain.selection import Selection
from worker.errors import Conflict
from worker.kinds.registry import kind_of
from worker.records import record
from worker.storage.counts import batch_counts, pruned_by_state
from worker.storage.deltas import Change, add_changes
from worker.storage.follows.again import failed_for, going_on_from, wait_again
from worker.storage.ids import SEQ_BITS
from worker.storage.jobs import lock_batch
from worker.storage.models import ModelFacts, model_facts
from worker.storage.old_answers import return_to_answers
from worker.storage.picking import in_batch
from worker.storage.rollups import forget_results
from worker.storage.selection import matching
from worker.storage.slices import slices
from worker.storage.tables import batches, jobs, payloads
from worker.storage.transitions import ASK_AGAIN, CANCEL, HOLD, UNHOLD, count_move, move, write_state
from worker.storage.types import storable

OPEN = frozenset(JobState) - FINAL
"""Jobs that can be cancelled, and those whose priority still matters."""
RETRIED = frozenset({JobState.FAILED, JobState.CANCELLED, JobState.EXPIRED, JobState.HELD})
"""Jobs that are asked again without being asked for by their answers."""
FAILED = frozenset({JobState.FAILED})
HELD = frozenset({JobState.HELD})
_GOING_ON = frozenset({JobState.SUCCEEDED, JobState.SCHEDULED, JobState.QUEUED})
"""Jobs that hold the answer of another, and wait for its new one. One that runs has it already."""


@record
class Step:
    """What a chunk came to."""

    changed: int
    running: int = 0
    """Running jobs that were asked to stop."""
    after: int | None = None
    """Where the next chunk begins; None: this was the last."""


# -- which jobs -------------------------------------------------------------------------------------------------


def each_batch(chosen: Selection) -> Iterator[Selection]:
    """The same jobs, a filter for each batch."""
    chosen.bounded()
    if chosen.job_ids is None:
        yield chosen
        return
    for batch, ids in groupby(sorted(chosen.job_ids), key=lambda job: job >> SEQ_BITS):
        if chosen.batch_id in (None, batch):
            yield replace(chosen, batch_id=batch, job_ids=frozenset(ids))


def by_batch(chosen: Selection) -> Iterator[Selection]:
    """The same jobs, batch after batch, and no more of them in a filter than a query takes."""
    for part in each_batch(chosen):
        if part.job_ids is None:
            yield part
            continue
        for some in slices(sorted(part.job_ids)):
            yield replace(part, job_ids=frozenset(some))


def count_matching(conn: Connection, chosen: Selection) -> int:
    """Jobs that ``chosen`` means. A batch, or some states of it, is counted by its counts."""
    if chosen.batch_id is not None and replace(chosen, states=None).whole_batch:
        counts = batch_counts(conn, chosen.batch_id)
        gone = pruned_by_state(conn, chosen.batch_id)
        return sum(
            n - gone.get(state, 0)
            for state, n in counts.items()
            if chosen.states is None or state in chosen.states
        )
    total = 0
    for part in by_batch(chosen):
        total += conn.scalar(select(func.count()).select_from(jobs).where(matching(part))) or 0
    return total


def last_job(conn: Connection, batch_id: int) -> int:
    """The largest id of a job of the batch; 0 where it has none."""
    return conn.scalar(select(func.max(jobs.c.id)).where(in_batch(batch_id))) or 0


def _pick(
    conn: Connection, chosen: Selection, after: int, limit: int, until: int | None = None
) -> Sequence[Row[Any]]:
    """The next jobs, in the order of their ids, and locked: they stay as they are. ``until``: the last id that is
    looked at. Without statistics PostgreSQL sorts all that it may look at, and few may match among very many."""
    j = jobs.c
    query: Select[Any] = (
        select(j.id, j.batch_id, j.runner_key, j.priority, j.state, j.model, j.cancel_requested_at)
        .where(matching(chosen), j.id > after, *(() if until is None else (j.id <= until,)))
        .order_by(j.id)
        .limit(limit)
        .with_for_update(key_share=True, of=jobs)
    )
    return conn.execute(query).all()


def _write(conn: Connection, rows: Sequence[Row[Any]], **values: Any) -> None:
    for ids in slices([row.id for row in rows]):
        conn.execute(update(jobs).where(jobs.c.id.in_(ids)).values(**values))


def _step(rows: Sequence[Row[Any]], limit: int, *, changed: int | None = None, running: int = 0) -> Step:
    after = rows[-1].id if len(rows) == limit else None
    return Step(len(rows) if changed is None else changed, running, after)


def _batch_of(chosen: Selection) -> int:
    if chosen.batch_id is None:
        raise ValueError("jobs are changed batch by batch: by_batch()")
    return chosen.batch_id


# -- cancel, unhold, retry, set ---------------------------------------------------------------------------------


def cancel_some(
    conn: Connection,
    chosen: Selection,
    *,
    now: datetime,
    after: int = 0,
    until: int | None = None,
    limit: int,
) -> Step:
    """Cancel what waits of these jobs and flag what runs; their batch goes on with the others."""
    lock_batch(conn, _batch_of(chosen))
    rows = _pick(conn, chosen.among(OPEN), after, limit, until)
    waiting = [row for row in rows if row.state != JobState.RUNNING]
    running = [row for row in rows if row.state == JobState.RUNNING and row.cancel_requested_at is None]
    move(conn, CANCEL, waiting, now=now)
    _write(conn, running, cancel_requested_at=now)
    for ids in slices([row.id for row in waiting]):
        return_to_answers(conn, jobs.c.id.in_(ids))
    return _step(rows, limit, changed=len(waiting), running=len(running))


def unhold_some(conn: Connection, chosen: Selection, *, after: int = 0, limit: int) -> Step:
    """Release held jobs, as if nothing had happened to them: ``scheduled`` until they are promoted, and those that follow
    others ``waiting`` until these are looked at."""
    lock_batch(conn, _batch_of(chosen))
    rows = _pick(conn, chosen.among(HELD), after, limit)
    move(conn, UNHOLD, rows)
    wait_again(conn, [row.id for row in rows])
    return _step(rows, limit)


def hold_some(
    conn: Connection, chosen: Selection, keep: Set[int], *, code: str, reason: str, after: int, limit: int
) -> Step:
    """Park what waits of these jobs, all but ``keep``; those that run are counted and left alone."""
    lock_batch(conn, _batch_of(chosen))
    rows = _pick(conn, chosen.among(OPEN - HELD), after, limit)
    outside = [row for row in rows if row.id not in keep]
    waiting = [row for row in outside if row.state != JobState.RUNNING]
    move(conn, HOLD, waiting, code=code, reason=storable(reason))
    return _step(rows, limit, changed=len(waiting), running=len(outside) - len(waiting))


def retried_states(chosen: Selection) -> frozenset[JobState]:
    """States of the jobs that ``retry_some`` asks again: those that succeeded where ``chosen`` is about answers, or
    names that state."""
    named = bool(chosen.answers) or (chosen.states is not None and JobState.SUCCEEDED in chosen.states)
    return RETRIED | {JobState.SUCCEEDED} if named else RETRIED


def retry_some(
    conn: Connection,
    chosen: Selection,
    *,
    now: datetime,
    options: Mapping[str, Any] | None = None,
    after: int = 0,
    until: int | None = None,
    limit: int,
) -> Step:
    """Ask these jobs again that ended without an answer or are held, and those that succeeded where ``chosen`` names
    them (``retried_states``); those that wait or run are left alone.

    ``attempt`` and the rows of earlier attempts stay; what they cost is forgiven, and the result that says they failed
    goes. An answer stays until a new one is stored, and no stored answer is taken for it. What goes on from it, as a
    conversation or a text made of parts, is asked again after it. ``options`` replace those of their requests, none of
    the others. They are ``scheduled`` until they are promoted; a batch that had ended is open again. Those that failed
    because their answers were missing are asked again with them, and what follows another waits for it again. Raises Conflict
    for a batch that was never sealed; NotFound.
    """
    batch = _batch_of(chosen)
    state = lock_batch(conn, batch)
    if state in (BatchState.RECEIVING, BatchState.REFUSED):
        raise Conflict(f"batch {batch} is {state}; none of its jobs can be tried again")
    picked = _pick(conn, chosen.among(retried_states(chosen)), after, limit, until)
    waited = failed_for(conn, [row.id for row in picked])
    rows = [*picked]
    for ids in slices(waited):
        rows += _pick(conn, Selection(batch, frozenset(ids), states=FAILED), 0, len(ids))
    further = going_on_from(conn, [row.id for row in picked if row.state == JobState.SUCCEEDED])
    for ids in slices(sorted(set(further) - {row.id for row in rows})):
        rows += _pick(conn, Selection(batch, frozenset(ids), states=_GOING_ON), 0, len(ids))
    if rows and state in (BatchState.FINISHED, BatchState.CANCELLED):
        _open_again(conn, batch)
    write_state(conn, ASK_AGAIN, [row.id for row in rows], now=now)
    for ids in slices([row.id for row in rows if row.state == JobState.FAILED]):
        forget_results(conn, ids)
    keys = _set_options(conn, rows, options) if options else {}
    changes: Counter[Change] = Counter()
    for row in rows:
        count_move(changes, ASK_AGAIN, row, runner_key=keys.get(row.id))
    add_changes(conn, changes)
    wait_again(conn, [row.id for row in rows])
    return _step(picked, limit, changed=len(rows))


def _open_again(conn: Connection, batch_id: int) -> None:
    # one that an older version cancelled during its upload has no number of jobs
    known = sum(batch_counts(conn, batch_id).values())
    conn.execute(
        update(batches)
        .where(batches.c.id == batch_id)
        .values(
            state=BatchState.OPEN,
            finished_at=None,
            jobs=case((batches.c.jobs > known, batches.c.jobs), else_=known),
        )
    )


def _set_options(conn: Connection, rows: Sequence[Row[Any]], options: Mapping[str, Any]) -> Mapping[int, str]:
    """Their runner keys with ``options`` in their requests: a window for a job that names none, as at its intake.

    The digest stays as it is: it tells what the input asked, and the input did not change.
    """
    models = {row.id: row.model for row in rows}
    facts, nothing = model_facts(conn), ModelFacts()
    keys: dict[int, str] = {}
    by_key: dict[str, list[int]] = {}
    by_chance: list[int] = []
    for ids in slices(list(models)):
        requests = conn.execute(
            select(
                payloads.c.job_id, payloads.c.prompt, payloads.c.request, payloads.c.reuse_key, jobs.c.kind
            )
            .join(jobs, jobs.c.id == payloads.c.job_id)
            .where(payloads.c.job_id.in_(ids))
        )
        new = []
        for job, prompt, old, key, name in requests.all():
            merged = {**(old.get("options") or {}), **options}
            request = {**old, "options": {name: value for name, value in merged.items() if value is not None}}
            model = facts.get(models[job], nothing)
            kind = kind_of(name)
            window = kind.window(prompt, request, thinking=model.thinking, trained=model.trained_context)
            keys[job] = kind.runner_key(models[job], request, window=window).text
            by_key.setdefault(keys[job], []).append(job)
            asked_key = None if key is None else kind.reuse_key(keys[job], prompt, request)
            new.append({"job": job, "new": request, "new_key": asked_key})
            if not kind.is_repeatable(request):
                by_chance.append(job)
        conn.execute(
            update(payloads)
            .where(payloads.c.job_id == bindparam("job"))
            .values(request=bindparam("new"), reuse_key=bindparam("new_key")),
            new,
        )
    for ids in slices(by_chance):
        conn.execute(update(jobs).where(jobs.c.id.in_(ids)).values(reuse=None))
    for key, those in sorted(by_key.items()):
        for ids in slices(those):
            conn.execute(update(jobs).where(jobs.c.id.in_(ids)).values(runner_key=key))
    return keys


def prioritise_some(
    conn: Connection,
    chosen: Selection,
    priority: Priority,
    *,
    after: int = 0,
    until: int | None = None,
    limit: int,
) -> Step:
    """Change how urgent jobs are that have not ended."""
    lock_batch(conn, _batch_of(chosen))
    rows = _pick(conn, chosen.among(OPEN), after, limit, until)
    others = [row for row in rows if row.priority != priority]
    _write(conn, others, priority=int(priority))
    changes: Counter[Change] = Counter()
    for row in others:
        changes[row.batch_id, row.runner_key, row.priority, row.state] -= 1
        changes[row.batch_id, row.runner_key, int(priority), row.state] += 1
    add_changes(conn, changes)
    return _step(rows, limit, changed=len(others))

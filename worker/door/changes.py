"""Compares a changed input with its batch: kept, new and changed rows."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from itertools import islice
from typing import Any

from worker.clock import Clock
from worker.domain.batches import Batch, BatchOrigin
from worker.domain.jobs import JobState, NewJob
from worker.domain.selection import Selection
from worker.door.chains import link_jobs_of, mark_parents, missing_parents
from worker.door.intake import Intake
from worker.door.observer import CheckModels, Difference
from worker.door.rows import InputLine
from worker.door.upload import CHUNK
from worker.errors import InputRefused, Problem
from worker.kinds.registry import kind_of
from worker.maintenance.promote import promote_batches
from worker.observability.events import emit
from worker.storage.actions import by_batch, cancel_some
from worker.storage.batches import get_batch
from worker.storage.counts import pruned_by_state
from worker.storage.engine import Connection, Database
from worker.storage.extend import (
    StoredJob,
    add_jobs,
    job_ids,
    last_place,
    places_in_use,
    rename_batch,
    replace_jobs,
    set_metadata,
    stored_jobs,
)
from worker.storage.follows.links import unlinked

EXAMPLES = 3
"""Rows that a message about a difference names."""
_READING = frozenset(
    {
        "columns",
        "encoding",
        "encoding_found",
        "quote",
        "delimiter",
        "sheet",
        "id_column",
        "pilot",
        "override",
        "documents",
    }
)
"""Parts of a stored recipe that say how rows are read, not what they are asked."""


def compare(
    database: Database,
    batch: Batch,
    lines: Iterable[InputLine],
    intake: Intake,
    check_models: CheckModels | None,
) -> Difference:
    """Read the whole input, change nothing. Raises InputRefused with everything that is wrong with it."""
    kept = new = changed = running = described = 0
    examples: list[str] = []
    for chunk, there in beside(database, batch.id, intake.read(lines)):
        for job in chunk:
            stored = there.get((job.custom_id, job.model))
            if stored is not None and _asked_as_before(stored, job):
                kept += 1
                described += stored.metadata != job.metadata
                continue
            if len(examples) < EXAMPLES and job.custom_id not in examples:
                examples.append(job.custom_id)
            if stored is None:
                new += 1
            else:
                changed += 1
                running += stored.state is JobState.RUNNING
    if check_models is not None and not intake.problems:
        for problem in check_models(intake.models):
            intake.problems.add(problem)
    if not intake.problems:
        for problem in missing_parents(database, batch.id, intake):
            intake.problems.add(problem)
    if not intake.accepted and not intake.problems:
        intake.problems.add(Problem(0, "", "empty", "the input holds no job"))
    intake.problems.check()
    with database.read() as conn:
        there_now = batch.jobs - sum(pruned_by_state(conn, batch.id).values())
    gone = max(0, there_now - kept - changed)
    return Difference(kept, new, changed, running, gone, described, examples=tuple(examples))


def extend(
    database: Database,
    batch: Batch,
    lines: Iterable[InputLine],
    intake: Intake,
    *,
    key: str,
    origin: BatchOrigin,
    source: str | None,
    clock: Clock,
) -> tuple[Batch, Difference]:
    """Add what is new, ask again what changed, in chunks; interrupted, the same command goes on.

    The key is changed last: until then the batch answers to the old one. Raises Conflict; InputRefused where jobs that
    others follow are gone by now.
    """
    kept = added = replaced = running = 0
    for chunk, there in beside(database, batch.id, intake.read(lines)):
        new = [job for job in chunk if (job.custom_id, job.model) not in there]
        changed = [
            (stored.id, job)
            for job in chunk
            if (stored := there.get((job.custom_id, job.model))) is not None
            and not _asked_as_before(stored, job)
        ]
        described = [
            (stored.id, job.metadata)
            for job in chunk
            if (stored := there.get((job.custom_id, job.model))) is not None
            and stored.metadata != job.metadata
            and _asked_as_before(stored, job)
        ]
        store = partial(
            _store_chunk,
            batch_id=batch.id,
            last=chunk[-1].seq,
            new=new,
            changed=changed,
            described=described,
            now=clock.now(),
        )
        asked_anew = database.transact(store)
        promote_batches(database, [batch.id], clock)
        added += len(new)
        replaced += asked_anew
        running += len(changed) - asked_anew
        kept += len(chunk) - len(new) - len(changed)
    problems = link_jobs_of(database, batch.id, intake)
    mark_parents(database, batch.id)
    if problems:  # what they wait for went since it was looked for: nobody would ever let them go
        database.transact(partial(_cancel_unlinked, batch_id=batch.id, now=clock.now()))
        raise InputRefused(problems)

    def rename(conn: Connection) -> Batch:
        if not running:
            rename_batch(conn, batch.id, key=key, origin=origin, source=source)
        return get_batch(conn, batch.id)

    extended = database.transact(rename)
    emit("batch.extended", batch=batch.id, added=added, replaced=replaced)
    return extended, Difference(kept, added, replaced + running, running, 0)


def _store_chunk(
    conn: Connection,
    batch_id: int,
    last: int,
    new: Sequence[NewJob],
    changed: Sequence[tuple[int, NewJob]],
    described: Sequence[tuple[int, Mapping[str, Any] | None]],
    now: datetime,
) -> int:
    """Store what a chunk of rows, the last of them at ``last``, changes of a batch; returns how many are asked again."""
    set_metadata(conn, described)
    taken = places_in_use(conn, batch_id, [job.seq for job in new])
    free = last_place(conn, batch_id)
    placed = []
    for job in new:
        if job.seq in taken:
            # its line belonged to another row once: it comes after all that is there
            free = max(free, last, job.seq) + 1
            placed.append(job._replace(seq=free))
        else:
            placed.append(job)
    add_jobs(conn, batch_id, placed, now=now)
    return replace_jobs(conn, batch_id, changed)


def _cancel_unlinked(conn: Connection, batch_id: int, now: datetime) -> None:
    for part in by_batch(Selection(job_ids=frozenset(unlinked(conn, batch_id)))):
        cancel_some(conn, part, now=now, limit=CHUNK)


def named_jobs(
    database: Database, batch_id: int, lines: Iterable[InputLine], intake: Intake
) -> frozenset[int]:
    """The jobs of a batch that these rows of its input stand for. Nothing is changed, nothing refused."""
    ids: set[int] = set()
    for chunk, there in beside(database, batch_id, intake.read(lines)):
        ids |= {there[job.custom_id, job.model].id for job in chunk if (job.custom_id, job.model) in there}
    return frozenset(ids)


def drop_missing(
    database: Database, batch_id: int, lines: Iterable[InputLine], intake: Intake, *, clock: Clock
) -> None:
    """Delete the jobs of a batch that no row of its input stands for. Raises Conflict."""
    from worker.maintenance.keeping import delete_jobs  # few inputs drop jobs

    named = named_jobs(database, batch_id, lines, intake)
    with database.read() as conn:
        missing = job_ids(conn, batch_id) - named
    if missing:
        delete_jobs(database, [Selection(batch_id, job_ids=frozenset(missing))], clock=clock)


def _asked_as_before(stored: StoredJob, job: NewJob) -> bool:
    return stored.digest is None or stored.digest == kind_of(job.kind).digest(job)


def beside(
    database: Database, batch_id: int, jobs: Iterator[NewJob]
) -> Iterator[tuple[list[NewJob], dict[tuple[str, str], StoredJob]]]:
    """The jobs in chunks, each with the stored jobs of the batch that have their custom_ids, by (custom_id, model)."""
    while chunk := list(islice(jobs, CHUNK)):
        with database.read() as conn:
            there = stored_jobs(conn, batch_id, (job.custom_id for job in chunk))
        yield chunk, there


def request_differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[str, ...]:
    """Which parts of a recipe differ that say what is asked; how rows are read, and their priority, are none of them.

    >>> request_differences({"models": ["a"], "columns": ["x"]}, {"models": ("a",), "defaults": {"options": {"seed": 1}}})
    ('options.seed',)
    """
    one, other = _request_parts(before), _request_parts(now)
    return tuple(name for name in sorted(one.keys() | other.keys()) if one.get(name) != other.get(name))


def _request_parts(recipe: Mapping[str, Any]) -> dict[str, Any]:
    parts = {
        name: list(value) if isinstance(value, tuple) else value  # as JSON gives it back
        for name, value in recipe.items()
        if name not in _READING
    }
    defaults = dict(parts.pop("defaults", {}))
    defaults.pop("priority", None)  # which older recipes have
    options = {f"options.{name}": value for name, value in dict(defaults.pop("options", {})).items()}
    models = {"model": list(parts.pop("models", ()))}
    return parts | defaults | options | models

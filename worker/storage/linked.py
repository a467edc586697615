"""Batches that ask the rows of another batch again, and the results of one input in all of them."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.engine import Connection

from worker.domain.jobs import JobState
from worker.domain.selection import Selection
from worker.records import record
from worker.storage.engine import Database
from worker.storage.picking import in_batch
from worker.storage.results import LONG_COLUMNS, Long, ResultRow, result_rows, row_of
from worker.storage.selection import Reading, conditions
from worker.storage.tables import batches, follows, jobs, payloads

PAGE = 200


@record
class BatchModel:
    """A model that a batch asked."""

    batch_id: int
    model: str


@record
class Question:
    """What a job asked, as its producer gave it."""

    custom_id: str
    model: str
    priority: int
    prompt: str
    request: Mapping[str, Any]
    metadata: Mapping[str, Any] | None
    after: tuple["Followed", ...] = ()
    """The jobs that it waited for."""
    carries: bool = False
    kind: str = "generate"

    @property
    def release(self) -> bool:
        return any(parent.release for parent in self.after)


@record
class Followed:
    """A job that another waited for."""

    id: int
    custom_id: str
    batch_id: int
    state: JobState
    release: bool


def iter_questions(database: Database, chosen: Selection) -> Iterator[Question]:
    """What the chosen jobs of a batch asked, in the order of its input, in pages."""
    assert chosen.batch_id is not None
    j, p = jobs.c, payloads.c
    after = 0
    while True:
        query = (
            select(j.id, j.custom_id, j.model, j.priority, p.prompt, p.request, p.metadata, j.carries, j.kind)
            .join_from(jobs, payloads, p.job_id == j.id)
            .where(in_batch(chosen.batch_id), in_batch(chosen.batch_id, p.job_id), j.id > after)
            .where(*conditions(chosen, Reading.ANSWERS))
            .order_by(j.id)
            .limit(PAGE)
        )
        with database.read() as conn:
            page = conn.execute(query).all()
            followed = _followed(conn, [row.id for row in page])
        for job, custom_id, model, priority, prompt, request, metadata, carries, kind in page:
            waited = tuple(followed.get(job, ()))
            yield Question(custom_id, model, priority, prompt, request, metadata, waited, carries, kind)
        if len(page) < PAGE:
            return
        after = page[-1].id


def _followed(conn: Connection, job_ids: Sequence[int]) -> dict[int, list[Followed]]:
    j = jobs.c
    rows = conn.execute(
        select(follows.c.job_id, j.id, j.custom_id, j.batch_id, j.state, follows.c.release)
        .join(jobs, j.id == follows.c.parent_id)
        .where(follows.c.job_id.in_(job_ids))
        .order_by(follows.c.job_id, j.id)
    )
    parents: dict[int, list[Followed]] = {}
    for job, parent, custom_id, batch, state, release in rows:
        parents.setdefault(job, []).append(Followed(parent, custom_id, batch, JobState(state), bool(release)))
    return parents


def family(conn: Connection, batch_id: int) -> list[int]:
    """The batch, the one that it comes from, and all that come from that, in the order of their numbers."""
    root = batch_id
    while (parent := conn.scalar(select(batches.c.parent_id).where(batches.c.id == root))) is not None:
        if parent >= root or conn.scalar(select(batches.c.id).where(batches.c.id == parent)) is None:
            break  # deleted, or nothing that we wrote
        root = parent
    members = young = [root]
    while young:
        young = list(
            conn.scalars(
                select(batches.c.id).where(batches.c.parent_id.in_(young), batches.c.id.not_in(members))
            )
        )
        members = [*members, *young]
    return sorted(members)


def models_of_batches(conn: Connection, of: Sequence[int]) -> list[BatchModel]:
    """Which models these batches asked: by batch, and within one in the order of its input."""
    models = []
    for batch_id in of:
        rows = conn.execute(
            select(jobs.c.model)
            .where(in_batch(batch_id))
            .group_by(jobs.c.model)
            .order_by(func.min(jobs.c.id))
        )
        models += [BatchModel(batch_id, model) for (model,) in rows]
    return models


def iter_inputs(
    database: Database, of: Sequence[int], chosen: Selection, *, long: Collection[Long]
) -> Iterator[list[ResultRow]]:
    """For each input of these batches, in the order in which it was first asked, the jobs that ask it and are
    ``chosen``; an input without one is passed over. In pages, each a transaction of its own."""
    for batch_id in of:
        after = 0
        while True:
            with database.read() as conn:
                page, last = _page(conn, batch_id, after, of, chosen, long)
            yield from page
            if last is None:
                break
            after = last


def _page(
    conn: Connection,
    batch_id: int,
    after: int,
    of: Sequence[int],
    chosen: Selection,
    long: Collection[Long],
) -> tuple[list[list[ResultRow]], int | None]:
    """The inputs first asked by the next jobs of the batch, and the last of these jobs; None: there are no more."""
    rows = conn.execute(
        select(jobs.c.id, jobs.c.custom_id)
        .where(in_batch(batch_id), jobs.c.id > after)
        .order_by(jobs.c.id)
        .limit(PAGE)
    ).all()
    if not rows:
        return [], None
    names = sorted({custom_id for _, custom_id in rows})
    every = conn.execute(
        select(jobs.c.id, jobs.c.custom_id).where(jobs.c.batch_id.in_(of), jobs.c.custom_id.in_(names))
    ).all()
    first: dict[str, int] = {}
    for id_, custom_id in every:
        first[custom_id] = min(id_, first.get(custom_id, id_))
    # an input that an earlier job asks was on an earlier page
    here = [custom_id for id_, custom_id in rows if first[custom_id] == id_]
    chosen_names = set(here)
    ids = sorted(id_ for id_, custom_id in every if custom_id in chosen_names)
    query = (
        result_rows(lambda job: job.in_(ids))
        .where(*conditions(chosen, Reading.ANSWERS))
        .add_columns(*(LONG_COLUMNS[name] for name in long))
        .order_by(jobs.c.id)
    )
    by_input: dict[str, list[ResultRow]] = {}
    for row in conn.execute(query).all():
        by_input.setdefault(row.custom_id, []).append(row_of(row))
    return [by_input[name] for name in here if name in by_input], rows[-1].id

"""Jobs that go on from each other's context share a runner: one window for all of them."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Row, select, update
from sqlalchemy.engine import Connection

from worker.domain.jobs import JobState
from worker.domain.runners import RunnerKey
from worker.policy.context_window import bucket
from worker.storage.deltas import Change, add_changes
from worker.storage.follows.links import Link
from worker.storage.models import ModelFacts, model_facts
from worker.storage.slices import slices
from worker.storage.tables import jobs


class Question(NamedTuple):
    """Which model a job asks, and what it is asked."""

    model: str
    kind: str


def questions_of(conn: Connection, job_ids: Collection[int]) -> dict[int, Question]:
    """What these jobs ask, of those that are there."""
    questions: dict[int, Question] = {}
    for ids in slices(sorted(job_ids)):
        rows = conn.execute(select(jobs.c.id, jobs.c.model, jobs.c.kind).where(jobs.c.id.in_(ids)))
        questions.update((job, Question(model, kind)) for job, model, kind in rows)
    return questions


Conversation = Sequence[tuple[int, int]]
"""Jobs that go on from each other's context, each with its parent (0: none), in an order in which a parent comes before
its children."""


def share_runner(conn: Connection, conversations: Sequence[Conversation]) -> None:
    """Jobs that go on from each other's context need a window for all of it, and one runner: the largest that one of
    them needs, where the producer named none. Few statements, however many conversations there are."""
    if not conversations:
        return
    models, rows = model_facts(conn), _keys(conn, [job for order in conversations for job, _ in order])
    moved: dict[str, list[Row[Any]]] = defaultdict(list)
    for order in conversations:
        widest = _widest(order, rows, models)
        for row in (rows[job] for job, _ in order if job in rows):
            key = _widened(row, widest.get(row.model, 0))
            if key != row.runner_key:
                moved[key].append(row)
    _set_keys(conn, moved)


def _widest(
    order: Conversation, rows: Mapping[int, Row[Any]], models: Mapping[str, ModelFacts]
) -> Mapping[str, int]:
    """By model the largest window that a job of one conversation needs."""
    before: dict[int, int] = {}
    widest: dict[str, int] = {}
    for job, parent in order:
        if job not in rows:
            continue
        row = rows[job]
        earlier = before.get(parent, 0)
        before[job] = earlier + row.estimate
        key = RunnerKey.parse(row.runner_key)
        if key.at_least:
            window = int(dict(key.options).get("num_ctx", 0))
            trained = models.get(row.model, ModelFacts()).trained_context
            needed = bucket(earlier + window, trained=trained)
            widest[row.model] = max(widest.get(row.model, 0), needed)
    return widest


def conversations_of(links: Iterable[Link]) -> Iterator[Conversation]:
    """The conversations that these links make."""
    children: dict[int, list[int]] = defaultdict(list)
    has_parent = set()
    for one in (link for link in links if link.carry):
        children[one.parent].append(one.job)
        has_parent.add(one.job)
    for root in [one for one in children if one not in has_parent]:
        order, todo = [(root, 0)], [root]
        while todo:
            parent = todo.pop()
            for child in children.get(parent, ()):
                order.append((child, parent))
                todo.append(child)
        yield order


def _keys(conn: Connection, job_ids: Sequence[int]) -> dict[int, Row[Any]]:
    j = jobs.c
    keys: dict[int, Row[Any]] = {}
    for ids in slices(sorted(set(job_ids))):
        rows = conn.execute(
            select(j.id, j.batch_id, j.model, j.runner_key, j.priority, j.state, j.estimate).where(
                j.id.in_(ids)
            )
        )
        keys |= {row.id: row for row in rows}
    return keys


def _widened(row: Row[Any], window: int) -> str:
    """The runner key of a job that needs at least ``window`` tokens; its own where nothing can be changed."""
    key = RunnerKey.parse(row.runner_key)
    if not key.at_least or row.state not in (JobState.SCHEDULED, JobState.WAITING):
        return str(row.runner_key)
    options = tuple(
        (name, max(int(value), window) if name == "num_ctx" else value) for name, value in key.options
    )
    return RunnerKey(key.model, options, key.shift, at_least=True).text


def _set_keys(conn: Connection, moved: Mapping[str, Sequence[Row[Any]]]) -> None:
    """Give the rows other runner keys."""
    changes: Counter[Change] = Counter()
    for key, rows in sorted(moved.items()):
        for ids in slices([row.id for row in rows]):
            conn.execute(update(jobs).where(jobs.c.id.in_(ids)).values(runner_key=key))
        for row in rows:
            changes[row.batch_id, row.runner_key, row.priority, row.state] -= 1
            changes[row.batch_id, key, row.priority, row.state] += 1
    add_changes(conn, changes)

"""The turns that a chat goes on from: the requests and answers of the jobs before it."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import Row, select
from sqlalchemy.engine import Connection

from worker.domain.jobs import JobState
from worker.storage.slices import slices
from worker.storage.tables import follows, jobs, payloads, results

DEEPEST = 1000
"""Jobs of a conversation, one after the other."""
Turns = Sequence[Mapping[str, Any]]


def earlier_turns(conn: Connection, job_ids: Collection[int]) -> dict[int, Turns]:
    """By job the messages before its own, those of the first job first. One whose parent is gone, or has no answer, is not
    among them, unless it is to be asked all the same: then it begins the conversation."""
    parents: dict[int, Row[Any]] = {}
    todo = set(job_ids)
    for _ in range(DEEPEST):
        rows = _parents(conn, sorted(todo))
        parents |= rows
        todo = {row.parent for row in rows.values() if row.carries} - parents.keys()
        if not todo:
            break
    turns: dict[int, Turns] = {}
    for job in job_ids:
        before = _turns(job, parents)
        if before is not None:
            turns[job] = before
    return turns


def _parents(conn: Connection, job_ids: Sequence[int]) -> dict[int, Row[Any]]:
    parents: dict[int, Row[Any]] = {}
    for some in slices(job_ids):
        rows = conn.execute(
            select(
                follows.c.job_id,
                follows.c.release,
                jobs.c.id.label("parent"),
                jobs.c.carries,
                jobs.c.kind,
                jobs.c.state,
                payloads.c.prompt,
                payloads.c.request,
                results.c.answer,
                results.c.tool_calls,
            )
            .join(jobs, jobs.c.id == follows.c.parent_id)
            .join(payloads, payloads.c.job_id == jobs.c.id)
            .outerjoin(results, results.c.job_id == jobs.c.id)
            .where(follows.c.job_id.in_(some))
        )
        parents |= {row.job_id: row for row in rows}
    return parents


def _turns(job: int, parents: Mapping[int, Row[Any]]) -> Turns | None:
    blocks: list[Turns] = []
    row = parents.get(job)
    while row is not None:
        if row.state != JobState.SUCCEEDED:
            if not row.release:
                return None
            break
        blocks.append(_exchange(row))
        if not row.carries:
            return [turn for block in reversed(blocks) for turn in block]
        row = parents.get(row.parent)
        if row is None:
            return None
    return [turn for block in reversed(blocks) for turn in block] if blocks or row is not None else None


def _exchange(row: Row[Any]) -> Turns:
    """The request and the answer of a job, as messages."""
    if row.kind == "chat":
        turns = list(row.request["messages"])
    else:
        system = row.request.get("system")
        turns = [{"role": "system", "content": system}] if system else []
        turns.append({"role": "user", "content": row.prompt})
    answer: dict[str, Any] = {"role": "assistant", "content": row.answer or ""}
    if row.tool_calls:
        answer["tool_calls"] = row.tool_calls
    return [*turns, answer]

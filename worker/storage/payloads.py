"""Reads what claimed jobs ask, and the conversations that they continue."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any

from sqlalchemy import Text, cast, select, text
from sqlalchemy.engine import Connection

from worker.domain.jobs import ClaimedJob, Priority
from worker.policy.facts import Order
from worker.records import record
from worker.replies.contexts import unpack_context
from worker.storage.conversations import Turns, earlier_turns
from worker.storage.follows.parents import Earlier, earlier_answers, parts_of
from worker.storage.rows import among, members
from worker.storage.tables import batches, jobs, payloads

LATEST = datetime.max.replace(tzinfo=UTC)


@record
class PickedRow:
    """The row of a job that was taken. To read a column of SQLAlchemy's own rows takes ten times as long."""

    id: int
    batch_id: int
    custom_id: str
    model: str
    runner_key: str
    priority: int
    attempt: int
    charged: int
    losses: int
    max_attempts: int
    deadline: datetime | None
    prefix_group: int
    estimate: int
    widened: bool
    reuse: int | None
    carries: bool
    kind: str


@cache
def _payloads(dialect: str) -> Any:
    """What jobs ask. Requests come as text: those of a batch are mostly the same, and are read once."""
    p = payloads.c
    return (
        select(p.job_id, p.prompt, cast(p.request, Text), p.reuse_key, batches.c.fail_on_cut)
        .join(jobs, jobs.c.id == p.job_id)
        .join(batches, batches.c.id == jobs.c.batch_id)
        .where(text(among(dialect, "payloads.job_id")))
    )


_PRIORITIES = tuple(Priority)


def jobs_with_payloads(
    conn: Connection, rows: Sequence[PickedRow], token: str, order: Order
) -> list[ClaimedJob]:
    """The rows with what is asked, in the order they are to be run in."""
    earlier = earlier_answers(conn, [row.id for row in rows if row.carries and row.kind != "chat"])
    turns = earlier_turns(conn, [row.id for row in rows if row.carries and row.kind == "chat"])
    payload = {
        job: (prompt, request, reuse_key, fail_on_cut)
        for job, prompt, request, reuse_key, fail_on_cut in conn.execute(
            _payloads(conn.dialect.name), {"members": members(conn, [row.id for row in rows])}
        ).all()
    }
    requests = {text_: json.loads(text_) for text_ in {values[1] for values in payload.values()}}
    parts = parts_of(conn, [job for job, values in payload.items() if "combine" in requests[values[1]]])
    claimed = []
    for row in rows:
        prompt, own_request, reuse_key, fail_on_cut = payload[row.id]
        claimed.append(
            ClaimedJob(
                row.id,
                row.batch_id,
                row.custom_id,
                row.model,
                row.runner_key,
                _PRIORITIES[row.priority],
                row.attempt,
                row.charged,
                row.max_attempts,
                token,
                prompt,
                _carried_on(row, requests[own_request], earlier, turns)
                if row.carries
                else requests[own_request],
                row.deadline,
                row.losses,
                row.prefix_group,
                row.estimate,
                bool(row.widened),
                None if row.reuse is None else reuse_key,
                bool(row.carries),
                parts.get(row.id, ()),
                fail_on_cut,
                row.kind,
            )
        )
    if order is Order.LONGEST:
        return sorted(claimed, key=lambda job: (job.priority, job.deadline or LATEST, -job.estimate, job.id))
    return sorted(claimed, key=lambda job: (job.priority, job.deadline or LATEST, job.prefix_group, job.id))


def _carried_on(
    row: PickedRow, request: Mapping[str, Any], earlier: Mapping[int, Earlier], turns: Mapping[int, Turns]
) -> Mapping[str, Any]:
    if row.kind != "chat":
        return continued(request, row.id, earlier)
    before = turns.get(row.id)
    return {**request, "messages": [] if before is None else [*before, *request["messages"]]}


def continued(request: Mapping[str, Any], job: int, earlier: Mapping[int, Earlier]) -> Mapping[str, Any]:
    """The request with the context of the answer before it. An empty context where there should be one and it is missing:
    ``kinds.generate`` refuses that. A parent without an answer that is passed over has none."""
    parent = earlier.get(job)
    if parent is not None and not parent.answered:
        return request
    if parent is None or parent.context is None:
        return {**request, "context": [], "context_digest": None}
    return {**request, "context": unpack_context(parent.context), "context_digest": parent.digest}

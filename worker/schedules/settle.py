"""What came of a firing? Its answers are taken over into the documents, written to files, and summed up."""

import json
import uuid
from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from worker.clock import Clock
from worker.domain.batches import SETTLED, Batch, BatchState
from worker.domain.jobs import JobState
from worker.domain.numbers import count_of
from worker.domain.schedules import Firing, FiringState, Schedule
from worker.errors import NotFound
from worker.maintenance.service import each
from worker.observability.events import emit
from worker.schedules.answers import write_answers, write_ours
from worker.schedules.letter import headline, letter
from worker.schedules.report import LISTED, report_of
from worker.storage.batches import get_batch
from worker.storage.counts import batch_counts
from worker.storage.engine import Connection, Database
from worker.storage.firings import end_firing, keep_firing, open_firings, take_firing
from worker.storage.notices import promise_of_firing
from worker.storage.schedule_answers import answer_digests, settle_documents
from worker.storage.schedules import get_schedule

LEASE = timedelta(minutes=10)


def settle_all(database: Database, *, clock: Clock) -> int:
    """End the firings whose batches are over; returns how many."""
    with database.read() as conn:
        running = [
            open_firing for open_firing in open_firings(conn) if open_firing.state is FiringState.RUNNING
        ]
    return each(
        running,
        lambda firing: int(settle(database, firing, clock=clock)),
        name=lambda firing: f"schedule {firing.schedule}",
    )


def settle(database: Database, firing: Firing, *, clock: Clock) -> bool:
    """End one if its batch is over, or if nothing more comes of it by itself: then it has failed, and says why.

    What it writes it may write twice; it ends once.
    """
    reason = None
    if firing.batch_id is not None:
        with database.read() as conn:
            try:
                batch = get_batch(conn, firing.batch_id)
                if batch.state not in SETTLED:
                    reason = _stuck(batch, batch_counts(conn, batch.id))
                    if reason is None:
                        return False
            except NotFound:
                pass  # somebody deleted it: nothing more will come of it
    token = uuid.uuid4().hex

    def take(conn: Connection) -> tuple[Firing, Schedule] | None:
        taken = take_firing(conn, firing.id, token=token, now=clock.now(), lease=LEASE)
        if taken is None or taken.state is not FiringState.RUNNING:
            return None
        return taken, get_schedule(conn, firing.schedule)

    ours = database.transact(take)
    if ours is None:
        return False
    taken, schedule = ours

    def settle_some(conn: Connection, batch_id: int, after: int) -> tuple[bool, int | None]:
        if not keep_firing(conn, firing.id, token=token, until=clock.now() + LEASE):
            return False, None
        return True, settle_documents(conn, schedule.id, batch_id, after=after)

    after: int | None = 0
    while after is not None and firing.batch_id is not None:
        still_ours, after = database.transact(partial(settle_some, batch_id=firing.batch_id, after=after))
        if not still_ours:
            return False
    written = write_answers(database, schedule)
    report = report_of(database, taken, now=clock.now())
    state = FiringState.FINISHED if reason is None else FiringState.FAILED
    report["state"] = str(state)
    if reason is not None:
        report["reason"] = reason
    report["models"] = _with_strays(database, taken)
    report["files"] = {
        "written": written.files,
        "unchanged": written.unchanged,
        "removed": written.removed,
        "problems": list(written.problems),
    }
    _write_summary(schedule, taken, report)
    kept = {**taken.report, **{name: report[name] for name in _DIFF_FIELDS if name in report}}
    now = clock.now()

    def end(conn: Connection) -> bool:
        ended = end_firing(conn, firing.id, state, token=token, now=now, report=kept, reason=reason)
        if ended:
            promise_of_firing(conn, firing.id, schedule.spec.addressees, now=now)
        return ended

    ended = database.transact(end)
    if ended:
        emit("schedule.finished", schedule=schedule.name, firing=firing.id, **_counts(report))
        if reason is not None:
            emit("schedule.failed", schedule=schedule.name, firing=firing.id, message=reason)
    return ended


def _stuck(batch: Batch, counts: Mapping[JobState, int]) -> str | None:
    """Why nothing more comes of a batch until somebody acts: it paused by itself, or only held jobs are left."""
    if counts.get(JobState.RUNNING):
        return None
    if batch.state is BatchState.PAUSED and batch.pause_code is not None:
        why = batch.pause_reason or batch.pause_code
        return f"batch {batch.id} paused by itself: {why}; caravan resume {batch.id} goes on with it"
    held = counts.get(JobState.HELD, 0)
    if batch.state is not BatchState.OPEN or not held:
        return None
    if counts.get(JobState.QUEUED) or counts.get(JobState.SCHEDULED):
        return None
    return f"{count_of(held, 'job is', 'jobs are')} held, and nothing else is left to do: caravan explain {batch.id}"


_DIFF_FIELDS = (
    "models",
    "answered",
    "taken",
    "failed",
    "failed_documents",
    "failed_not_listed",
    "failed_known",
    "left",
    "held",
    "held_documents",
    "failures",
    "cut",
    "empty",
    "unfit",
    "flawed_answers",
    "reused_flawed",
    "prompt_tokens",
    "output_tokens",
    "seconds",
    "files",
)


def _with_strays(database: Database, firing: Firing) -> dict[str, Any]:
    """The models of the report: of each the weights that the firing was begun with, and how many answers came of others,
    since somebody pulled it again meanwhile."""
    models: dict[str, Any] = {name: dict(about) for name, about in firing.report.get("models", {}).items()}
    if firing.batch_id is None:
        return models
    with database.read() as conn:
        answered = answer_digests(conn, firing.batch_id)
    for name, about in models.items():
        pinned = set(about.get("digests", ()))
        strays = sum(n for digest, n in answered.get(name, {}).items() if digest and digest not in pinned)
        if pinned and strays:
            about["strays"] = strays
    return models


def _counts(report: dict[str, Any]) -> dict[str, int]:
    return {name: report[name] for name in ("answered", "failed", "left")}


def _write_summary(schedule: Schedule, firing: Firing, report: dict[str, Any]) -> None:
    """The report beside the answers, also of a night on which nothing was asked: that nothing changed is news too."""
    spec = schedule.spec
    if spec.output is None:
        return
    name = f"_{schedule.name}-{firing.fire_at:%Y%m%dT%H%M%SZ}.answer.{spec.form}"
    match spec.form:
        case "json":
            text = json.dumps(report, ensure_ascii=False, indent=2, default=str) + "\n"
        case "md":
            front = f"---\nschedule: {json.dumps(schedule.name)}\nfire_at: {report['fire_at']}\n---\n\n"
            text = f"{front}# {headline(report)}\n\n```text\n{letter(report, most=LISTED)}\n```\n"
    try:
        write_ours(schedule, Path(spec.output), name, text)
    except OSError as error:
        report["files"]["problems"].append(f"{name}: {error.strerror or error}")

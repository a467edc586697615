"""What came of a firing? Its answers are taken over into the documents, written to files, and summed up."""

import json
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

from worker.clock import Clock
from worker.domain.batches import BatchState
from worker.domain.schedules import Firing, FiringState, Schedule
from worker.errors import NotFound
from worker.maintenance.service import each
from worker.observability.events import emit
from worker.services.schedules.answers import write_answers, write_ours
from worker.services.schedules.report import headline, letter, report_of
from worker.services.schedules.telling import promise
from worker.storage.batches import get_batch
from worker.storage.engine import Database
from worker.storage.schedule_documents import answer_digests, settle_documents
from worker.storage.schedules import end_firing, get_schedule, keep_firing, open_firings, take_firing

LEASE = timedelta(minutes=10)
_ENDED = frozenset({BatchState.FINISHED, BatchState.CANCELLED, BatchState.REFUSED})


def settle_all(database: Database, *, clock: Clock) -> int:
    """End the firings whose batches are over; returns how many."""
    with database.read() as conn:
        running = [one for one in open_firings(conn) if one.state is FiringState.RUNNING]
    return each(
        running,
        lambda firing: int(settle(database, firing, clock=clock)),
        name=lambda firing: f"schedule {firing.schedule}",
    )


def settle(database: Database, firing: Firing, *, clock: Clock) -> bool:
    """End one if its batch is over. What it writes it may write twice; it ends once."""
    if firing.batch_id is not None:
        with database.read() as conn:
            try:
                if get_batch(conn, firing.batch_id).state not in _ENDED:
                    return False
            except NotFound:
                pass  # somebody deleted it: nothing more will come of it
    token = uuid.uuid4().hex
    with database.write() as conn:
        taken = take_firing(conn, firing.id, token=token, now=clock.now(), lease=LEASE)
        if taken is None or taken.state is not FiringState.RUNNING:
            return False
        schedule = get_schedule(conn, firing.schedule)
    after: int | None = 0
    while after is not None and firing.batch_id is not None:
        with database.write() as conn:
            if not keep_firing(conn, firing.id, token=token, until=clock.now() + LEASE):
                return False
            after = settle_documents(conn, schedule.id, firing.batch_id, after=after)
    written = write_answers(database, schedule, taken)
    report = report_of(database, taken, now=clock.now())
    report["state"] = str(FiringState.FINISHED)
    report["models"] = _with_strays(database, taken)
    report["files"] = {"written": written.files, "problems": list(written.problems)}
    _write_summary(schedule, taken, report)
    kept = {**taken.report, **{name: report[name] for name in _KEPT if name in report}}
    now = clock.now()
    with database.write() as conn:
        ended = end_firing(conn, firing.id, FiringState.FINISHED, token=token, now=now, report=kept)
        if ended:
            promise(conn, firing.id, schedule.spec, now=now)
    if ended:
        emit("schedule.finished", schedule=schedule.name, firing=firing.id, **_told(report))
    return ended


_KEPT = (
    "models",
    "answered",
    "failed",
    "left",
    "failures",
    "prompt_tokens",
    "output_tokens",
    "seconds",
    "files",
)


def _with_strays(database: Database, firing: Firing) -> dict[str, Any]:
    """The models of the report: of each the weights that the firing was begun with, and how many answers came of others,
    since somebody pulled it anew meanwhile."""
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


def _told(report: dict[str, Any]) -> dict[str, int]:
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
            text = f"{front}# {headline(report)}\n\n```text\n{letter(report)}\n```\n"
    try:
        write_ours(schedule, Path(spec.output), name, text)
    except OSError as error:
        report["files"]["problems"].append(f"{name}: {error.strerror or error}")

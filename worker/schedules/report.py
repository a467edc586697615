"""What came of the night: at any moment while a firing goes on, and in the end."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from worker.domain.jobs import JobState
from worker.domain.notices import Message
from worker.domain.schedules import Firing, FiringState
from worker.errors import NotFound
from worker.policy.windows import is_open, opens_at, stored_windows
from worker.schedules.letter import headline, letter
from worker.storage.answers import answer_counts
from worker.storage.batches import get_batch
from worker.storage.counts import batch_counts
from worker.storage.engine import Database
from worker.storage.firing_documents import (
    count_reuse,
    failed_documents,
    failure_counts,
    flawed_answers,
    held_documents,
    reused_answers,
)
from worker.storage.firings import get_firing
from worker.storage.follows.parents import part_counts
from worker.storage.results import model_figures
from worker.storage.windows import batch_windows

LISTED = 500
"""Documents of a kind that a report names; it counts those that it does not name."""


def report_of(database: Database, firing: Firing, *, now: datetime) -> dict[str, Any]:
    """Counts, reasons, time and tokens, as plain values; ``failed`` counts unreadable documents and failed jobs.

    What was kept when the firing ended stands for ever; before that, this is how it stands now.
    """
    tallies = firing.tallies
    report: dict[str, Any] = {
        "schedule": firing.schedule,
        "fire_at": firing.fire_at.isoformat().replace("+00:00", "Z"),
        "by_hand": firing.by_hand,
        "state": str(firing.state),
        "batch": firing.batch_id,
        "missed": firing.missed,
        "matches": tallies.matches,
        "new": tallies.new,
        "changed": tallies.changed,
        "retried": tallies.retried,
        "reused": tallies.reused,
        "pending": tallies.pending,
        "gone": tallies.gone,
        "answered": 0,
        "taken": 0,
        "failed": tallies.unreadable,
        "left": 0,
        "cut": 0,
        "empty": 0,
        "unfit": 0,
        **_of_documents(database, firing),
        **firing.report,
    }
    if firing.reason is not None:
        report["reason"] = firing.reason
    over_at = firing.ended_at or now
    if firing.batch_id is not None:
        of_batch, finished_at = _of_batch(database, firing, firing.batch_id, now)
        report |= of_batch
        over_at = finished_at or over_at
    if firing.began_at is not None and "seconds" not in firing.report:
        report["seconds"] = round((over_at - firing.began_at).total_seconds(), 3)
    return report


def _of_documents(database: Database, firing: Firing) -> dict[str, Any]:
    """Which documents failed, what is wrong with answers that were not asked for again, and what is held."""
    if firing.state is not FiringState.RUNNING:
        return {"failures": {}, "failed_documents": [], "failed_not_listed": 0, "failed_known": 0}
    with database.read() as conn:
        failed = failed_documents(conn, firing, limit=LISTED)
        codes, known = failure_counts(conn, firing)
        reused, batches = reused_answers(conn, firing)
        held = held_documents(conn, firing.schedule_id)
    return {
        "failures": codes,
        "failed_documents": [document.plain for document in failed],
        "failed_not_listed": sum(codes.values()) - len(failed),
        "failed_known": known,
        "reused_flawed": {**asdict(reused), "batches": batches},
        "held_documents": [document.plain for document in held],
    }


def _of_batch(
    database: Database, firing: Firing, batch_id: int, now: datetime
) -> tuple[dict[str, Any], datetime | None]:
    """What its batch tells, and when that was over. Of one that was deleted, nothing: the report has what was kept."""
    with database.read() as conn:
        try:
            batch = get_batch(conn, batch_id)
        except NotFound:
            return {}, None
        counts = batch_counts(conn, batch_id)
        for state, parts in part_counts(conn, batch_id).items():
            counts[state] -= parts
        figures = model_figures(conn, batch_id)
        flawed = answer_counts(conn, batch_id)
        named = flawed_answers(conn, batch_id, limit=LISTED) if flawed else []
        windows = stored_windows(batch_windows(conn, batch_id))
        taken = count_reuse(conn, firing)
    tokens = sum(model.output_tokens for model in figures)
    if tokens < firing.report.get("output_tokens", 0) or batch.pruned_at is not None:
        return {}, batch.finished_at  # pruned: what was kept when it ended stands
    ended_badly = sum(
        counts.get(state, 0) for state in (JobState.FAILED, JobState.CANCELLED, JobState.EXPIRED)
    )
    answered = counts.get(JobState.SUCCEEDED, 0)
    report: dict[str, Any] = {
        "answered": answered,
        "taken": taken,
        "failed": firing.tallies.unreadable + ended_badly,
        "left": sum(counts.values()) - answered - ended_badly,
        "held": counts.get(JobState.HELD, 0),
        **asdict(flawed),
        "flawed_answers": named,
        "prompt_tokens": sum(model.prompt_tokens for model in figures),
        "output_tokens": tokens,
        "batch_state": str(batch.state),
    }
    if windows is not None and report["left"]:
        opens = opens_at(windows, now)
        report["window"] = {
            "hours": windows.text,
            "open": is_open(windows, now),
            "opens_at": None if opens is None else opens.isoformat().replace("+00:00", "Z"),
        }
    return report, batch.finished_at


def new_failures(report: Mapping[str, Any]) -> int:
    """Documents times models that failed, and not with the same code as the last time that they were tried."""
    return max(0, int(report["failed"]) - int(report.get("failed_known", 0)))


def message_of_firing(database: Database, firing_id: int, *, now: datetime) -> Message:
    """The report of a firing that has ended. Raises NotFound."""
    with database.read() as conn:
        firing = get_firing(conn, firing_id)
    report = report_of(database, firing, now=now)
    summary = headline(report)
    event = f"firing.{firing.state}"
    look = f"caravan schedule history {firing.schedule} --json"
    if firing.batch_id is not None:
        look += f"\ncaravan results {firing.batch_id} -o answers.csv"
    return Message(
        event=event,
        summary=summary,
        text=f"{letter(report)}\n\n{look}\n",
        data={**report, "summary": summary},
        is_bad=firing.state is not FiringState.FINISHED or new_failures(report) > 0 or bool(report["left"]),
        about={
            "BATCH_EVENT": event,
            "BATCH": str(firing.batch_id or ""),
            "BATCH_SUMMARY": summary,
            "SCHEDULE": firing.schedule,
        },
    )

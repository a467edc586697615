"""What came of the night: at any moment while a firing goes on, and in the end."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from worker.domain.jobs import JobState
from worker.domain.notices import Message
from worker.domain.pages import without_text
from worker.domain.schedules import Firing, FiringState
from worker.errors import NotFound
from worker.policy.windows import is_open, opens_at, stored_windows
from worker.storage.batches import get_batch
from worker.storage.counts import batch_counts
from worker.storage.engine import Database
from worker.storage.follows import part_counts
from worker.storage.reports import failures_by_code
from worker.storage.results import model_figures
from worker.storage.schedules import get_firing
from worker.storage.windows import batch_windows


def report_of(database: Database, firing: Firing, *, now: datetime) -> dict[str, Any]:
    """Counts, reasons, time and tokens, as plain values; ``failed`` counts unreadable documents and failed jobs."""
    tallies = firing.tallies
    found: dict[str, Any] = {
        "schedule": firing.schedule,
        "fire_at": firing.fire_at.isoformat(),
        "by_hand": firing.by_hand,
        "state": str(firing.state),
        "batch": firing.batch_id,
        "missed": firing.missed,
        "found": tallies.found,
        "new": tallies.new,
        "changed": tallies.changed,
        "retried": tallies.retried,
        "reused": tallies.reused,
        "pending": tallies.pending,
        "gone": tallies.gone,
        "answered": 0,
        "failed": tallies.unreadable,
        "left": 0,
        "failures": {},
        **firing.report,
    }
    codes: dict[str, int] = {}
    for one in firing.report.get("unreadable", ()):
        codes[one["code"]] = codes.get(one["code"], 0) + 1
    if firing.reason is not None:
        found["reason"] = firing.reason
    found["failures"] = codes | dict(firing.report.get("failures", {}))
    over_at = firing.ended_at or now
    if firing.batch_id is not None:
        of_batch, finished_at = _of_batch(database, firing, firing.batch_id, codes, now)
        found |= of_batch
        over_at = finished_at or over_at
    if firing.began_at is not None and "seconds" not in firing.report:
        found["seconds"] = round((over_at - firing.began_at).total_seconds(), 3)
    return found


def _of_batch(
    database: Database, firing: Firing, batch_id: int, codes: dict[str, int], now: datetime
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
        for code, n in failures_by_code(conn, batch_id).items():
            codes[code] = codes.get(code, 0) + n
        windows = stored_windows(batch_windows(conn, batch_id))
    tokens = sum(one.output_tokens for one in figures)
    if tokens < firing.report.get("output_tokens", 0) or batch.pruned_at is not None:
        return {}, batch.finished_at  # pruned: what was kept when it ended stands
    ended_badly = sum(
        counts.get(state, 0) for state in (JobState.FAILED, JobState.CANCELLED, JobState.EXPIRED)
    )
    answered = counts.get(JobState.SUCCEEDED, 0)
    found: dict[str, Any] = {
        "answered": answered,
        "failed": firing.tallies.unreadable + ended_badly,
        "left": sum(counts.values()) - answered - ended_badly,
        "held": counts.get(JobState.HELD, 0),
        "failures": codes,
        "prompt_tokens": sum(one.prompt_tokens for one in figures),
        "output_tokens": tokens,
        "batch_state": str(batch.state),
    }
    if windows is not None and found["left"]:
        opens = opens_at(windows, now)
        found["window"] = {
            "hours": windows.text,
            "open": is_open(windows, now),
            "opens_at": None if opens is None else opens.isoformat(),
        }
    return found, batch.finished_at


def message_of_firing(database: Database, firing_id: int, *, now: datetime) -> Message:
    """What is told of a firing that has ended. Raises NotFound."""
    with database.read() as conn:
        firing = get_firing(conn, firing_id)
    report = report_of(database, firing, now=now)
    summary = headline(report)
    event = f"firing.{firing.state}"
    look = f"caravan schedule history {firing.schedule}"
    if firing.batch_id is not None:
        look += f"\ncaravan results {firing.batch_id} -o answers.csv"
    return Message(
        event=event,
        summary=summary,
        text=f"{letter(report)}\n\n{look}\n",
        data={**report, "summary": summary},
        is_bad=firing.state is not FiringState.FINISHED or bool(report["failed"] or report["left"]),
        about={
            "BATCH_EVENT": event,
            "BATCH": str(firing.batch_id or ""),
            "BATCH_SUMMARY": summary,
            "SCHEDULE": firing.schedule,
        },
    )


def headline(report: Mapping[str, Any]) -> str:
    """One line for people.

    >>> headline({"schedule": "nightly", "new": 1, "changed": 2, "retried": 0, "reused": 37, "gone": 1, "failed": 1,
    ...           "left": 0, "answered": 2, "pending": 0})
    'nightly: 1 new, 2 changed, 37 reused, 1 gone, 1 failed; 2 answered'
    >>> headline({"schedule": "nightly", "state": "skipped"})
    'nightly: skipped'
    """
    if report.get("state") in (FiringState.SKIPPED, FiringState.FAILED):
        told = "could not begin" if report["state"] == FiringState.FAILED else "skipped"
        return f"{report['schedule']}: {told}"
    parts = [f"{report['new']:,} new", f"{report['changed']:,} changed"]
    parts += [f"{report[name]:,} {told}" for name, told in _RARE if report.get(name)]
    parts += [f"{report[name]:,} {name}" for name in ("reused", "gone", "failed")]
    left = f", {report['left']:,} left" if report.get("left") else ""
    return f"{report['schedule']}: {', '.join(parts)}; {report['answered']:,} answered{left}"


_RARE = (("retried", "asked again"), ("pending", "still being asked"))


def letter(report: Mapping[str, Any]) -> str:
    """The same with reasons, for a mail or a terminal."""
    lines = [headline(report)]
    if report.get("reason"):
        lines.append(f"  {report['reason']}")
    if report.get("missed"):
        lines.append(f"  it stands for {report['missed']:,} more that nobody began in time")
    for code, n in sorted(report.get("failures", {}).items(), key=lambda one: -one[1]):
        lines.append(f"  {n:,} failed with {code}")
    for one in report.get("unreadable", ())[:10]:
        lines.append(f"  {one['document']}: {one['code']}: {one['message']}")
    for one in report.get("incomplete", ()):
        lines.append(f"  {one['document']}: asked {without_text(one['pages'], one['of'])}")
    for model, about in report.get("models", {}).items():
        if about.get("answers_of_others"):
            lines.append(
                f"  {model} has other weights now: {about['answers_of_others']:,} answers kept are of the earlier ones"
            )
        if about.get("strays"):
            lines.append(
                f"  {about['strays']:,} answers of {model} are of weights that came while the firing went on"
            )
    forecast = report.get("forecast") or {}
    if forecast.get("enough") is False:
        lines.append(f"  the window will not suffice: {forecast['told']}")
    window = report.get("window")
    if window and not window["open"]:
        lines.append(
            f"  the window is closed ({window['hours']}); {report['left']:,} wait until {window['opens_at']}"
        )
    for problem in (report.get("files") or {}).get("problems", ()):
        lines.append(f"  not written: {problem}")
    if report.get("output_tokens"):
        seconds = report.get("seconds", 0)
        lines.append(
            f"  {report['prompt_tokens']:,} tokens read, {report['output_tokens']:,} generated, in {seconds:,.0f} s"
        )
    return "\n".join(lines)

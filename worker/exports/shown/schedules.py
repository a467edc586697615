"""Schedules and their firings in the shapes that are shown."""

from collections.abc import Mapping
from typing import Any

from api_schemas.shown.schedules import AnswerFilesShown, FiringShown, ScheduleLineShown, ScheduleShown
from worker.domain.schedules import Schedule
from worker.schedules.answers import Written


def schedule_shown(schedule: Schedule) -> ScheduleShown:
    """A schedule, and when it fires next."""
    return ScheduleShown(
        name=schedule.name,
        version=schedule.version,
        spec=schedule.spec.plain,
        roots=list(schedule.spec.roots),
        next_at=schedule.next_at,
        paused=schedule.paused_at is not None,
        paused_reason=schedule.paused_reason,
    )


def firing_shown(report: Mapping[str, Any]) -> FiringShown:
    """The report of a firing, also of one that an earlier version stored."""
    return FiringShown.model_validate(report)


def schedule_line_shown(schedule: Schedule, report: Mapping[str, Any] | None) -> ScheduleLineShown:
    """A schedule and the report of its last firing."""
    last = None if report is None else firing_shown(report)
    return ScheduleLineShown(**dict(schedule_shown(schedule)), last=last)


def files_shown(written: Written) -> AnswerFilesShown:
    """What became of the files of answers."""
    return AnswerFilesShown(
        written=written.files,
        unchanged=written.unchanged,
        removed=written.removed,
        problems=list(written.problems),
    )

"""Schedules and their firings in the shapes that are shown."""

from collections.abc import Mapping
from typing import Any

from api_schemas.output.schedules import AnswerFilesOutput, FiringOutput, ScheduleLineOutput, ScheduleOutput
from worker.domain.schedules import Schedule
from worker.schedules.answers import Written


def schedule_output(schedule: Schedule) -> ScheduleOutput:
    """A schedule, and when it fires next."""
    return ScheduleOutput.from_value(
        schedule,
        spec=schedule.spec.plain,
        roots=list(schedule.spec.roots),
        paused=schedule.paused_at is not None,
    )


def firing_output(report: Mapping[str, Any]) -> FiringOutput:
    """The report of a firing, also of one that an earlier version stored."""
    return FiringOutput.model_validate(report)


def schedule_line_output(schedule: Schedule, report: Mapping[str, Any] | None) -> ScheduleLineOutput:
    """A schedule and the report of its last firing."""
    last = None if report is None else firing_output(report)
    return ScheduleLineOutput(**dict(schedule_output(schedule)), last=last)


def files_output(written: Written) -> AnswerFilesOutput:
    """What became of the files of answers."""
    return AnswerFilesOutput(
        written=written.files,
        unchanged=written.unchanged,
        removed=written.removed,
        problems=list(written.problems),
    )

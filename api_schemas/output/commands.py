"""What each command prints with ``--json``: the one table that the reference and the tests read."""

from collections.abc import Mapping
from typing import Any

from api_schemas.output import (
    batches,
    hosts,
    installation,
    jobs,
    models,
    quotes,
    reports,
    schedules,
    situation,
)
from api_schemas.results import ResultLine

_OPERATION = models.ModelOperationOutput

OUTPUTS: Mapping[str, Any] = {
    "run": batches.RunOutput,
    "submit": batches.SubmittedOutput | quotes.QuoteOutput,
    "ask": ResultLine,
    "quote": quotes.QuoteOutput,
    "watch": situation.SituationOutput | situation.AwayOutput,
    "status": batches.BatchStatusOutput | list[batches.BatchOutput],
    "jobs": list[jobs.JobOutput],
    "explain": jobs.ExplainedOutput,
    "search": jobs.HitsOutput,
    "report": reports.ReportOutput,
    **dict.fromkeys(("pause", "resume", "cancel", "retry", "edit"), batches.ActionOutput),
    "delete": batches.DeletedOutput,
    "prune": batches.PrunedOutput,
    "models": list[models.FleetModelOutput],
    "models list": list[models.FleetModelOutput],
    "models show": models.ModelDetailsOutput,
    **{f"models {verb}": _OPERATION for verb in ("pull", "rm", "cp", "create", "push", "load", "stop")},
    "models operations": list[models.ModelOperationOutput],
    "hosts add": hosts.HostChangeOutput,
    "hosts set": hosts.HostChangeOutput,
    "hosts list": list[hosts.HostOutput],
    "hosts ps": list[hosts.HostLoadedOutput],
    "hosts history": list[hosts.HostRunOutput],
    "hosts check": list[hosts.HostFindingOutput],
    "schedule add": schedules.ScheduleChangeOutput,
    "schedule apply": schedules.SchedulesAppliedOutput,
    "schedule list": list[schedules.ScheduleLineOutput],
    "schedule show": schedules.ScheduleDetailsOutput,
    "schedule history": list[schedules.FiringOutput],
    "schedule files": schedules.AnswerFilesOutput,
    "schedule run": schedules.FiringOutput,
    "db check": list[installation.PromiseOutput],
    "db compact": installation.CompactedOutput,
    "db retry-spool": installation.SpoolOutput,
    "demo": batches.RunOutput,
    "health": installation.HealthOutput,
    "notify list": list[batches.NoticeOutput],
    "info": installation.InfoOutput,
}
"""By command. ``watch`` prints one a line; of two shapes the second is printed with --dry-run, without BATCH, or while
the database is away."""

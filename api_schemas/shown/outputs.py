"""What each command prints with ``--json``: the one table that the reference and the tests read."""

from collections.abc import Mapping
from typing import Any

from api_schemas.results import ResultLine
from api_schemas.shown import (
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

_OPERATION = models.ModelOperationShown

OUTPUTS: Mapping[str, Any] = {
    "run": batches.RunShown,
    "submit": batches.SubmittedShown | quotes.QuoteShown,
    "ask": ResultLine,
    "quote": quotes.QuoteShown,
    "watch": situation.SituationShown | situation.AwayShown,
    "status": batches.BatchStatusShown | list[batches.BatchShown],
    "jobs": list[jobs.JobShown],
    "explain": jobs.ExplainedShown,
    "search": jobs.HitsShown,
    "report": reports.ReportShown,
    **dict.fromkeys(("pause", "resume", "cancel", "retry", "edit"), batches.ActionShown),
    "delete": batches.DeletedShown,
    "prune": batches.PrunedShown,
    "models": list[models.FleetModelShown],
    "models list": list[models.FleetModelShown],
    "models show": models.ModelDetailsShown,
    **{f"models {verb}": _OPERATION for verb in ("pull", "rm", "cp", "create", "push", "load", "stop")},
    "models operations": list[models.ModelOperationShown],
    "hosts add": hosts.HostChangeShown,
    "hosts set": hosts.HostChangeShown,
    "hosts list": list[hosts.HostShown],
    "hosts ps": list[hosts.HostLoadedShown],
    "hosts history": list[hosts.HostRunShown],
    "hosts check": list[hosts.HostFindingShown],
    "schedule add": schedules.ScheduleChangeShown,
    "schedule apply": schedules.SchedulesAppliedShown,
    "schedule list": list[schedules.ScheduleLineShown],
    "schedule show": schedules.ScheduleDetailsShown,
    "schedule history": list[schedules.FiringShown],
    "schedule files": schedules.AnswerFilesShown,
    "schedule run": schedules.FiringShown,
    "db check": list[installation.PromiseShown],
    "db compact": installation.CompactedShown,
    "db retry-spool": installation.SpoolShown,
    "demo": batches.RunShown,
    "health": installation.HealthShown,
    "notify list": list[batches.NoticeShown],
    "info": installation.InfoShown,
}
"""By command. ``watch`` prints one a line; of two shapes the second is printed with --dry-run, without BATCH, or while
the database is away."""

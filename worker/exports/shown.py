"""Rows and values of the database in the shapes that are shown."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime

from api_schemas.shown import (
    AttemptShown,
    BatchShown,
    ExplainedShown,
    FiguresShown,
    FleetModelShown,
    HostLoadedShown,
    HostModelShown,
    HostShown,
    JobShown,
    LoadedModelShown,
    ModelOperationShown,
    ModelPartShown,
    ModelShown,
    OperationShown,
    QuotedHostShown,
    QuotedRunnerShown,
    QuotedSecondsShown,
    QuotedTimesShown,
    QuoteShown,
    ReportShown,
    ScheduleShown,
    SituationShown,
)
from worker.domain.batches import BatchProgress
from worker.domain.hosts import LoadedModel
from worker.domain.model_operations import ModelOperation, ModelPart
from worker.domain.operations import Operation
from worker.domain.schedules import Schedule
from worker.domain.urls import masked
from worker.explain.explained import Explained
from worker.explain.situation import Situation
from worker.hosts.models import FleetModel
from worker.policy.figures import Line
from worker.quote.quote import Quoted
from worker.reports.report import Report
from worker.storage.host_rows import HostRow
from worker.storage.reports import JobLine


def batch_shown(progress: BatchProgress) -> BatchShown:
    """A batch, and its jobs by state."""
    batch = progress.batch
    return BatchShown(
        batch=batch.id,
        key=batch.key,
        name=batch.name,
        state=str(batch.state),
        pause_code=batch.pause_code,
        pause_reason=batch.pause_reason,
        total=progress.total,
        done=progress.done,
        counts={str(state): n for state, n in progress.counts.items()},
        created_at=batch.created_at,
        finished_at=batch.finished_at,
        pruned_at=batch.pruned_at,
        operation=None if progress.operation is None else operation_shown(progress.operation),
    )


def operation_shown(operation: Operation) -> OperationShown:
    """A decision about many jobs."""
    return OperationShown(
        verb=str(operation.verb),
        total=operation.total,
        done=operation.done,
        principal=operation.principal,
        created_at=operation.created_at,
        error=operation.error,
    )


def job_shown(job: JobLine) -> JobShown:
    """A job of a list."""
    return JobShown(
        batch=job.batch_id,
        job=job.job_id,
        custom_id=job.custom_id,
        model=job.model,
        state=str(job.state),
        host=job.host,
        attempts=job.attempts,
        code=job.code,
        message=job.message,
    )


def explained_shown(explained: Explained) -> ExplainedShown:
    """What a job or a batch waits for."""
    return ExplainedShown(
        batch=explained.batch_id,
        job=explained.job_id,
        custom_id=explained.custom_id,
        state=explained.state,
        sentences=list(explained.sentences),
        attempts=[AttemptShown(**asdict(attempt)) for attempt in explained.attempts],
    )


def quote_shown(quoted: Quoted, deadline: datetime | None, *, sampled: int = 0) -> QuoteShown:
    """What jobs are expected to take, ``sampled`` of them known."""
    quote = quoted.quote
    return QuoteShown(
        at=quoted.at,
        jobs=quoted.jobs,
        sampled=sampled,
        jobs_before=quoted.before,
        jobs_beside=quoted.beside,
        loads=quote.loads,
        seconds=QuotedSecondsShown(
            low=round(quote.low, 1), expected=round(quote.expected, 1), high=round(quote.high, 1)
        ),
        done_at=QuotedTimesShown(low=quoted.low, expected=quoted.expected, high=quoted.high),
        deadline=deadline,
        in_time=None if deadline is None else quoted.meets(deadline),
        guessed=list(quoted.guessed),
        unplaced=list(quote.unplaced),
        advice=quoted.advice,
        hosts=[
            QuotedHostShown(
                host=host.host,
                loads=host.loads,
                jobs=host.jobs,
                busy_seconds=round(host.busy_seconds, 1),
                runners=[
                    QuotedRunnerShown(
                        runner_key=part.runner_key,
                        jobs=part.jobs,
                        load_seconds=round(part.load_seconds, 1),
                        seconds=round(part.seconds, 1),
                    )
                    for part in host.parts
                ],
            )
            for host in quoted.hosts
        ],
    )


def report_shown(report: Report, price: float | None) -> ReportShown:
    """What the work came to; ``price`` is that of a kWh."""

    def line(figures: Line) -> FiguresShown:
        return FiguresShown(
            **asdict(figures),
            tokens_per_second=figures.tokens_per_second,
            load_share=figures.load_share,
            idle_share=figures.idle_share,
            cost=None if price is None or figures.kwh is None else figures.kwh * price,
        )

    return ReportShown(
        at=report.at,
        by=str(report.by),
        batches=sorted(report.batches),
        since=report.since,
        until=report.until,
        lines=[line(figures) for figures in report.figures.lines],
        total=line(report.figures.total),
        failures=dict(report.failures),
        hosts_without_watts=list(report.figures.unknown_power),
        batch_lines=[dict(row) for row in report.batch_lines],
        schedules=[dict(row) for row in report.schedule_lines],
    )


def host_loaded_shown(
    row: HostRow, loaded: Sequence[LoadedModel] | None, error: str | None
) -> HostLoadedShown:
    """A host and what it has loaded now; None where it did not say."""
    shown = dict(host_shown(row)) | {"error": error}
    models = [LoadedModelShown(**asdict(model)) for model in loaded or ()]
    return HostLoadedShown(**shown, reached=loaded is not None, loaded=models)


def host_shown(row: HostRow) -> HostShown:
    """A host, without the secrets in its address."""
    host = row.host
    return HostShown(
        name=host.name,
        url=masked(host.url),
        slots=host.slots,
        auto_slots=host.auto_slots,
        shared=host.shared,
        models_at_once=host.models_at_once,
        memory=host.memory,
        access=None if host.access.stored is None else dict(host.access.stored),
        draining=host.draining,
        window=row.window,
        opens_at=row.opens_at,
        health=str(row.health),
        health_reason=row.health_reason,
        quarantined_until=row.quarantined_until,
        version=row.version,
        resident=row.resident,
        residents=sorted(row.residents),
        loading=row.intent,
        serving=row.serving,
        models=sorted(row.models),
        last_seen_at=row.last_seen_at,
        error=row.error,
    )


def fleet_model_shown(model: FleetModel) -> FleetModelShown:
    """A model, over the hosts that have it."""
    first = model.hosts[0]
    return FleetModelShown(
        model=model.name,
        drift=model.drifts,
        digest=None if model.drifts else first.digest,
        size=max(known.size for known in model.hosts),
        quantization=first.quantization,
        parameters=first.parameters,
        context_length=first.trained_context,
        capabilities=list(first.capabilities or ()),
        hosts=[
            HostModelShown(
                host=known.host, digest=known.digest, size=known.size, loaded=known.host in model.loaded
            )
            for known in model.hosts
        ],
    )


def model_operation_shown(operation: ModelOperation) -> ModelOperationShown:
    """An operation on models, and how far it has come."""
    return ModelOperationShown(
        operation=operation.id,
        verb=str(operation.verb),
        state=operation.state,
        source=operation.arguments.get("source"),
        total=len(operation.parts),
        done=operation.done,
        principal=operation.principal,
        created_at=operation.created_at,
        ended_at=operation.ended_at,
        parts=[_part_shown(part) for part in operation.parts],
    )


def _part_shown(part: ModelPart) -> ModelPartShown:
    return ModelPartShown(
        operation=part.operation_id,
        verb=str(part.verb),
        host=part.host,
        model=part.model,
        state=str(part.state),
        step=part.step,
        completed=part.completed,
        total=part.total,
        tries=part.tries,
        next_at=part.next_at,
        error=part.error,
        digest=part.digest,
        changed_at=part.changed_at,
    )


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


def situation_shown(situation: Situation, reasons: list[str]) -> SituationShown:
    """How things stand, and why nothing moves where nothing does."""
    return SituationShown(
        at=situation.at,
        batch=None if situation.progress is None else batch_shown(situation.progress),
        counts={str(state): n for state, n in situation.counts.items()},
        models=[
            ModelShown(model=model.model, counts={str(state): n for state, n in model.counts.items()})
            for model in situation.models
        ],
        hosts=[host_shown(row) for row in situation.hosts],
        failures=dict(situation.failures),
        tokens_per_second=situation.tokens_per_second,
        next_retry_at=situation.next_retry_at,
        model_parts=[_part_shown(part) for part in situation.parts],
        reasons=reasons,
    )

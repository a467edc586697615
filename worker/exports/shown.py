"""Rows and values of the database in the shapes that are shown."""

from api_schemas.shown import (
    BatchShown,
    FleetModelShown,
    HostModelShown,
    HostShown,
    JobShown,
    ModelOperationShown,
    ModelPartShown,
    ModelShown,
    OperationShown,
    ScheduleShown,
    SituationShown,
)
from worker.domain.batches import BatchProgress
from worker.domain.model_operations import ModelOperation, ModelPart
from worker.domain.operations import Operation
from worker.domain.schedules import Schedule
from worker.domain.urls import masked
from worker.explain.situation import Situation
from worker.hosts.models import FleetModel
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


def host_shown(row: HostRow) -> HostShown:
    """A host, without the secrets in its address."""
    host = row.host
    return HostShown(
        name=host.name,
        url=masked(host.url),
        slots=host.slots,
        slots_told=host.slots_told,
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

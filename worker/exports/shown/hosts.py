"""Hosts in the shapes that are shown."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict

from api_schemas.shown.hosts import (
    HostFindingShown,
    HostLoadedShown,
    HostRunShown,
    HostShown,
    LoadedModelShown,
)
from worker.domain.hosts import LoadedModel, Run
from worker.domain.urls import masked
from worker.hosts.check import HostFinding
from worker.storage.host_rows import HostRow


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


def host_loaded_shown(
    row: HostRow, loaded: Sequence[LoadedModel] | None, error: str | None
) -> HostLoadedShown:
    """A host and what it has loaded now; None where it did not say."""
    shown = dict(host_shown(row)) | {"error": error}
    models = [LoadedModelShown(**asdict(model)) for model in loaded or ()]
    return HostLoadedShown(**shown, reached=loaded is not None, loaded=models)


def runs_shown(runs: Iterable[Run]) -> list[HostRunShown]:
    """What a host loaded."""
    return [
        HostRunShown(
            runner_key=run.runner_key,
            reason=run.reason,
            started_at=run.started_at,
            ended_at=run.ended_at,
            load_seconds=None if run.load_time is None else run.load_time.total_seconds(),
            jobs=run.jobs,
            error=run.error,
        )
        for run in runs
    ]


def finding_shown(host: str, finding: HostFinding) -> HostFindingShown:
    """What a check found of a host."""
    return HostFindingShown(host=host, **asdict(finding))

"""Hosts in the shapes that are shown."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict

from api_schemas.output.hosts import (
    HostFindingOutput,
    HostLoadedOutput,
    HostOutput,
    HostRunOutput,
    LoadedModelOutput,
)
from worker.domain.hosts import LoadedModel, Run
from worker.domain.urls import masked
from worker.hosts.check import HostFinding
from worker.storage.host_rows import HostRow


def host_output(row: HostRow) -> HostOutput:
    """A host, without the secrets in its address."""
    host = row.host
    return HostOutput.from_value(
        row,
        name=host.name,
        url=masked(host.url),
        slots=host.slots,
        auto_slots=host.auto_slots,
        shared=host.shared,
        models_at_once=host.models_at_once,
        memory=host.memory,
        access=None if host.access.stored is None else dict(host.access.stored),
        permanent=row.kept,
        draining=host.draining,
        residents=sorted(row.residents),
        loading=row.intent,
        models=sorted(row.models),
    )


def host_loaded_output(
    row: HostRow, loaded: Sequence[LoadedModel] | None, error: str | None
) -> HostLoadedOutput:
    """A host and what it has loaded now; None where it did not say."""
    shown = dict(host_output(row)) | {"error": error}
    models = [LoadedModelOutput(**asdict(model)) for model in loaded or ()]
    return HostLoadedOutput(**shown, reached=loaded is not None, loaded=models)


def runs_output(runs: Iterable[Run]) -> list[HostRunOutput]:
    """What a host loaded."""
    return [
        HostRunOutput.from_value(
            run, load_seconds=None if run.load_time is None else run.load_time.total_seconds()
        )
        for run in runs
    ]


def finding_output(host: str, finding: HostFinding) -> HostFindingOutput:
    """What a check found of a host."""
    return HostFindingOutput(host=host, **asdict(finding))

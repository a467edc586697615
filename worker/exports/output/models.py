"""Models in the shapes that are shown."""

from collections.abc import Mapping
from typing import Any

from api_schemas.output.models import (
    FleetModelOutput,
    HostModelOutput,
    ModelDetailsOutput,
    ModelfileOutput,
    ModelOperationOutput,
    ModelPartOutput,
)
from worker.domain.model_operations import ModelOperation, ModelPart
from worker.hosts.models import FleetModel


def fleet_model_output(model: FleetModel) -> FleetModelOutput:
    """A model, over the hosts that have it."""
    first = model.hosts[0]
    return FleetModelOutput(
        model=model.name,
        drift=model.drifts,
        digest=None if model.drifts else first.digest,
        size=max(known.size for known in model.hosts),
        quantization=first.quantization,
        parameters=first.parameters,
        context_length=first.trained_context,
        capabilities=list(first.capabilities or ()),
        hosts=[
            HostModelOutput(
                host=known.host, digest=known.digest, size=known.size, loaded=known.host in model.loaded
            )
            for known in model.hosts
        ],
    )


def model_operation_output(operation: ModelOperation) -> ModelOperationOutput:
    """An operation on models, and how far it has come."""
    return ModelOperationOutput.from_value(
        operation,
        operation=operation.id,
        source=operation.arguments.get("source"),
        total=len(operation.parts),
        parts=[part_output(part) for part in operation.parts],
    )


def part_output(part: ModelPart) -> ModelPartOutput:
    """What an operation does with one model on one host."""
    return ModelPartOutput.from_value(part, operation=part.operation_id)


def model_details_output(model: FleetModel, host: str, details: Mapping[str, Any]) -> ModelDetailsOutput:
    """A model, and what ``/api/show`` of a host says of it."""
    names = ModelfileOutput.model_fields.keys() - {"host"}
    values = {name: details.get(name) for name in names}
    return ModelDetailsOutput(**dict(fleet_model_output(model)), details=ModelfileOutput(host=host, **values))

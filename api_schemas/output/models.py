"""Models of the fleet, and operations on them."""

from pydantic import Field

from api_schemas.output.base import HostName, ModelName, Output, Time


class HostModelOutput(Output):
    """A model as one host has it."""

    host: HostName
    digest: str = Field(description="Digest of its weights and settings.")
    size: int = Field(description="Bytes on disk.")
    loaded: bool = Field(description="Whether the host has loaded it.")


class FleetModelOutput(Output):
    """A model, over the hosts that have it."""

    model: ModelName
    drift: bool = Field(description="Whether the name stands for different weights or settings on its hosts.")
    digest: str | None = Field(description="Digest of its weights and settings; null where they differ.")
    size: int = Field(description="Bytes on disk, of the largest.")
    quantization: str | None = Field(description="Quantization of the weights.")
    parameters: str | None = Field(description="Number of parameters, such as 8.2B.")
    context_length: int | None = Field(description="Context window that it was trained with, in tokens.")
    capabilities: list[str] = Field(description="What it can do, as its host says.")
    hosts: list[HostModelOutput] = Field(description="All hosts that have it.")


class ModelfileOutput(Output):
    """What a host says of a model, in its words."""

    host: HostName
    parameters: str | None = Field(description="Default options of the model, one a line.")
    template: str | None = Field(description="Its template.")
    system: str | None = Field(description="Its system message.")
    license: str | None = Field(description="Its license.")
    modified_at: Time | None = Field(description="When it was last changed on that host.")


class ModelDetailsOutput(FleetModelOutput):
    """A model, and what the first host that answers says of it."""

    details: ModelfileOutput = Field(description="What that host says.")


class ModelPartOutput(Output):
    """What an operation does with one model on one host."""

    operation: int = Field(description="Number of the operation.")
    verb: str = Field(description="pull, remove, copy, create, push, load or stop.")
    host: HostName
    model: ModelName
    state: str = Field(description="State of this part.")
    step: str = Field(description="What the host does now, in its own words.")
    completed: int = Field(description="Bytes that have come.")
    total: int = Field(description="Bytes in all; 0: the host has not said.")
    tries: int = Field(description="Number of tries.")
    next_at: Time | None = Field(description="When it is tried next.")
    error: str | None = Field(description="Why the last try failed.")
    digest: str | None = Field(description="Digest of the model in the end.")
    changed_at: Time | None = Field(description="When this was last changed.")


class ModelOperationOutput(Output):
    """An operation on models, and how far each host has come."""

    operation: int = Field(description="Number of the operation.")
    verb: str = Field(description="pull, remove, copy, create, push, load or stop.")
    state: str = Field(description="State of the operation: open while a part of it is.")
    source: str | None = Field(description="Model that the new one is made of.")
    total: int = Field(description="Number of its parts.")
    done: int = Field(description="Number of parts that have ended.")
    principal: str | None = Field(description="Who gave the command, where the system knows.")
    created_at: Time = Field(description="When it began.")
    ended_at: Time | None = Field(description="When it ended.")
    parts: list[ModelPartOutput] = Field(description="One part for each model on each host.")

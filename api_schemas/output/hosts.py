"""Hosts: how they are set up, what they have loaded, and what a check finds."""

from typing import Literal

from pydantic import Field, JsonValue

from api_schemas.output.base import HostName, Output, Time


class HostOutput(Output):
    """A host, as it was last looked at."""

    name: HostName
    url: str = Field(description="Its address, without a password.")
    slots: int = Field(description="Number of requests at a time.")
    auto_slots: bool = Field(description="Whether the number of slots is learned.")
    shared: bool = Field(description="Whether other people use it too.")
    models_at_once: int = Field(description="Number of models that it holds at once.")
    memory: int | None = Field(description="Bytes for models, where they were set.")
    access: dict[str, JsonValue] | None = Field(
        description="References to its secrets and certificates, never their values."
    )
    permanent: bool = Field(
        default=True,
        description="Whether it was added for good; false: a run used it, and no other command takes it by itself.",
    )
    draining: bool = Field(description="Whether it takes nothing new.")
    window: str | None = Field(description="Hours in which it takes work; null: any time.")
    opens_at: Time | None = Field(description="When a closed window opens next.")
    health: str = Field(description="ready, slow, unreachable, quarantined, closed or draining.")
    health_reason: str | None = Field(description="Why it is not ready.")
    quarantined_until: Time | None = Field(description="Until when it is left alone.")
    version: str | None = Field(description="Version of its Ollama.")
    resident: str | None = Field(description="Runner key of the model that it has loaded last.")
    residents: list[str] = Field(description="Runner keys of all models that it has loaded.")
    loading: str | None = Field(description="Runner key of the model that it loads now.")
    serving: bool = Field(description="Whether a process serves it.")
    models: list[str] = Field(description="Models that it has on disk.")
    last_seen_at: Time | None = Field(description="When it answered last.")
    error: str | None = Field(description="Why it cannot be reached.")


class HostChangeOutput(HostOutput):
    """A host that was added or changed."""

    added: bool = Field(description="Whether it is new.")
    start: str | None = Field(description="Command that serves it, where one has to be started.")


class LoadedModelOutput(Output):
    """A model that a host has loaded."""

    name: str = Field(description="Name of the model.")
    digest: str = Field(description="Digest of its weights and settings.")
    context_length: int | None = Field(description="Context window that it really has, in tokens.")
    size: int = Field(description="Bytes that it takes.")
    size_vram: int = Field(description="Bytes of it in the GPU.")
    expires_at: Time | None = Field(description="When the host unloads it.")


class HostLoadedOutput(HostOutput):
    """A host and what it has loaded now."""

    reached: bool = Field(description="Whether it answered; if not, error says why.")
    loaded: list[LoadedModelOutput] = Field(description="What it has loaded.")


class HostRunOutput(Output):
    """A model in the memory of a host, from its load on."""

    runner_key: str = Field(description="The model and its load-time options.")
    reason: str = Field(description="Why it was loaded.")
    started_at: Time = Field(description="When the load was decided.")
    ended_at: Time | None = Field(description="When it was left; null: it is loaded still.")
    load_seconds: float | None = Field(description="Seconds of the load; null where it failed.")
    jobs: int = Field(description="Number of jobs that it served.")
    error: str | None = Field(description="Why the load failed.")


class HostFindingOutput(Output):
    """One thing that a check looked at."""

    host: HostName
    level: Literal["ok", "warn", "bad"] = Field(
        description="bad: the host cannot serve like this; warn: it serves worse than it could."
    )
    what: str = Field(
        description="What was looked at: reach, access, models, model, streaming, parallel or gpu."
    )
    message: str = Field(description="What was found.")
    remedy: str = Field(description="What to do about it; empty where there is nothing to do.")

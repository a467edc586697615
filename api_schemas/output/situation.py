"""How things stand now with a batch, or with all work."""

from pydantic import Field

from api_schemas.output.base import JobsByState, ModelName, Output, Time
from api_schemas.output.batches import BatchOutput
from api_schemas.output.hosts import HostOutput
from api_schemas.output.models import ModelPartOutput


class ModelOutput(Output):
    """The jobs of one model that are there, by state."""

    model: ModelName
    counts: JobsByState


class SituationOutput(Output):
    """How things stand with a batch, or with all work."""

    at: Time = Field(description="The time of this look.")
    batch: BatchOutput | None = Field(description="The batch; null for all work.")
    counts: JobsByState
    models: list[ModelOutput] = Field(description="Jobs by model.")
    hosts: list[HostOutput] = Field(description="All hosts.")
    failures: dict[str, int] = Field(
        description="The five most frequent failures by code; caravan status BATCH --json has all."
    )
    tokens_per_second: float = Field(
        description="Tokens that all hosts generate in a second, of the last minute."
    )
    next_retry_at: Time | None = Field(description="When a job that failed is tried next.")
    model_parts: list[ModelPartOutput] = Field(description="What is done with models now.")
    reasons: list[str] = Field(description="Why nothing moves, where nothing does.")


class AwayOutput(Output):
    """A look that the database did not answer."""

    away: str = Field(description="Why the database cannot be reached.")

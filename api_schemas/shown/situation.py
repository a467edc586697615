"""How things stand now with a batch, or with all work."""

from pydantic import Field

from api_schemas.shown.base import JobsByState, ModelName, Shown, Time
from api_schemas.shown.batches import BatchShown
from api_schemas.shown.hosts import HostShown
from api_schemas.shown.models import ModelPartShown


class ModelShown(Shown):
    """The jobs of one model that are there, by state."""

    model: ModelName
    counts: JobsByState


class SituationShown(Shown):
    """How things stand with a batch, or with all work."""

    at: Time = Field(description="The time of this look.")
    batch: BatchShown | None = Field(description="The batch; null for all work.")
    counts: JobsByState
    models: list[ModelShown] = Field(description="Jobs by model.")
    hosts: list[HostShown] = Field(description="All hosts.")
    failures: dict[str, int] = Field(
        description="The five most frequent failures by code; caravan status BATCH --json has all."
    )
    tokens_per_second: float = Field(
        description="Tokens that all hosts generate in a second, of the last minute."
    )
    next_retry_at: Time | None = Field(description="When a job that failed is tried next.")
    model_parts: list[ModelPartShown] = Field(description="What is done with models now.")
    reasons: list[str] = Field(description="Why nothing moves, where nothing does.")


class AwayShown(Shown):
    """A look that the database did not answer."""

    away: str = Field(description="Why the database cannot be reached.")

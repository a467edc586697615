"""How things stand, in the shapes that are shown."""

from api_schemas.output.situation import ModelOutput, SituationOutput
from worker.explain.situation import Situation
from worker.exports.output.batches import batch_output
from worker.exports.output.hosts import host_output
from worker.exports.output.models import part_output


def situation_output(situation: Situation, reasons: list[str]) -> SituationOutput:
    """How things stand, and why nothing moves where nothing does."""
    return SituationOutput(
        at=situation.at,
        batch=None if situation.progress is None else batch_output(situation.progress),
        counts={str(state): n for state, n in situation.counts.items()},
        models=[
            ModelOutput(model=model.model, counts={str(state): n for state, n in model.counts.items()})
            for model in situation.models
        ],
        hosts=[host_output(row) for row in situation.hosts],
        failures=dict(situation.failures),
        tokens_per_second=situation.tokens_per_second,
        next_retry_at=situation.next_retry_at,
        model_parts=[part_output(part) for part in situation.parts],
        reasons=reasons,
    )

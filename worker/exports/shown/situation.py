"""How things stand, in the shapes that are shown."""

from api_schemas.shown.situation import ModelShown, SituationShown
from worker.explain.situation import Situation
from worker.exports.shown.batches import batch_shown
from worker.exports.shown.hosts import host_shown
from worker.exports.shown.models import part_shown


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
        model_parts=[part_shown(part) for part in situation.parts],
        reasons=reasons,
    )

"""What do the hosts say of the models they have?"""

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.engine import Connection

from worker.storage.tables import hosts


@dataclass(frozen=True, slots=True)
class ModelTold:
    """A model, as the hosts that have it tell."""

    thinking: bool = False
    trained_context: int | None = None
    """Tokens; the smallest that a host tells."""


def known_models(conn: Connection) -> dict[str, ModelTold]:
    """Normalised name → what is known of it, of every host that was ever looked at."""
    found: dict[str, ModelTold] = {}
    for models in conn.scalars(select(hosts.c.models).where(hosts.c.models.is_not(None))):
        for model in models:
            before = found.get(model["name"], ModelTold())
            trained = [
                size for size in (before.trained_context, model.get("trained_context")) if size is not None
            ]
            found[model["name"]] = ModelTold(
                before.thinking or bool(model.get("thinking")), min(trained, default=None)
            )
    return found

"""What do the hosts say of the models they have?"""

from dataclasses import dataclass

from sqlalchemy import case, func, select
from sqlalchemy.engine import Connection

from worker.storage.tables import host_models


@dataclass(frozen=True, slots=True)
class ModelTold:
    """A model, as the hosts that have it tell."""

    thinking: bool = False
    trained_context: int | None = None
    """Tokens; the smallest that a host tells."""


def known_models(conn: Connection) -> dict[str, ModelTold]:
    """Normalised name → what is known of it, of every host that was ever looked at."""
    m = host_models.c
    thinks = func.max(case((m.thinking, 1), else_=0))
    rows = conn.execute(select(m.name, thinks, func.min(m.trained_context)).group_by(m.name))
    return {name: ModelTold(bool(thinking), trained) for name, thinking, trained in rows}

"""The models of all hosts, as the hosts describe them."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.engine import Connection

from worker.records import record
from worker.storage.tables import host_models


@record
class ModelFacts:
    """A model, as the hosts that have it tell."""

    thinking: bool = False
    trained_context: int | None = None
    """Tokens; the smallest that a host tells."""
    capabilities: frozenset[str] | None = None
    """What any of the hosts says that it can; None where one of them does not tell."""


def model_facts(conn: Connection) -> dict[str, ModelFacts]:
    """Normalised name → what is known of it, of every host that was ever looked at."""
    m = host_models.c
    facts: dict[str, ModelFacts] = {}
    rows = conn.execute(select(m.name, m.thinking, m.trained_context, m.capabilities))
    for name, thinking, trained, capabilities in rows:
        here = ModelFacts(bool(thinking), trained, None if capabilities is None else frozenset(capabilities))
        facts[name] = here if name not in facts else _of_both(facts[name], here)
    return facts


def _of_both(first: ModelFacts, other: ModelFacts) -> ModelFacts:
    trained = [facts.trained_context for facts in (first, other) if facts.trained_context is not None]
    known = first.capabilities is not None and other.capabilities is not None
    return ModelFacts(
        first.thinking or other.thinking,
        min(trained, default=None),
        (first.capabilities or frozenset()) | (other.capabilities or frozenset()) if known else None,
    )


def model_digests(conn: Connection, models: Sequence[str]) -> dict[str, frozenset[str]]:
    """Normalised name → digests of the weights that hosts have under it now."""
    m = host_models.c
    digests: dict[str, set[str]] = {model: set() for model in models}
    for name, digest in conn.execute(select(m.name, m.digest).where(m.name.in_(models), m.digest != "")):
        digests[name].add(digest)
    return {model: frozenset(weights) for model, weights in digests.items()}

"""Is a model asked for what it cannot do? Reasoning, images and tools, as far as its hosts say."""

from collections.abc import Mapping, Sequence

from worker.errors import Problem
from worker.storage.models import ModelFacts

_WORDS = {
    "thinking": ("think", "cannot reason", "leave think out"),
    "vision": ("images", "sees no images", "leave the images out"),
    "tools": ("tools", "calls no tools", "leave the tools out"),
}
"""Capability → the field that asks for it, what a model does not do that lacks it, and what helps."""
_MOST_NAMES = 3


def inabilities(needs: Sequence[str], model: str, models: Mapping[str, ModelFacts]) -> list[str]:
    """Those of ``needs`` that no host lists for the model. None where a host lists no capabilities at all."""
    known = models.get(model)
    if known is None or known.capabilities is None:
        return []
    return [need for need in needs if need not in known.capabilities]


def inability_problem(line: int, model: str, need: str, models: Mapping[str, ModelFacts]) -> Problem:
    """What is wrong, and which other models would do."""
    name, cannot, advice = _WORDS[need]
    able = sorted(other for other, facts in models.items() if need in (facts.capabilities or ()))[
        :_MOST_NAMES
    ]
    others = f", or ask one that does: {', '.join(able)}" if able else ""
    if need == "thinking" and not line:
        advice = "leave --think out"
    message = f"{model} {cannot}, as its hosts say; {advice}{others}"
    return Problem(line, name, "unsupported", message)

"""What lines that say the same have in common, worked out once: the models, what they cannot do, the tokens, the runner keys."""

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from api_schemas.jobs import ParsedLine
from worker.domain.jobs import After, Priority
from worker.domain.reuse import may_reuse
from worker.domain.runners import RUNNER_OPTIONS, normalise_model
from worker.door.abilities import inabilities
from worker.kinds.base import Kind
from worker.kinds.registry import kind_of
from worker.records import record
from worker.storage.models import ModelFacts

EXPECTED_ANSWER = 512
"""Tokens: few answers use all that num_predict allows."""
MOST_KEPT = 256
_UNKNOWN_MODEL = ModelFacts()
_LOADING = frozenset(RUNNER_OPTIONS)


@record
class ModelTerms:
    """A model that lines ask."""

    name: str
    trained: int | None
    """Tokens that it was trained for."""
    room: int | None
    """Tokens that it takes: of the window that was named and of what it was trained for, the smaller."""
    tokens: int
    """Expected before the answer, beside the text of a line."""
    answer: int
    runner_keys: dict[int, str] = field(default_factory=dict)
    """By window."""


@record
class Terms:
    """What lines with the same ``request`` (the very object, see ``LineReader``) have in common."""

    request: Mapping[str, Any]
    kind: Kind
    models: tuple[ModelTerms, ...]
    lacks: tuple[tuple[str, str], ...]
    """Models with what they cannot do, as far as hosts tell."""
    by_default: bool
    """The lines are asked of the model that was named for those that name none."""
    priority: Priority
    reuse: bool
    after: After | None


class SharedTerms:
    """The terms of lines. ``models`` beyond the first: every line that names none is asked of each."""

    def __init__(self, models: tuple[str, ...], default: str | None, known: Mapping[str, ModelFacts]) -> None:
        self._models, self._default, self._known = models, default, known
        self._terms: dict[int, Terms] = {}
        """By the identity of the request."""
        self._names: dict[str, str] = {}
        self._keys: dict[tuple[str, str, int], str] = {}

    def of(self, line: ParsedLine) -> Terms:
        """The terms of a line."""
        terms = self._terms.get(id(line.request))
        if terms is None or terms.request is not line.request:
            terms = self._new(line)
            if len(self._terms) >= MOST_KEPT:
                self._terms.clear()
            self._terms[id(line.request)] = terms
        return terms

    def _new(self, line: ParsedLine) -> Terms:
        request, kind = line.request, kind_of(line.kind)
        by_default, combines = line.model == self._default, "combine" in request
        written = self._models if by_default and len(self._models) > 1 else (line.model,)
        names = list(dict.fromkeys(map(self._name, written)))
        needs = kind.needs(request)
        return Terms(
            request,
            kind,
            tuple(self._model(name, line, kind) for name in names),
            tuple((name, need) for name in names for need in inabilities(needs, name, self._known)),
            by_default,
            Priority(line.priority),
            not line.carry and not combines and may_reuse(line.reuse, repeatable=kind.is_repeatable(request)),
            After(line.after, line.carry, line.release, combines) if line.after else None,
        )

    def _name(self, written: str) -> str:
        """The normalised name; a file names few models, many times."""
        known = self._names.get(written)
        if known is None:
            known = self._names[written] = normalise_model(written)
        return known

    def _model(self, name: str, line: ParsedLine, kind: Kind) -> ModelTerms:
        model = self._known.get(name, _UNKNOWN_MODEL)
        expected = kind.expected("", line.request, thinking=model.thinking)
        parts = EXPECTED_ANSWER * len(line.after) if "combine" in line.request else 0
        named = (line.request.get("options") or {}).get("num_ctx")
        rooms = [room for room in (named, model.trained_context) if isinstance(room, int)]
        return ModelTerms(
            name, model.trained_context, min(rooms, default=None), expected.prompt + parts, expected.answer
        )

    def runner_key(self, terms: Terms, model: ModelTerms, window: int) -> str:
        """The runner key's text; most jobs of an input name no option of loading, and few windows."""
        request, kind = terms.request, terms.kind
        common = request.get("shift") is None and _LOADING.isdisjoint(request.get("options") or ())
        place = kind.name, model.name, window
        key = self._keys.get(place) if common else None
        if key is None:
            key = kind.runner_key(model.name, request, window=window).text
            if common:
                self._keys[place] = key
        model.runner_keys[window] = key
        return key

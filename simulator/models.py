"""Which models a host has on its disk, and what it knows of each.

Source: ``server/images.go``, ``server/create.go``.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from simulator.names import ModelName, parse_name
from simulator.settings import SimulatedModel
from simulator.template import Template, parse
from simulator.templates import DEFAULT, usual_template
from simulator.thinking_tags import infer_tags

KV_BYTES = 4
"""Keys and values, two bytes each."""


class NotFound(Exception):
    """No such model on this host."""


@dataclass(frozen=True, slots=True)
class LocalModel:
    """A name on the disk and what it stands for."""

    name: ModelName
    model: SimulatedModel
    modified_ns: int
    parameters: Mapping[str, Any] = field(default_factory=dict)
    projectors: tuple[str, ...] = ()

    @property
    def blob(self) -> str:
        """Which weights file it is: the identity of a runner."""
        return self.model.blob

    @property
    def digest(self) -> str:
        """The manifest's digest: another one for each name."""
        return digest_of(f"{self.name.short}/{self.blob}/{sorted(self.parameters.items())}")

    @property
    def template_source(self) -> str:
        if self.model.untemplated:
            return DEFAULT
        return usual_template(self.model.thinking) if self.model.template is None else self.model.template

    @property
    def template(self) -> Template:
        return parse(self.template_source)

    @property
    def capabilities(self) -> tuple[str, ...]:
        if self.model.capabilities:
            return self.model.capabilities
        found = ["completion"]
        if "suffix" in self.template.identifiers:
            found.append("insert")
        if "tools" in self.template.identifiers:
            found.append("tools")
        if infer_tags(self.template_source) is not None:
            found.append("thinking")
        return tuple(found)

    def memory(self, num_ctx: int, slots: int) -> int:
        """Bytes the loaded model takes: weights, and keys and values of each slot's window."""
        window = min(num_ctx, self.model.trained_context) * slots
        return self.model.size_bytes + window * self.model.layers * self.model.kv_width * KV_BYTES


class Disk:
    """The models of one host, by name whatever its case."""

    def __init__(self, models: Iterable[SimulatedModel], now_ns: int) -> None:
        self._models: dict[str, LocalModel] = {}
        for model in models:
            name = parse_name(model.name)
            self._models[name.key] = LocalModel(name, model, now_ns, dict(model.parameters))

    def __iter__(self) -> Iterator[LocalModel]:
        return iter(list(self._models.values()))

    def get(self, name: ModelName) -> LocalModel:
        """The model of that name.

        Raises:
            NotFound: there is none.
        """
        try:
            return self._models[name.key]
        except KeyError:
            raise NotFound(name.short) from None

    def add(self, name: ModelName, like: LocalModel, now_ns: int, **changes: Any) -> LocalModel:
        """Store ``like`` under another name, changed."""
        model = replace(like, name=name, modified_ns=now_ns, **changes)
        self._models[name.key] = model
        return model

    def remove(self, name: ModelName) -> None:
        """Delete a name; what is loaded stays loaded.

        Raises:
            NotFound: there is none.
        """
        self.get(name)
        del self._models[name.key]


@lru_cache(maxsize=4_096)
def digest_of(text: str) -> str:
    """A stable SHA-256, in place of that of a real file."""
    return hashlib.sha256(text.encode()).hexdigest()

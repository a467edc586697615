"""Which models a host has on its disk, and what it knows of each.

Source: ``server/images.go``, ``server/create.go``.
"""

import hashlib
import json
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
class Layer:
    """One file of a model, by the digest of what is in it."""

    digest: str
    size: int


@dataclass(frozen=True, slots=True)
class LocalModel:
    """A name on the disk and what it stands for."""

    name: ModelName
    model: SimulatedModel
    modified_ns: int
    parameters: Mapping[str, Any] = field(default_factory=dict)
    projectors: tuple[str, ...] = ()
    parent: str = ""
    """The model that this was made from, where it was."""

    @property
    def blob(self) -> str:
        """Which weights file it is: the identity of a runner."""
        return self.model.blob

    @property
    def digest(self) -> str:
        """The manifest's digest: that of what the model is made of. A copy has the same under another name."""
        return digest_of("/".join(layer.digest for layer in self.layers))

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Weights, template, system text, licence, parameters, messages, and last what describes them."""
        weights = Layer(digest_of(self.blob), self.model.size_bytes)
        texts = [
            "" if self.model.untemplated else self.template_source,
            self.model.system,
            self.model.license,
            json.dumps(dict(sorted(self.parameters.items()))) if self.parameters else "",
            json.dumps(self.model.messages) if self.model.messages else "",
        ]
        described = f"{self.blob}/{self.model.family}/{self.model.quantization}"
        return (weights, *(_text_layer(text) for text in [*texts, described] if text))

    @property
    def template_source(self) -> str:
        if self.model.untemplated:
            return DEFAULT
        if self.model.template is not None:
            return self.model.template
        return usual_template(self.model.thinking, tools="tools" in self.model.capabilities)

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


def _text_layer(text: str) -> Layer:
    return Layer(digest_of(f"text {text}"), len(text.encode()))


class Disk:
    """The models of one host, by name whatever its case. ``begun`` are layers whose pull was broken off: bytes by digest."""

    def __init__(self, models: Iterable[SimulatedModel], now_ns: int) -> None:
        self._models: dict[str, LocalModel] = {}
        self.begun: dict[str, int] = {}
        self.uploaded: set[str] = set()
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

    def digests(self) -> set[str]:
        """Of all layers that are here."""
        return {layer.digest for model in self for layer in model.layers}

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

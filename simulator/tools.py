"""Tools: how a template shows them, and how calls of them are read out of what a model says.

A host knows calls by a tag: the first text behind ``{{ if .ToolCalls }}`` in the template. What stands behind the tag and is
no whole call of a tool that was offered is gone. Source: ``tools/template.go``, ``tools/tools.go``, ``api/types.go``.
"""

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from simulator import gojson
from simulator.bodies import BadRequest
from simulator.template import parse, printed
from simulator.template_nodes import Branch, Node, Text
from simulator.thinking import overlap
from simulator.thinking_tags import mentions

_SIGNS = "abcdefghijklmnopqrstuvwxyz0123456789"


class GoMap(dict[str, Any]):
    """A value that a template may go into, and that is JSON where it is printed whole."""

    def __str__(self) -> str:
        return gojson.dumps(self)


class Struct(dict[str, Any]):
    """A value that a template may go into, and that Go shows whole as ``{first second}``."""

    def __str__(self) -> str:
        return (
            "{" + " ".join(printed(value) if value is not None else "<nil>" for value in self.values()) + "}"
        )


def as_template_values(tools: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Tools as a template sees them: the fields that Ollama knows, in its order."""
    return [
        {"Type": tool.get("type", ""), "Function": _function(tool.get("function") or {})} for tool in tools
    ]


def _function(function: Mapping[str, Any]) -> Struct:
    sent = function.get("parameters") or {}
    properties = {name: _property(one) for name, one in (sent.get("properties") or {}).items()}
    parameters = Struct(
        Type=sent.get("type", ""),
        Defs=sent.get("$defs"),
        Items=sent.get("items"),
        Required=sent.get("required") or [],
        Properties=GoMap(properties),
    )
    return Struct(
        Name=function.get("name", ""), Description=function.get("description", ""), Parameters=parameters
    )


def _property(schema: Mapping[str, Any]) -> dict[str, Any]:
    known = ("anyOf", "type", "items", "description", "enum", "properties", "required")
    return {name: schema[name] for name in known if schema.get(name)}


def calls_as_template_values(calls: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Calls of an earlier turn as a template sees them.

    Raises:
        BadRequest: arguments are no object.
    """
    found = []
    for call in calls:
        function = call.get("function") or {}
        arguments = function.get("arguments")
        if isinstance(arguments, str):
            raise BadRequest("Value looks like object, but can't find closing '}' symbol")
        found.append({"Function": {"Name": function.get("name", ""), "Arguments": GoMap(arguments or {})}})
    return found


@lru_cache(maxsize=256)
def tag_of(source: str) -> str | None:
    """The text that begins a call, as far as the template tells.

    >>> tag_of("{{ if .ToolCalls }}{{ range .ToolCalls }}<call>{...}{{ end }}{{ end }}")
    '<call>'
    """
    for nodes in _behind_calls(parse(source).nodes):
        text = next(_texts(nodes), "").strip()
        tag = text.split("{")[0].split("[")[0].strip()
        return tag or "{"
    return None


def _behind_calls(nodes: Sequence[Node]) -> Iterator[Sequence[Node]]:
    for node in nodes:
        if isinstance(node, Branch):
            if node.word == "if" and mentions(node.pipe, "ToolCalls"):
                yield node.body
            else:
                yield from _behind_calls(node.body)
                yield from _behind_calls(node.otherwise)


def _texts(nodes: Sequence[Node]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, Text) and node.text.strip():
            yield node.text
        elif isinstance(node, Branch):
            yield from _texts(node.body)


class ToolParser:
    """Feed it what is no reasoning; it gives back text before the first tag, and each call once it is whole."""

    def __init__(self, tag: str, tools: Sequence[Mapping[str, Any]], seed: int = 0) -> None:
        self._tag = tag
        self._names = [(tool.get("function") or {}).get("name", "") for tool in tools]
        self._held = ""
        self._within = False
        self._calls = 0
        self._random = random.Random(seed)

    def add(self, piece: str) -> tuple[str, list[dict[str, Any]]]:
        self._held += piece
        if not self._within:
            before, tag, after = self._held.partition(self._tag)
            if not tag:
                keep = overlap(self._held, self._tag)
                ready = len(self._held) - keep
                text, self._held = self._held[:ready], self._held[ready:]
                return text, []
            self._within = True
            self._held = after
            return before, list(self._whole_calls())
        return "", list(self._whole_calls())

    def _whole_calls(self) -> Iterator[dict[str, Any]]:
        while (begin := self._held.find("{")) >= 0:
            try:
                value, end = json.JSONDecoder().raw_decode(self._held, begin)
            except ValueError:
                return
            whole, self._held = self._held[begin:end], self._held[end:]
            name = next((name for name in self._names if name in whole), None)
            if name is not None and isinstance(value, dict):
                yield self._call(name, value.get("arguments", value.get("parameters", {})))

    def _call(self, name: str, arguments: Any) -> dict[str, Any]:
        number, self._calls = self._calls, self._calls + 1
        sign = "".join(self._random.choices(_SIGNS, k=8))
        return {"id": f"call_{sign}", "function": {"index": number, "name": name, "arguments": arguments}}

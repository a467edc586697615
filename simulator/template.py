"""What prompt a Go template makes of a request.

An interpreter for the part of Go's ``text/template`` that Ollama's templates use: text, ``{{-`` trims, comments,
pipelines, variables, ``if``, ``range``, ``with``, ``break``, ``continue``, ``define``, ``template``, and the usual
functions. Source: Go ``text/template``, ``template/template.go``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from simulator import gojson
from simulator.template_nodes import (
    Action,
    Argument,
    Branch,
    Call,
    Constant,
    Field,
    Function,
    Jump,
    Node,
    Pipe,
    TemplateError,
    Text,
)
from simulator.template_reader import identifiers, read

NO_VALUE = "<no value>"

_RESPONSE = Action(Pipe(((Field(("Response",)),),)))


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed template. ``identifiers`` are the lower-cased names it mentions (``template.Vars``).

    ``head`` is the template cut off behind the response, for the turn that is still to be answered.
    """

    nodes: tuple[Node, ...]
    head: tuple[Node, ...]
    identifiers: frozenset[str]
    defined: Mapping[str, tuple[Node, ...]] = field(default_factory=dict)

    def render(self, values: Mapping[str, Any], *, up_to_response: bool = False) -> str:
        """Run the template, or what stands before and at the response.

        Raises:
            TemplateError: a function does not exist or was given what it cannot take.
        """
        out: list[str] = []
        _Run(self.defined, out, values).nodes(self.head if up_to_response else self.nodes, values)
        return "".join(out)


@lru_cache(maxsize=256)
def parse(source: str) -> Template:
    """Read a template; one that mentions neither messages nor response gets ``{{ .Response }}`` at its end.

    Raises:
        TemplateError: it does not parse.
    """
    nodes, defined = read(source)
    names = frozenset(identifiers(nodes))
    if "messages" not in names and "response" not in names:
        nodes = (*nodes, _RESPONSE)
    return Template(nodes, _up_to_response(nodes)[0], names, defined)


def _up_to_response(nodes: Sequence[Node]) -> tuple[tuple[Node, ...], bool]:
    """The nodes without what follows the response, and whether it was found (``deleteNode`` in the source)."""
    kept: list[Node] = []
    for node in nodes:
        match node:
            case Action(pipe) if _is_response(pipe):
                return (*kept, node), True
            case Branch(word, pipe, body, otherwise):
                inner, cut = _up_to_response(body)
                if cut:
                    return (*kept, Branch(word, pipe, inner, ())), True
                other, cut = _up_to_response(otherwise)
                if cut:
                    return (*kept, Branch(word, pipe, body, other)), True
                kept.append(node)
            case _:
                kept.append(node)
    return tuple(kept), False


def _is_response(pipe: Pipe) -> bool:
    return any(
        isinstance(one, Field) and "Response" in one.path for command in pipe.commands for one in command
    )


class _Jumped(Exception):
    def __init__(self, word: str) -> None:
        self.word = word


class _Run:
    def __init__(self, defined: Mapping[str, tuple[Node, ...]], out: list[str], root: Any) -> None:
        self._defined = defined
        self._out = out
        self._variables: dict[str, Any] = {"$": root}

    def nodes(self, nodes: Sequence[Node], dot: Any) -> None:
        for node in nodes:
            match node:
                case Text(text):
                    self._out.append(text)
                case Action(pipe):
                    value = self._pipe(pipe, dot)
                    if not pipe.variables:
                        self._out.append(printed(value))
                case Branch("range", pipe, body, otherwise):
                    self._range(pipe, body, otherwise, dot)
                case Branch(word, pipe, body, otherwise):
                    value = self._pipe(pipe, dot)
                    inner = value if word == "with" and _true(value) else dot
                    self.nodes(body if _true(value) else otherwise, inner)
                case Jump(word):
                    raise _Jumped(word)
                case Call(name, pipe):
                    if name not in self._defined:
                        raise TemplateError(f"template: no template {gojson.quoted(name)} defined")
                    given = self._pipe(pipe, dot) if pipe else None
                    _Run(self._defined, self._out, given).nodes(self._defined[name], given)

    def _range(self, pipe: Pipe, body: Sequence[Node], otherwise: Sequence[Node], dot: Any) -> None:
        value = self._pipe(Pipe(pipe.commands), dot)
        items = list(value.items() if isinstance(value, Mapping) else enumerate(value or ()))
        if not items:
            self.nodes(otherwise, dot)
        for key, one in items:
            match pipe.variables:
                case (name,):
                    self._variables[name] = one
                case (first, second):
                    self._variables[first], self._variables[second] = key, one
                case _:
                    pass
            try:
                self.nodes(body, one)
            except _Jumped as jump:
                if jump.word == "break":
                    return

    def _pipe(self, pipe: Pipe, dot: Any) -> Any:
        value: Any = None
        for position, command in enumerate(pipe.commands):
            given = (value,) if position else ()
            value = self._command(command, given, dot)
        for name in pipe.variables:
            self._variables[name] = value
        return value

    def _command(self, command: tuple[Argument, ...], values: tuple[Any, ...], dot: Any) -> Any:
        first, *rest = command
        if not isinstance(first, Function):
            return self._value(first, dot)
        if first.name in ("and", "or"):
            value: Any = None
            for value in [*(self._value(one, dot) for one in rest), *values]:
                if _true(value) == (first.name == "or"):
                    return value
            return value
        arguments = [*(self._value(one, dot) for one in rest), *values]
        try:
            return _FUNCTIONS[first.name](*arguments)
        except (TypeError, IndexError, KeyError) as error:
            raise TemplateError(f'template: :1:2: executing "" at <{first.name}>: {error}') from error

    def _value(self, argument: Argument, dot: Any) -> Any:
        match argument:
            case Constant(value):
                return value
            case Field(path, variable):
                if variable and variable not in self._variables:
                    raise TemplateError(f"template: :1: undefined variable {gojson.quoted(variable)}")
                value = self._variables[variable] if variable else dot
                for name in path:
                    value = value.get(name, _MISSING) if isinstance(value, Mapping) else _MISSING
                return value
            case Pipe():
                return self._pipe(argument, dot)
            case Function(name):
                return self._command((argument,), (), dot) if name not in ("and", "or") else None


class _Missing:
    """What a map gives for a key it does not have."""


_MISSING = _Missing()


def _true(value: Any) -> bool:
    return bool(value) and value is not _MISSING


def printed(value: Any) -> str:
    """A value as Go's ``%v`` shows it."""
    match value:
        case None | _Missing():
            return NO_VALUE
        case bool():
            return "true" if value else "false"
        case str():
            return value
        case list() | tuple():
            return "[" + " ".join(printed(item) for item in value) + "]"
        case Mapping() if type(value) is not dict:
            return str(value)  # a value with a text of its own
        case Mapping():
            return "map[" + " ".join(f"{key}:{printed(value[key])}" for key in sorted(value)) + "]"
        case _:
            return str(value)


def _equal(first: Any, *rest: Any) -> bool:
    return any(first == item and isinstance(first, bool) == isinstance(item, bool) for item in rest)


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else value[key]
    return value


def _slice(value: Any, *bounds: int) -> Any:
    if len(bounds) == 2:
        return value[bounds[0] : bounds[1]]
    return value[bounds[0] :] if bounds else value


_FUNCTIONS: Mapping[str, Any] = {
    "eq": _equal,
    "ne": lambda a, b: not _equal(a, b),
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
    "not": lambda value: not _true(value),
    "len": len,
    "index": _index,
    "slice": _slice,
    "print": lambda *values: "".join(printed(item) for item in values),
    "json": lambda value: gojson.dumps(value),
    "currentDate": lambda *_: "2026-01-02",
}

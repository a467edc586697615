"""What may a template do? Jinja2 in its immutable sandbox, with every way to run for ever or fill memory bounded.

Imported only where a template is read: jinja2 is heavy. The bounds are against mistakes and careless templates:
loops and calls are counted, texts that grow are measured. Values stay what they are: null prints nothing, lists,
objects, true and false print as JSON, nothing is escaped. What is no value, such as a method, is never printed nor passed on:
``order.items`` is the key ``items`` of the order, or an error.
"""

import functools
import json
import re
from collections.abc import Callable, ItemsView, Iterable, Iterator, KeysView, Mapping, ValuesView
from typing import Any, cast

from jinja2 import StrictUndefined, Undefined, nodes
from jinja2.exceptions import SecurityError
from jinja2.filters import make_attrgetter
from jinja2.runtime import Context, LoopContext, Macro, TemplateReference
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Cycler, Namespace
from jinja2.visitor import NodeTransformer

from worker.domain.numbers import plain_number

TEXT_LIMIT = 4 * 1024 * 1024
"""Characters of any text a template makes on its way, and bytes of what it renders."""
STEP_LIMIT = 1_000_000
"""Rounds of loops and calls in one rendering, some seconds of work at most."""
BITS_LIMIT = 4096
"""Of a whole number."""

SPELLED_LIMIT = 16 * TEXT_LIMIT
"""Characters of a list with all that is in it, where a filter may write it out; it need not be printed whole."""
OUTPUT_LIMIT = 64 * TEXT_LIMIT
"""Characters of all texts that one rendering makes on its way."""
_WRAPPED_LIMIT = 10**9
"""A word that is longer than the line is copied once for each line."""

_WIDE = re.compile(r"\d{7,}|%[^a-zA-Z%]*\*")


class Sandbox(ImmutableSandboxedEnvironment):
    """The environment of all templates. ``begin`` starts the count of one rendering; one thread at a time."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self) -> None:
        super().__init__(
            undefined=StrictUndefined,
            autoescape=False,
            keep_trailing_newline=True,
            finalize=_printed,
        )
        self._steps = self._made = 0
        del self.globals["lipsum"]
        self.filters["join"] = self._join
        self.filters["tojson"] = lambda value, indent=None: _json(value, indent=indent)
        self.filters["pprint"] = lambda value: _json(value, indent=2)  # Jinja's own writes None and True
        self.filters = {name: self._measured(name, function) for name, function in self.filters.items()}
        self.filters["attr"] = self.getitem  # which never finds a method
        self.filters |= {"_counted": self._counted, "_value": _value}
        self.filters["_joined"] = lambda parts: self._bounded(_joined(parts))

    def begin(self) -> None:
        self._steps = self._made = 0

    def compile_bounded(self, tree: nodes.Template) -> Any:
        """A template whose loops and joins are counted; changes ``tree``."""
        return self.from_string(_Bounds(self).visit(tree))

    def getattr(self, obj: Any, attribute: str) -> Any:
        """``obj.attribute``: of an object of JSON its key, and only where it has none a method."""
        if isinstance(obj, Mapping) and attribute in obj:
            return obj[attribute]
        return super().getattr(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """``obj[argument]``, and what filters such as ``map(attribute=...)`` look up: never a method."""
        if isinstance(obj, Mapping) and argument in obj:
            return obj[argument]
        value = super().getitem(obj, argument)
        return self.undefined(obj=obj, name=argument) if _is_code(value) else value

    def call(self, context: Context, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Every call a template makes. Raises SecurityError for what cannot be called."""
        self._step()
        if not callable(obj):
            raise SecurityError(
                f"{_described(obj)} cannot be called; where a key has the name of a method, the key counts: "
                "write order|items for what order.items() would give"
            )
        if isinstance(obj, LoopContext) and args:  # loop(children) of a recursive loop
            args = (self._counted(args[0]), *args[1:])
        method = getattr(obj, "__wrapped__", obj)  # the sandbox wraps str.format
        owner = getattr(method, "__self__", None)
        if isinstance(owner, str):
            _forecast(method.__name__, (owner, *args))
            self._work((owner, *args))
            if (
                method.__name__ == "format" and "[" not in owner
            ):  # a field such as {0[name]} takes the value itself
                args = tuple(map(_odd, args))
                kwargs = {name: _odd(value) for name, value in kwargs.items()}
        return self._bounded(super().call(context, obj, *args, **kwargs))

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        match operator:
            case "*":
                for many, one in ((left, right), (right, left)):
                    if isinstance(many, str | list | tuple) and isinstance(one, int):
                        _within(len(many) * one)
                if isinstance(left, int) and isinstance(right, int):
                    _countable(left.bit_length() + right.bit_length())
            case "**":
                if isinstance(left, int) and isinstance(right, int):
                    _countable(left.bit_length() * max(right, 0))
            case "+":
                if isinstance(left, str | list | tuple) and isinstance(right, str | list | tuple):
                    _within(len(left) + len(right))
            case _:
                if isinstance(left, str):
                    _not_wide(left)
                    self._work((right,))
                    right = tuple(map(_odd, right)) if isinstance(right, tuple) else right
                    right = right if isinstance(right, dict | tuple) else _odd(right)
        return self._bounded(super().call_binop(context, operator, left, right))

    def _counted(self, values: Iterable[Any]) -> Iterator[Any]:
        for value in values:
            self._step()
            yield value

    def _step(self, steps: int = 1) -> None:
        self._steps += steps
        if self._steps > STEP_LIMIT:
            raise SecurityError(f"more than {STEP_LIMIT:,} rounds of loops and calls")

    def _bounded(self, value: Any) -> Any:
        """``value``, after a look how large it is, and how much was made before it: a template may keep all of that."""
        if isinstance(value, str):
            _within(len(value))
            self._made += len(value)
        elif isinstance(value, list | tuple):
            self._made += 8 * len(value)
        if self._made > OUTPUT_LIMIT:
            raise SecurityError(
                f"makes more than {OUTPUT_LIMIT:,} characters in all, on its way to the prompt"
            )
        return value

    def _join(self, values: Iterable[Any], d: str = "", attribute: str | int | None = None) -> str:
        """As jinja2's, of values as they are printed."""
        if attribute is not None:
            values = map(make_attrgetter(self, attribute), values)
        return str(d).join(str(_printed(value)) for value in self._counted(values))

    def _work(self, values: Iterable[Any]) -> None:
        """Count what a filter or method has to go through: members one by one, texts by 64 characters."""
        for value in values:
            if isinstance(value, str):
                self._step(len(value) // 64)
            elif isinstance(value, list | tuple | dict | range):
                self._step(len(value) + _spelled(value, SPELLED_LIMIT) // 64)

    def _measured(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)  # carries over what marks it as wanting the context
        def measured(*args: Any, **kwargs: Any) -> Any:
            values = (*args, *kwargs.values())
            _forecast(name, values)
            self._step()
            for value in values:
                if _is_code(value):
                    raise SecurityError(f"{_described(value)} cannot be given to the filter {name}")
            args = _written(name, function, args)
            self._work(values)
            if name == "urlize":  # a microsecond a character
                self._step(max((len(value) for value in values if isinstance(value, str)), default=0) // 2)
            return self._bounded(function(*args, **kwargs))

        return measured


class _Bounds(NodeTransformer):
    """Rewrites loops and ``~`` so that they are counted while they run, and attributes so that they are values."""

    def __init__(self, environment: Sandbox) -> None:
        self._environment = environment

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802 - jinja2's name
        self.generic_visit(node)
        node.iter = self._filter(cast(nodes.Expr, node.iter), "_counted")
        return node

    def visit_Call(self, node: nodes.Call) -> nodes.Node:  # noqa: N802 - jinja2's name
        """A method may be called, and that is all: the callee alone is left as it is."""
        callee = node.node
        self.generic_visit(node)
        if isinstance(callee, nodes.Getattr):
            node.node = callee
        return node

    def visit_Getattr(self, node: nodes.Getattr) -> nodes.Node:  # noqa: N802 - jinja2's name
        self.generic_visit(node)
        if node.ctx != "load":
            return node
        made = self._filter(node, "_value")
        made.args = [nodes.Const(node.attr), nodes.Const(node.lineno)]
        return made

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802 - jinja2's name
        self.generic_visit(node)
        return self._filter(nodes.List(node.nodes, lineno=node.lineno), "_joined")

    def _filter(self, node: nodes.Expr, name: str) -> nodes.Filter:
        made = nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)
        made.set_environment(self._environment)
        return made


def _joined(parts: list[Any]) -> str:
    _spelled(parts, TEXT_LIMIT)
    texts = [str(_printed(part)) for part in parts]
    _within(sum(map(len, texts)))
    return "".join(texts)


def _printed(value: Any) -> Any:
    """``value`` as it stands in a prompt."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case str() | int():
            return value
        case float():
            return plain_number(value)
        case dict() | list() | tuple():
            return _json(value)
        case KeysView() | ValuesView() | ItemsView() | range() | set() | frozenset():
            _spelled(value, TEXT_LIMIT)
            return _json(list(value))
        case Undefined():
            return value  # raises when it is written
        case Iterator():
            raise SecurityError("the result of a filter that goes through a list; end with |list or |join")
        case _ if _is_code(value) or isinstance(value, Namespace | Cycler | TemplateReference):
            raise SecurityError(f"{_described(value)} cannot be printed")
        case _:
            return value


def _is_code(value: Any) -> bool:
    return callable(value) and not isinstance(value, Undefined)


def _described(value: Any) -> str:
    """What ``value`` is, in the words of a template's author."""
    name = getattr(value, "__name__", None) or getattr(value, "name", None)
    match value:
        case LoopContext():
            return "the loop itself"
        case TemplateReference():
            return "the template itself"
        case Macro():
            return f"the macro {name}"
        case dict():
            return "an object"
        case list() | tuple():
            return "a list"
        case str():
            return "a text"
        case int() | float() | None:
            return "a number or null"
        case _ if _is_code(value):
            return f"the function {name}" if name else "a function"
        case _:
            return f"a {type(value).__name__}"


def _value(value: Any, name: str, line: int) -> Any:
    """What stands behind a dot, unless it is a method: then the author meant a key that is not there."""
    if not _is_code(value) or isinstance(value, Macro):
        return value
    owner = getattr(value, "__self__", getattr(getattr(value, "__wrapped__", None), "__self__", None))
    raise SecurityError(
        f"line {line}: .{name} is a method of {_described(owner)}, and no key of that name is there; "
        f"call it, .{name}(), or leave it out"
    )


_TEXT_FILTERS = frozenset(
    {
        "capitalize",
        "center",
        "escape",
        "e",
        "forceescape",
        "indent",
        "lower",
        "replace",
        "string",
        "striptags",
    }
    | {"title", "trim", "truncate", "upper", "urlencode", "urlize", "wordcount", "wordwrap"}
)
"""Filters that make a text of whatever they get: it is the text that would be printed."""


def _written(name: str, function: Callable[..., Any], args: tuple[Any, ...]) -> tuple[Any, ...]:
    """The arguments of a filter, those that it would write out as Python does written as the template does."""
    first = 0 if getattr(function, "jinja_pass_arg", None) is None else 1
    if name in ("format", "replace"):
        return (*args[:first], *map(_odd, args[first:]))
    if (
        name in _TEXT_FILTERS
        and len(args) > first
        and not (name == "urlencode" and not isinstance(args[first], str))
    ):
        return (*args[:first], _odd(args[first]), *args[first + 1 :])
    return args


def _odd(value: Any) -> Any:
    return value if isinstance(value, str | int | float) and not isinstance(value, bool) else _printed(value)


def _json(value: Any, *, indent: int | None = None) -> str:
    _spelled(value, TEXT_LIMIT)
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _spelled(value: Any, limit: int) -> int:
    """About how long ``value`` is written out, at least. A list may hold the same text a thousand times, and itself take
    no room at all. Raises SecurityError beyond ``limit``, long before it is written out."""
    size, todo = 0, [value]
    while todo:
        item = todo.pop()
        match item:
            case str():
                size += len(item)
            case dict():
                todo += [*item.keys(), *item.values()]
            case list() | tuple() | set() | frozenset() | KeysView() | ValuesView() | ItemsView():
                todo += item
            case Namespace():
                todo.append(item._Namespace__attrs)
            case _:
                pass
        size += 3  # a sign, a comma, a space
        if size > limit:
            raise SecurityError(f"makes more than {limit:,} characters")
    return size


_SIZED = frozenset(
    {"center", "indent", "batch", "slice", "wordwrap", "tojson", "ljust", "rjust", "zfill", "expandtabs"}
)
"""Filters and methods of texts whose numbers are sizes of what they make."""


def _forecast(name: str, values: tuple[Any, ...]) -> None:
    """Refuse a filter or a text's method that would make too much, before it does."""
    texts = [value for value in values if isinstance(value, str)]
    if name in _SIZED:
        for value in values:
            if isinstance(value, int):
                _within(value)
    if name in {"format", "format_map"} and texts:
        _not_wide(texts[0])
    elif name == "wordwrap" and texts:
        widths = [value for value in values if isinstance(value, int)]
        longest = max(map(len, texts[0].split()), default=0)
        if longest * longest // max(1, min(widths, default=79)) > _WRAPPED_LIMIT:
            raise SecurityError(f"wraps a word of {longest:,} characters")
    elif name == "replace" and len(texts) > 2:
        text, old, new = texts[:3]
        _within(len(text) + text.count(old) * (len(new) - len(old)))
    elif name == "join":
        for value in values:
            if isinstance(value, list | tuple):
                between = max(map(len, texts), default=0)
                _within(
                    sum(len(item) if isinstance(item, str) else 1 for item in value) + between * len(value)
                )


def _not_wide(pattern: str) -> None:
    if _WIDE.search(pattern):
        raise SecurityError("a format with a width in the millions, or with a width given by *")


def _countable(bits: int) -> None:
    if bits > BITS_LIMIT:
        raise SecurityError(f"makes a number of {bits:,} bits, at most {BITS_LIMIT:,} are allowed")


def _within(size: int) -> None:
    if size > TEXT_LIMIT:
        raise SecurityError(f"makes {size:,} characters, at most {TEXT_LIMIT:,} are allowed")

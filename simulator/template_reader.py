"""How the text of a template becomes nodes: delimiters, trim markers, actions, pipelines.

Source: Go ``text/template/parse``. An action ends at the first ``}}``, even within a string.
"""

import re
from collections.abc import Iterator, Mapping, Sequence

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

FUNCTIONS = frozenset(
    [
        "and",
        "or",
        "not",
        "eq",
        "ne",
        "lt",
        "le",
        "gt",
        "ge",
        "len",
        "index",
        "slice",
        "print",
        "json",
        "currentDate",
    ]
)
"""What an action may call."""

_DECLARATION = re.compile(r"\s*(\$\w*)(?:\s*,\s*(\$\w*))?\s*:?=\s*")
_TOKEN = re.compile(
    r"""\s*(?:(?P<string>"(?:[^"\\]|\\.)*"|`[^`]*`)|(?P<number>-?\d+(?:\.\d+)?)|(?P<op>[|()])
    |(?P<field>\$?\w*(?:\.\w+)+|\.|\$\w*)|(?P<word>\w+))""",
    re.VERBOSE,
)


def read(source: str) -> tuple[tuple[Node, ...], Mapping[str, tuple[Node, ...]]]:
    """The nodes of a template, and those of each template defined in it.

    Raises:
        TemplateError: it does not parse.
    """
    reader = _Reader(_pieces(source))
    nodes, end = reader.nodes()
    if end:
        raise TemplateError(f"template: :1: unexpected {{{{{end}}}}}")
    return nodes, reader.defined


def identifiers(nodes: Sequence[Node]) -> Iterator[str]:
    """Every field a template mentions, in lower case (``template.Vars``)."""
    for node in nodes:
        match node:
            case Action(pipe) | Call(_, Pipe() as pipe):
                yield from _pipe_identifiers(pipe)
            case Branch(_, pipe, body, otherwise):
                yield from _pipe_identifiers(pipe)
                yield from identifiers(body)
                yield from identifiers(otherwise)
            case _:
                pass


def _pipe_identifiers(pipe: Pipe) -> Iterator[str]:
    for command in pipe.commands:
        for argument in command:
            if isinstance(argument, Field):
                yield from (name.lower() for name in argument.path)
            elif isinstance(argument, Pipe):
                yield from _pipe_identifiers(argument)


def _pieces(source: str) -> Iterator[tuple[bool, str]]:
    """Split into (is action, text); trim markers are applied, comments dropped."""
    at, trim_next, line = 0, False, 1
    while True:
        start = source.find("{{", at)
        text = source[at:] if start < 0 else source[at:start]
        line += text.count("\n")
        if trim_next:
            text = text.lstrip(" \t\r\n")
        if start < 0:
            if text:
                yield False, text
            return
        end = source.find("}}", start + 2)
        if end < 0:
            raise TemplateError(f"template: :{line}: unclosed action")
        action = source[start + 2 : end]
        if action.startswith("-") and action[1:2] in " \t\r\n":
            text = text.rstrip(" \t\r\n")
            action = action[1:]
        trim_next = action.endswith("-") and action[-2:-1] in (" ", "\t", "\r", "\n", "")
        if trim_next:
            action = action[:-1]
        if text:
            yield False, text
        action = action.strip()
        if not action.startswith("/*"):
            yield True, action
        at = end + 2


class _Reader:
    def __init__(self, pieces: Iterator[tuple[bool, str]]) -> None:
        self._pieces = pieces
        self.defined: dict[str, tuple[Node, ...]] = {}

    def nodes(self) -> tuple[tuple[Node, ...], str]:
        """Nodes up to an ``end`` or ``else``; returns that action too ("" at the end of the source)."""
        found: list[Node] = []
        for is_action, text in self._pieces:
            if not is_action:
                found.append(Text(text))
                continue
            word, _, rest = text.partition(" ")
            match word:
                case "end" | "else":
                    return tuple(found), text
                case "if" | "with" | "range":
                    found.append(self._branch(word, rest))
                case "break" | "continue":
                    found.append(Jump(word))
                case "define":
                    body, _ = self.nodes()
                    self.defined[rest.strip().strip('"`')] = body
                case "template" | "block":
                    name, _, argument = rest.strip().partition(" ")
                    name = name.strip('"`')
                    if word == "block":
                        self.defined[name], _ = self.nodes()
                    found.append(Call(name, _pipe(argument) if argument.strip() else None))
                case _:
                    found.append(Action(_pipe(text)))
        return tuple(found), ""

    def _branch(self, word: str, condition: str) -> Branch:
        pipe = _pipe(condition)
        body, end = self.nodes()
        otherwise: tuple[Node, ...] = ()
        if end.startswith("else"):
            rest = end[4:].strip()
            if rest:
                inner, _, inner_condition = rest.partition(" ")
                return Branch(word, pipe, body, (self._branch(inner, inner_condition),))
            otherwise, end = self.nodes()
        if end != "end":
            raise TemplateError("template: :1: unexpected EOF")
        return Branch(word, pipe, body, otherwise)


def _pipe(text: str) -> Pipe:
    declared = _DECLARATION.match(text)
    variables = tuple(name for name in declared.groups() if name) if declared else ()
    tokens: list[tuple[str, str]] = []
    at = declared.end() if declared else 0
    text = text.rstrip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None or match.lastgroup is None:
            raise TemplateError(f"template: :1: unexpected {gojson.quoted(text[at:].strip()[:1])} in operand")
        tokens.append((match.lastgroup, match[match.lastgroup]))
        at = match.end()
    commands, end = _commands(tokens, 0)
    if end != len(tokens):
        raise TemplateError("template: :1: unexpected right paren")
    return Pipe(commands, variables)


def _commands(tokens: Sequence[tuple[str, str]], at: int) -> tuple[tuple[tuple[Argument, ...], ...], int]:
    """The commands of a pipeline from ``at`` on; and where it ends, at a closing parenthesis or the last token."""
    commands: list[tuple[Argument, ...]] = []
    arguments: list[Argument] = []
    while at < len(tokens) and tokens[at] != ("op", ")"):
        group, token = tokens[at]
        at += 1
        if token == "|" and group == "op":
            commands.append(tuple(arguments))
            arguments = []
        elif token == "(" and group == "op":
            inner, at = _commands(tokens, at)
            if at == len(tokens):
                raise TemplateError("template: :1: unclosed left paren")
            at += 1
            arguments.append(Pipe(inner))
        else:
            arguments.append(_argument(group, token))
    commands.append(tuple(arguments))
    if not all(commands):
        raise TemplateError("template: :1: missing value for command")
    return tuple(commands), at


def _argument(group: str, token: str) -> Argument:
    match group:
        case "string":
            return Constant(token[1:-1] if token[0] == "`" else gojson.loads(token.encode()))
        case "number":
            return Constant(float(token) if "." in token else int(token))
        case "field":
            if token == ".":
                return Field(())
            if token.startswith("$"):
                variable, *path = token.split(".")
                return Field(tuple(path), variable)
            return Field(tuple(token[1:].split(".")))
        case "word" if token in ("true", "false", "nil"):
            return Constant({"true": True, "false": False, "nil": None}[token])
        case "word":
            if token not in FUNCTIONS:
                raise TemplateError(f"template: :1: function {gojson.quoted(token)} not defined")
            return Function(token)
        case _:
            raise TemplateError(f"template: :1: unexpected {gojson.quoted(token)} in operand")

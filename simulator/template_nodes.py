"""What a template consists of, once it is read.

Source: Go ``text/template/parse``.
"""

from dataclasses import dataclass
from typing import Any


class TemplateError(ValueError):
    """A template that does not parse or run; the message is worded as Go's."""


@dataclass(frozen=True, slots=True)
class Text:
    text: str


@dataclass(frozen=True, slots=True)
class Field:
    """``.A.B``, or ``$x.A`` with a variable."""

    path: tuple[str, ...]
    variable: str = ""


@dataclass(frozen=True, slots=True)
class Constant:
    value: Any


@dataclass(frozen=True, slots=True)
class Function:
    name: str


@dataclass(frozen=True, slots=True)
class Pipe:
    """``$a, $b := first | second``: each command is a list of arguments."""

    commands: tuple[tuple["Argument", ...], ...]
    variables: tuple[str, ...] = ()


Argument = Field | Constant | Function | Pipe


@dataclass(frozen=True, slots=True)
class Action:
    pipe: Pipe


@dataclass(frozen=True, slots=True)
class Branch:
    """``if``, ``with`` or ``range``."""

    word: str
    pipe: Pipe
    body: tuple["Node", ...]
    otherwise: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Jump:
    """``break`` or ``continue``."""

    word: str


@dataclass(frozen=True, slots=True)
class Call:
    """``{{ template "name" . }}``."""

    name: str
    pipe: Pipe | None


Node = Text | Action | Branch | Jump | Call

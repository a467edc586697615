"""Frozen dataclasses that cost little to define."""

from collections.abc import Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from functools import cached_property
from operator import attrgetter
from typing import Any, TypeVar, dataclass_transform

Made = TypeVar("Made")


FEW = 3
"""Instances of a class that are filled field by field, before an ``__init__`` is worth its compiling."""


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def record(cls: type[Made]) -> type[Made]:
    """Make a dataclass with slots that is equal and hashed by its values.

    ``dataclass(frozen=True, slots=True)`` compiles six methods for each class, and a command that asks one prompt defines
    300 classes: that was a quarter of its CPU. Here three of them are closures, and ``__init__`` is compiled for a class of
    which there are several. The type checker refuses assignments to attributes; nothing does at run time. The classes of the
    public package stay dataclasses, since their readers look at signatures.
    """
    return _light(cls, hashed=True)


@dataclass_transform(field_specifiers=(field,))
def mutable_record(cls: type[Made]) -> type[Made]:
    """Make a record whose attributes are assigned to, and which has no hash therefore."""
    return _light(cls, hashed=False)


def _light(cls: type[Made], *, hashed: bool) -> type[Made]:
    slots = not any(isinstance(member, cached_property) for member in vars(cls).values())
    made: Any = dataclass(init=False, repr=False, eq=False, slots=slots)(cls)
    names = [entry.name for entry in fields(made) if entry.compare]
    shown = [entry.name for entry in fields(made) if entry.repr]
    values = attrgetter(*names) if names else lambda _: ()
    inits = [entry for entry in fields(made) if entry.init]
    instances = 0

    def initialize(self: Any, *arguments: Any, **named: Any) -> None:
        nonlocal instances
        instances += 1
        if instances > FEW or not _fill(self, inits, arguments, named):
            made.__init__ = _initializer(made)
            made.__init__(self, *arguments, **named)

    def equals(self: Any, other: Any) -> Any:
        return values(self) == values(other) if other.__class__ is self.__class__ else NotImplemented

    def represent(self: Any) -> str:
        return f"{type(self).__qualname__}({', '.join(f'{name}={getattr(self, name)!r}' for name in shown)})"

    methods = {
        "__init__": initialize,
        "__eq__": equals,
        "__hash__": (lambda self: hash(values(self))) if hashed else None,
        "__repr__": represent,
    }
    for name, method in methods.items():
        if name not in cls.__dict__:
            setattr(made, name, method)
    return made  # type: ignore[no-any-return]


def _fill(
    instance: Any, entries: Sequence[Field[Any]], arguments: Sequence[Any], named: dict[str, Any]
) -> bool:
    """Set the fields of an instance; False where the arguments are not those of its class."""
    values = dict(zip((entry.name for entry in entries), arguments, strict=False)) | named
    if len(values) < len(arguments) + len(named):
        return False
    for entry in entries:
        if entry.name in values:
            value = values.pop(entry.name)
        elif entry.default_factory is not MISSING:
            value = entry.default_factory()
        elif entry.default is not MISSING:
            value = entry.default
        else:
            return False
        setattr(instance, entry.name, value)
    if values:
        return False
    if hasattr(instance, "__post_init__"):
        instance.__post_init__()
    return True


def _initializer(cls: Any) -> Any:
    """An ``__init__`` for the fields of ``cls``, in a third of the time that ``dataclass`` takes for one."""
    names: dict[str, Any] = {"absent": object()}
    parameters = body = ""
    for entry in (entry for entry in fields(cls) if entry.init):
        name, default, value = entry.name, f"default_of_{entry.name}", entry.name
        parameters += f", {name}"
        if entry.default_factory is not MISSING:
            names[default] = entry.default_factory
            parameters, value = f"{parameters}=absent", f"{default}() if {name} is absent else {name}"
        elif entry.default is not MISSING:
            names[default] = entry.default
            parameters += f"={default}"
        body += f"    self.{name} = {value}\n"
    if hasattr(cls, "__post_init__"):
        body += "    self.__post_init__()\n"
    exec(f"def __init__(self{parameters}):\n{body or '    pass'}", names)  # noqa: S102
    made = names["__init__"]
    made.__qualname__, made.__module__ = f"{cls.__qualname__}.__init__", cls.__module__
    return made

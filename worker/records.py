"""Frozen dataclasses that cost little to define."""

from dataclasses import dataclass, field, fields
from operator import attrgetter
from typing import Any, TypeVar, dataclass_transform

Made = TypeVar("Made")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def record(cls: type[Made]) -> type[Made]:
    """Make a dataclass with slots that is equal and hashed by its values.

    ``dataclass(frozen=True, slots=True)`` compiles six methods for each class, and a command that asks one prompt defines
    300 classes: that was a quarter of its CPU. Here three of them are closures, and ``__init__`` is compiled for the first
    instance. The type checker refuses assignments to attributes; nothing does at run time. The classes of the public package
    stay dataclasses, since their readers look at signatures.
    """
    made: Any = dataclass(init=False, repr=False, eq=False, slots=True)(cls)
    names = [entry.name for entry in fields(made) if entry.compare]
    shown = [entry.name for entry in fields(made) if entry.repr]
    values = attrgetter(*names) if names else lambda _: ()

    def initialize(self: Any, *arguments: Any, **named: Any) -> None:
        made.__init__ = _initializer(made)
        made.__init__(self, *arguments, **named)

    def equals(self: Any, other: Any) -> Any:
        return values(self) == values(other) if other.__class__ is self.__class__ else NotImplemented

    def represent(self: Any) -> str:
        return f"{type(self).__qualname__}({', '.join(f'{name}={getattr(self, name)!r}' for name in shown)})"

    methods = {
        "__init__": initialize,
        "__eq__": equals,
        "__hash__": lambda self: hash(values(self)),
        "__repr__": represent,
    }
    for name, method in methods.items():
        if name not in cls.__dict__:
            setattr(made, name, method)
    return made  # type: ignore[no-any-return]


def _initializer(cls: type) -> Any:
    """The ``__init__`` that ``dataclass`` compiles for the fields of ``cls``, by way of a class that has the same."""
    same = {"__module__": cls.__module__, "__qualname__": cls.__qualname__, "__doc__": cls.__doc__}
    equal: Any = dataclass(repr=False, eq=False)(type(cls.__name__, (cls,), same))
    return equal.__init__

"""Frozen dataclasses that cost little to define."""

from dataclasses import MISSING, dataclass, field, fields
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

"""Frozen dataclasses that cost little to define."""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
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


def from_row(cls: type[Made], row: Any, **values: Any) -> Made:
    """An instance of ``cls`` with these values, and for its other fields the columns of ``row`` of their names."""
    columns, names = row._mapping, cls.__match_args__  # type: ignore[attr-defined]
    return cls(**{name: columns[name] for name in names if name not in values and name in columns}, **values)


def _light(cls: type[Made], *, hashed: bool) -> type[Made]:
    namespace, own = dict(cls.__dict__), cls.__annotations__
    given = {name: namespace.pop(name) for name in own if name in namespace}
    if any(isinstance(member, cached_property) for member in namespace.values()):
        namespace |= {name: default for name, default in given.items() if not isinstance(default, Field)}
    else:
        namespace["__slots__"] = tuple(own)
    namespace.pop("__dict__", None)
    namespace.pop("__weakref__", None)
    bases = [entry for base in cls.__bases__ if is_dataclass(base) for entry in fields(base)]
    types = {entry.name: entry.type for entry in bases} | own
    defaults: dict[str, Any] = {entry.name: entry for entry in bases} | given
    special = {name: default for name, default in defaults.items() if isinstance(default, Field)}
    names = [name for name in types if name not in special or special[name].compare]
    shown = [name for name in types if name not in special or special[name].repr]
    inits = {name: defaults.get(name, MISSING) for name in types if name not in special or special[name].init}
    values = attrgetter(*names) if names else lambda _: ()
    instances = 0

    def initialize(self: Any, *arguments: Any, **named: Any) -> None:
        nonlocal instances
        instances += 1
        if instances > FEW or not _fill(self, inits, arguments, named):
            made.__init__ = _initializer(made, inits)
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
        "__match_args__": tuple(inits),
        "__dataclass_fields__": _Fields(types, defaults),
    }
    made: Any = type(cls.__name__, cls.__bases__, methods | namespace)
    made.__qualname__ = cls.__qualname__
    return made  # type: ignore[no-any-return]


class _Fields:
    """The fields of a record as ``dataclasses`` knows them, made when somebody asks for them."""

    def __init__(self, types: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
        self._namespace = {"__annotations__": types, **defaults}

    def __get__(self, instance: object, owner: Any) -> Any:
        made: Any = dataclass(init=False, repr=False, eq=False)(type(owner.__name__, (), self._namespace))
        owner.__dataclass_params__ = made.__dataclass_params__
        owner.__dataclass_fields__ = made.__dataclass_fields__
        return owner.__dataclass_fields__


def _fill(
    instance: Any, defaults: Mapping[str, Any], arguments: Sequence[Any], named: dict[str, Any]
) -> bool:
    """Set the fields of an instance; False where the arguments are not those of its class."""
    values = dict(zip(defaults, arguments, strict=False)) | named
    if len(values) < len(arguments) + len(named):
        return False
    for name, default in defaults.items():
        if name in values:
            value = values.pop(name)
        elif isinstance(default, Field):
            value = default.default if default.default_factory is MISSING else default.default_factory()
        else:
            value = default
        if value is MISSING:
            return False
        setattr(instance, name, value)
    if values:
        return False
    if hasattr(instance, "__post_init__"):
        instance.__post_init__()
    return True


def _initializer(cls: Any, defaults: Mapping[str, Any]) -> Any:
    """An ``__init__`` for the fields of ``cls``, in a third of the time that ``dataclass`` takes for one."""
    names: dict[str, Any] = {"absent": object()}
    parameters = body = ""
    for name, given in defaults.items():
        default, value = f"default_of_{name}", name
        parameters += f", {name}"
        if isinstance(given, Field) and given.default_factory is not MISSING:
            names[default] = given.default_factory
            parameters, value = f"{parameters}=absent", f"{default}() if {name} is absent else {name}"
        else:
            names[default] = given.default if isinstance(given, Field) else given
            parameters += "" if names[default] is MISSING else f"={default}"
        body += f"    self.{name} = {value}\n"
    if hasattr(cls, "__post_init__"):
        body += "    self.__post_init__()\n"
    exec(f"def __init__(self{parameters}):\n{body or '    pass'}", names)  # noqa: S102
    made = names["__init__"]
    made.__qualname__, made.__module__ = f"{cls.__qualname__}.__init__", cls.__module__
    return made

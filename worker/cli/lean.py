"""Keeps what a short command costs low."""

import gc
from typing import Any

AT_ONCE = 200_000
"""Objects that are made before the garbage collector looks at them. The default, 700, is reached hundreds of times while
a short command imports its modules, and nothing of them is garbage: a fifth of its CPU."""


def rare_collections() -> None:
    """Let the garbage collector of this process look less often at what was made."""
    gc.set_threshold(AT_ONCE, 20, 20)


def no_last_collection() -> None:
    """Leave what there is at the end of the process to the operating system."""
    gc.freeze()


def spare_types(command: Any) -> None:
    """Let options without a value cost nothing: Typer builds a type adapter of pydantic for each, and a command has up to
    60 of them."""
    for param in command.params:
        _spare_type(param)


def _spare_type(param: Any) -> None:
    full = param.process_value
    many = param.multiple or param.nargs == -1
    is_text = getattr(param.type_descriptor, "annotation", None) is str

    def process_value(ctx: Any, value: Any) -> Any:
        if param.required or param.callback is not None:
            return full(ctx, value)
        if value is None:
            return () if many else None
        if value is param.default or (is_text and isinstance(value, str)):
            return value
        return full(ctx, value)

    param.process_value = process_value

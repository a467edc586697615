"""Keeps what a short command costs low."""

import atexit
import gc
import os
import sys
import threading
from typing import Any, NoReturn

AT_ONCE = 200_000
"""Objects that are made before the garbage collector looks at them. The default, 700, is reached hundreds of times while
a short command imports its modules, and nothing of them is garbage: a fifth of its CPU."""


def rare_collections() -> None:
    """Let the garbage collector of this process look less often at what was made."""
    gc.set_threshold(AT_ONCE, 20, 20)


def leave(code: Any) -> NoReturn:
    """End the process with this exit code and leave what it holds to the operating system: giving back each object of a
    thousand modules is a seventieth of the CPU of one prompt. Threads that may still work are waited for."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):  # the interpreter says what it says of them
        sys.exit(code)
    if any(not thread.daemon for thread in threading.enumerate() if thread is not threading.main_thread()):
        sys.exit(code)
    atexit._run_exitfuncs()
    os._exit(code or 0)


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

"""Signals that end a command: each is taken as the first Ctrl-C is."""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

ENDING = tuple(
    number for name in ("SIGTERM", "SIGHUP") if (number := getattr(signal, name, None)) is not None
)
INTERRUPTED = 128 + int(signal.SIGINT)
"""The exit code after Ctrl-C."""


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP. A class of its own because CPython ends a process by SIGINT, whatever its exit code, after a
    plain KeyboardInterrupt that was raised below ``exec`` of a text, as dataclasses use it."""


@contextmanager
def ending_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP raise KeyboardInterrupt in the main thread as Ctrl-C does, also as PID 1, where their
    default is nothing. An exit with 130 then becomes one with 143 or 129.

    A signal that the caller ignores (``nohup``) stays ignored.
    """
    received: list[int] = []

    def interrupt(number: int, _: object) -> None:
        received.append(number)
        raise Terminated

    on_signals(ENDING, interrupt)
    try:
        yield
    except KeyboardInterrupt:
        sys.exit(_code(received))
    except SystemExit as end:
        if end.code == INTERRUPTED:
            sys.exit(_code(received))
        raise


def on_signals(numbers: tuple[int, ...], handler: Callable[[int, Any], Any]) -> None:
    """Call ``handler`` on these signals, except for those that the caller ignores."""
    for number in numbers:
        if number == signal.SIGINT or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


def _code(received: list[int]) -> int:
    return 128 + received[0] if received else INTERRUPTED

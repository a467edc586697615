"""A command of somebody's own, with the message on its standard input."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import IO

from worker.notify.bounded import DeliveryError

SECONDS = 60.0
TAIL_SIZE = 2000
"""Bytes of its output, the last ones."""


def run_command(command: str, body: bytes, *, about: Mapping[str, str]) -> None:
    """Run ``command`` in a shell, ``about`` in its environment. It has a minute; its own output is what it says when it
    fails. Raises DeliveryError."""
    tail = bytearray()
    process = subprocess.Popen(  # noqa: S602 - the command is the producer's own, as in cron
        command,
        shell=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, **about},  # noqa: TID251 - what it needs is its own
        start_new_session=True,
    )
    reader = threading.Thread(target=_read_end, args=(_pipe(process.stdout), tail), daemon=True)
    writer = threading.Thread(target=_write, args=(_pipe(process.stdin), body), daemon=True)
    reader.start()
    writer.start()
    end = time.monotonic() + SECONDS
    try:
        process.wait(SECONDS)
        reader.join(max(0.0, end - time.monotonic()))  # what it left running may still hold its output
        late = reader.is_alive()
    except subprocess.TimeoutExpired:
        late = True
    if late:
        with suppress(ProcessLookupError, AttributeError):
            os.killpg(process.pid, signal.SIGKILL)  # what the shell started goes with it
        process.kill()
        process.wait()
        raise DeliveryError(f"the command did not end within {SECONDS:.0f} s")
    if process.returncode:
        words = " ".join(bytes(tail).decode("utf-8", "replace").split())
        raise DeliveryError(
            f"the command ended with {process.returncode}{': ' if words else ''}{words[-300:]}"
        )


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise ValueError("the command was started without a pipe")
    return stream


def _read_end(out: IO[bytes], tail: bytearray) -> None:
    """Read all that a command prints, and keep the end of it: it may print without end."""
    with out, suppress(OSError, ValueError):
        while block := out.read1(1 << 16):  # type: ignore[attr-defined]  # a buffered reader
            tail += block
            del tail[:-TAIL_SIZE]


def _write(into: IO[bytes], body: bytes) -> None:
    with suppress(OSError, ValueError), into:  # a command may end without reading
        into.write(body)

"""How is a document read that may be hostile? In a child process with little memory and little time.

The child reads one document after another; it is ended when one takes too long, dies, or says more than it may, and the
next document gets a new one. It inherits nothing of the environment, may write no file, and knows no path: it is handed bytes.
"""

import contextlib
import json
import os
import resource
import selectors
import struct
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from time import monotonic
from types import TracebackType
from typing import Any, BinaryIO, Self, cast

from worker.documents.formats.limits import Refused
from worker.errors import DocumentCode, DocumentRefused
from worker.observability.events import emit

READ_SECONDS = 60.0
MEMORY = 1536 * 1024 * 1024
"""Bytes of address space of the child, its libraries included."""
MOST_REPLY = 256 * 1024 * 1024
_START = "import sys,json; sys.path[:]=json.loads(sys.argv[1]); from worker.documents.bounded import child; child()"
_HEAD = struct.Struct(">IQ")
_BLOCK = 1 << 20
MOST_ERRORS = 4096
"""Bytes of the child's standard error that reach the log."""


class Reader:
    """A child that reads documents; a context manager, for one thread at a time."""

    def __init__(self, *, seconds: float = READ_SECONDS, memory: int = MEMORY) -> None:
        self._seconds = seconds
        self._memory = memory
        self._process: subprocess.Popen[bytes] | None = None
        self._errors = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def read(self, path: str, data: bytes, name: str, encoding: str | None) -> dict[str, Any]:
        """See ``formats.reading.read_bytes``. Raises DocumentRefused."""
        asked = {"do": "read", "name": name, "encoding": encoding}
        return cast(dict[str, Any], self._ask(path, asked, data))

    def render(self, path: str, data: bytes, dpi: int) -> list[str]:
        """See ``formats.pdf.render_pages``. Raises DocumentRefused."""
        return cast(list[str], self._ask(path, {"do": "render", "dpi": dpi}, data))

    def _ask(self, path: str, asked: dict[str, Any], data: bytes) -> Any:
        process = self._running()
        try:
            reply = self._exchanged(process, json.dumps(asked).encode(), data)
        except TimeoutError as error:
            self._end()
            told = f"took longer than {self._seconds:,.0f} seconds to read"
            raise DocumentRefused(path, "too_large", told) from error
        except (OSError, EOFError, ValueError) as error:
            self._end(path)
            told = f"its reader died over it ({error or type(error).__name__})"
            raise DocumentRefused(path, "unreadable", told) from error
        except BaseException:
            self._end()  # a reply half read would be taken for the next one's
            raise
        self._drain_errors()  # what a library says of a document that it could read is of no use
        if reply["unlimited"]:
            _warn_of_limits(", ".join(reply["unlimited"]))
        if "refused" in reply:
            code, message, pages = reply["refused"]
            raise DocumentRefused(path, cast(DocumentCode, code), message, pages=pages)
        return reply["ok"]

    def _running(self) -> "subprocess.Popen[bytes]":
        if self._process is not None and self._process.poll() is None:
            return self._process
        self._end()
        self._errors, child_errors = os.pipe()
        for end in (self._errors, child_errors):  # what a library says beyond the pipe's room is lost
            os.set_blocking(end, False)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-c", _START, json.dumps(sys.path), str(self._memory)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=child_errors,
                bufsize=0,
                env={"LANG": "C.UTF-8"},
                start_new_session=True,  # Ctrl-C is for us; the child ends with its pipe
            )
        finally:
            os.close(child_errors)
        return self._process

    def _drain_errors(self) -> str:
        """What the child has written to standard error since the last time: the end of it."""
        tail = b""
        with contextlib.suppress(OSError):  # nothing there now
            while block := os.read(self._errors, _BLOCK):
                tail = (tail + block)[-MOST_ERRORS:]
        return tail.decode("utf-8", "replace").strip()

    def _exchanged(self, process: "subprocess.Popen[bytes]", asked: bytes, data: bytes) -> Any:
        assert process.stdin is not None
        assert process.stdout is not None
        until = monotonic() + self._seconds
        out, back = process.stdin.fileno(), process.stdout.fileno()
        os.set_blocking(out, False)
        os.set_blocking(back, False)
        with selectors.DefaultSelector() as ready:
            ready.register(out, selectors.EVENT_WRITE)
            for part in (_HEAD.pack(len(asked), len(data)) + asked, data):
                view = memoryview(part)
                while view:
                    self._wait(ready, until)
                    with contextlib.suppress(BlockingIOError):
                        view = view[os.write(out, view[:_BLOCK]) :]
            ready.unregister(out)
            ready.register(back, selectors.EVENT_READ)
            said = bytearray()
            wanted = 8
            while len(said) < wanted:
                self._wait(ready, until)
                block = os.read(back, _BLOCK)
                if not block:
                    raise EOFError(f"exit {process.wait()}")
                said += block
                if wanted == 8 and len(said) >= 8:
                    wanted = 8 + int.from_bytes(said[:8], "big")
                    if wanted > MOST_REPLY:
                        raise ValueError(f"{wanted:,} bytes of text")
        return json.loads(said[8:])

    @staticmethod
    def _wait(ready: selectors.BaseSelector, until: float) -> None:
        left = until - monotonic()
        if left <= 0 or not ready.select(left):
            raise TimeoutError

    def _end(self, path: str = "") -> None:
        """End the child; where it died over the document at ``path``, log its exit code and its last words."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        code = process.wait()
        words = self._drain_errors()
        os.close(self._errors)
        if path:
            emit("reader.died", path=path, exit=code, message=words or "no output")
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


def child() -> None:
    """The child's whole life: requests from standard input, replies to standard output."""
    unlimited = limit_resources(int(sys.argv[2]))
    asked, replies = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what a library prints is no reply
    while head := asked.read(_HEAD.size):
        asked_size, size = _HEAD.unpack(head)
        request = json.loads(_exactly(asked, asked_size))
        answer = {**_answered(request, _exactly(asked, size)), "unlimited": unlimited}
        reply = json.dumps(answer).encode()
        replies.write(len(reply).to_bytes(8, "big") + reply)
        replies.flush()


def limit_resources(
    memory: int, setrlimit: Callable[[int, tuple[int, int]], None] = resource.setrlimit
) -> list[str]:
    """Bound this process; the names of the limits that this system does not take.

    macOS refuses an address space that is smaller than what is mapped there already, some 390 GB. Then the time limit
    is the only one. A lower hard limit (``ulimit -v``) stays as it is.
    """
    refused = []
    for name, most in (("RLIMIT_AS", memory), ("RLIMIT_FSIZE", 0), ("RLIMIT_CORE", 0)):
        limit = getattr(resource, name)
        hard = resource.getrlimit(limit)[1]
        least = most if hard == resource.RLIM_INFINITY else min(most, hard)
        try:
            setrlimit(limit, (least, least))
        except (OSError, ValueError):
            refused.append(name)
    return refused


@cache
def _warn_of_limits(names: str) -> None:
    """Once in a process: every child on this system has the same limits."""
    emit("reader.unlimited", limits=names)


def _exactly(stream: BinaryIO, size: int) -> bytes:
    data = stream.read(size)
    if len(data) != size:
        raise EOFError
    return data


def _answered(request: dict[str, Any], data: bytes) -> dict[str, Any]:
    try:
        if request["do"] == "render":
            from worker.documents.formats.pdf import render_pages

            return {"ok": render_pages(data, request["dpi"])}
        from worker.documents.formats.reading import read_bytes

        return {"ok": read_bytes(data, request["name"], request["encoding"])}
    except Refused as error:
        return {"refused": [error.code, error.message, list(error.pages)]}
    except MemoryError:
        return {"refused": ["too_large", "takes more memory than a document may", []]}
    except RecursionError:
        return {"refused": ["unreadable", "nested too deeply", []]}
    except Exception as error:  # a reader may raise anything over a broken file
        return {"refused": ["unreadable", f"{type(error).__name__}: {str(error)[:200]}", []]}

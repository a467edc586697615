"""How is a document read that may be hostile? In a child process with little memory and little time.

The child reads one document after another; it is ended when one takes too long, dies, or says more than it may, and the
next document gets a new one. It inherits nothing of the environment, may write no file, and knows no path: it is handed bytes,
or, of a table, the path of a copy.
"""

import contextlib
import json
import os
import resource
import selectors
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Any, BinaryIO, Self, cast

from worker.documents.extract import extract
from worker.documents.formats.limits import Refused
from worker.errors import DocumentCode, DocumentRefused, in_words
from worker.observability.events import emit

READ_SECONDS = 60.0
MEMORY = 1536 * 1024 * 1024
"""Bytes of address space of the child, its libraries included."""
_ALLOCATION = {"ARROW_DEFAULT_MEMORY_POOL": "system", "MALLOC_ARENA_MAX": "1"}
"""Allocators reserve a gigabyte of addresses beforehand, which would count."""
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
        self._unread = False
        """Rows of a table are on their way that nobody has taken yet."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def read(self, path: str, data: bytes, name: str, encoding: str | None) -> dict[str, Any]:
        """See ``formats.reading.read_bytes``. Raises DocumentRefused."""
        request = {"do": "read", "name": name, "encoding": encoding}
        return cast(dict[str, Any], self._ask(path, request, data))

    def extract(self, path: str, data: bytes, name: str, command: str) -> dict[str, Any] | None:
        """What the user's own command makes of it, its front matter as metadata; None where it leaves it to ``read``.

        Raises DocumentRefused.
        """
        text = extract(command, path, name, data)
        return None if text is None else Reader.read(self, path, text, "extracted.md", None)

    def sheet_rows(self, path: str, data: bytes, name: str) -> Iterator[dict[str, Any]]:
        """See ``formats.rows.read_sheet_rows``, and ``rows``."""
        return self._rows(path, {"do": "sheet rows", "name": name}, data)

    def pages(self, path: str, data: bytes) -> int:
        """How many pages a PDF has. Raises DocumentRefused."""
        return cast(int, self._ask(path, {"do": "pages"}, data))

    def render(self, path: str, data: bytes, dpi: int, pages: Sequence[int]) -> list[str]:
        """See ``formats.pdf.render_pages``. Raises DocumentRefused."""
        return cast(list[str], self._ask(path, {"do": "render", "dpi": dpi, "pages": list(pages)}, data))

    def rows(self, path: str, copy: Path, name: str, encoding: str | None) -> Iterator[dict[str, Any]]:
        """See ``formats.rows.read_rows``. The bound of time is for each chunk of rows. Raises
        DocumentRefused; RuntimeError where another document was read before the last row of this one."""
        return self._rows(path, {"do": "rows", "path": str(copy), "name": name, "encoding": encoding}, b"")

    def _rows(self, path: str, request: dict[str, Any], data: bytes) -> Iterator[dict[str, Any]]:
        self._send(path, request, data)
        process, self._unread = self._process, True
        try:
            while "rows" in (reply := self._receive(path)):
                for row in reply["rows"]:
                    yield row
                    if self._process is not process:
                        raise RuntimeError("the reader was given another document between two rows")
            self._unread = False
        finally:
            if self._unread and self._process is process:
                self._end()  # nobody takes the rows that are left

    def _ask(self, path: str, request: dict[str, Any], data: bytes) -> Any:
        self._send(path, request, data)
        return self._receive(path)["ok"]

    def _send(self, path: str, request: dict[str, Any], data: bytes) -> None:
        process = self._running()
        with self._ending(path):
            self._write(process, json.dumps(request).encode(), data)

    def _receive(self, path: str) -> dict[str, Any]:
        """The next reply of the child. Raises DocumentRefused."""
        assert self._process is not None
        with self._ending(path):
            reply = self._read(self._process)
        self._drain_errors()  # what a library says of a document that it could read is of no use
        if reply.get("unlimited"):
            _warn_of_limits(", ".join(reply["unlimited"]))
        if "refused" in reply:
            self._unread = False
            code, message, pages = reply["refused"]
            raise DocumentRefused(path, cast(DocumentCode, code), message, pages=pages)
        return reply

    @contextlib.contextmanager
    def _ending(self, path: str) -> Iterator[None]:
        """End the child where an exchange with it fails. Raises DocumentRefused."""
        try:
            yield
        except TimeoutError as error:
            self._end()
            message = f"took longer than {self._seconds:,.0f} seconds to read"
            raise DocumentRefused(path, "too_large", message) from error
        except (OSError, EOFError, ValueError) as error:
            self._end(path)
            message = f"its reader died over it ({in_words(error)})"
            raise DocumentRefused(path, "unreadable", message) from error
        except BaseException:
            self._end()  # a reply half read would be taken for the next one's
            raise

    def _running(self) -> "subprocess.Popen[bytes]":
        if self._process is not None and self._process.poll() is None and not self._unread:
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
                env={"LANG": "C.UTF-8", **_ALLOCATION},
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

    def _write(self, process: "subprocess.Popen[bytes]", request: bytes, data: bytes) -> None:
        assert process.stdin is not None
        until = monotonic() + self._seconds
        out = process.stdin.fileno()
        os.set_blocking(out, False)
        with selectors.DefaultSelector() as ready:
            ready.register(out, selectors.EVENT_WRITE)
            for part in (_HEAD.pack(len(request), len(data)) + request, data):
                view = memoryview(part)
                while view:
                    self._wait(ready, until)
                    with contextlib.suppress(BlockingIOError):
                        view = view[os.write(out, view[:_BLOCK]) :]

    def _read(self, process: "subprocess.Popen[bytes]") -> dict[str, Any]:
        """One reply: eight bytes that say its length, then JSON. What follows stays in the pipe."""
        assert process.stdout is not None
        until = monotonic() + self._seconds
        back = process.stdout.fileno()
        os.set_blocking(back, False)
        reply = bytearray()
        length = 8
        with selectors.DefaultSelector() as ready:
            ready.register(back, selectors.EVENT_READ)
            while len(reply) < length:
                self._wait(ready, until)
                block = os.read(back, min(_BLOCK, length - len(reply)))
                if not block:
                    raise EOFError(f"exit {process.wait()}")
                reply += block
                if length == 8 == len(reply):
                    length += int.from_bytes(reply, "big")
                    if length > MOST_REPLY:
                        raise ValueError(f"{length:,} bytes of text")
        return cast(dict[str, Any], json.loads(reply[8:]))

    @staticmethod
    def _wait(ready: selectors.BaseSelector, until: float) -> None:
        left = until - monotonic()
        if left <= 0 or not ready.select(left):
            raise TimeoutError

    def _end(self, path: str = "") -> None:
        """End the child; where it died over the document at ``path``, log its exit code and its last words."""
        process, self._process = self._process, None
        self._unread = False
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
    leave_network()
    unlimited = limit_resources(int(sys.argv[2]))
    requests, replies = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what a library prints is no reply
    while head := requests.read(_HEAD.size):
        asked_size, size = _HEAD.unpack(head)
        request = json.loads(_exactly(requests, asked_size))
        for reply in _replies(request, _exactly(requests, size), unlimited):
            replies.write(len(reply).to_bytes(8, "big") + reply)
            replies.flush()


_NO_NETWORK = 0x10000000 | 0x40000000
"""CLONE_NEWUSER and CLONE_NEWNET of Linux: a namespace of its own, in which there is no network."""


def leave_network() -> bool:
    """Cut this process off from the network where the system lets anybody do so; whether it did.

    No reader of ours opens a connection. This holds for libraries too.
    """
    if not sys.platform.startswith("linux"):
        return False
    import ctypes

    try:
        return bool(ctypes.CDLL(None).unshare(_NO_NETWORK) == 0)
    except (OSError, AttributeError):
        return False


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


def _replies(request: dict[str, Any], data: bytes, unlimited: list[str]) -> Iterator[bytes]:
    """Replies to a request as JSON: of a table its rows, and at the end the outcome."""
    try:
        if request["do"] in ("rows", "sheet rows"):
            for rows in _rows(request, data):
                yield b'{"rows": %s}' % rows
            ok = None
        else:
            ok = _content(request, data)
        reply = {"ok": ok}
    except Refused as error:
        reply = {"refused": [error.code, error.message, list(error.pages)]}
    except MemoryError:
        reply = {"refused": ["too_large", "takes more memory than a document may", []]}
    except RecursionError:
        reply = {"refused": ["unreadable", "nested too deeply", []]}
    except Exception as error:  # a reader may raise anything over a broken file
        reply = {"refused": ["unreadable", in_words(error)[:200], []]}
    yield json.dumps({**reply, "unlimited": unlimited}).encode()


def _rows(request: dict[str, Any], data: bytes) -> Iterator[bytes]:
    from worker.documents.formats.rows import read_rows, read_sheet_rows

    if request["do"] == "sheet rows":
        return read_sheet_rows(data, request["name"])
    return read_rows(Path(request["path"]), request["name"], request["encoding"])


def _content(request: dict[str, Any], data: bytes) -> Any:
    if request["do"] == "render":
        from worker.documents.formats.pdf import render_pages

        return render_pages(data, request["dpi"], request["pages"])
    if request["do"] == "pages":
        from worker.documents.formats.pdf import count_pages

        return count_pages(data)
    from worker.documents.formats.reading import read_bytes

    return read_bytes(data, request["name"], request["encoding"])

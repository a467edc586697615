"""People's own extractor: a command that is handed a file and prints what it says, as Markdown.

It is bounded in time, memory and output, and what it started ends with it. One that fails costs only its document.
"""

import os
import selectors
import shlex
import signal
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from time import monotonic

from worker.documents.formats import kinds
from worker.errors import DocumentRefused

SECONDS = 600.0
MEMORY = 16 * 1024 * 1024 * 1024
"""Bytes of data that each of its processes may hold; address space is not counted, of which GPUs reserve a great deal."""
MOST_OUTPUT = 64 * 1024 * 1024
EXIT_PASS = 77
"""The exit code by which a command leaves a document to the readers of Caravan, as tests use it for "skipped"."""
_LAST_WORDS = 2000
_BLOCK = 1 << 16
_OURS = frozenset({kinds.TEXT, kinds.MARKDOWN, kinds.MAIL, kinds.ZIP})


def is_extracted(name: str, data: bytes) -> bool:
    """Whether a document goes to the command: all but texts, and what holds other documents (mails, archives), whose parts go."""
    if kinds.media_type_of(name) not in _OURS:
        return True
    return kinds.ending_of(name) in kinds.UNREAD or kinds.actual_ending(data) in kinds.UNREAD


def extract(
    command: str,
    path: str,
    name: str,
    data: bytes,
    *,
    seconds: float = SECONDS,
    memory: int = MEMORY,
    most: int = MOST_OUTPUT,
) -> bytes | None:
    """What the command prints of these bytes; None where it leaves them to our own readers (exit code 77).

    The command runs in a shell, ``{}`` in it stands for the file; without one the file is its last argument. It sees a copy
    with the same ending, so that what is read is what was hashed. Raises DocumentRefused, which names the document.
    """
    with tempfile.TemporaryDirectory(prefix="caravan-") as folder:
        copy = Path(folder, f"document{kinds.ending_of(name)}")
        copy.write_bytes(data)
        code, output, words = _run(_line(command, copy, memory), path, seconds, most)
    if code == EXIT_PASS:
        return None
    if code:
        ended = f"by signal {-code}" if code < 0 else f"with {code}"
        raise DocumentRefused(path, "unreadable", f"--extract ended {ended}{': ' if words else ''}{words}")
    if not output.strip():
        raise DocumentRefused(path, "no_text", "--extract printed nothing")
    return output


def _line(command: str, copy: Path, memory: int) -> str:
    """
    >>> _line("pdftotext {} -", Path("/t/a.pdf"), 1024)
    'ulimit -d 1 2>/dev/null; pdftotext /t/a.pdf -'
    """
    quoted = shlex.quote(str(copy))
    whole = command.replace("{}", quoted) if "{}" in command else f"{command} {quoted}"
    return f"ulimit -d {memory // 1024} 2>/dev/null; {whole}"


def _run(line: str, path: str, seconds: float, most: int) -> tuple[int, bytes, str]:
    """Exit code, output, and the last words on standard error."""
    process = subprocess.Popen(  # noqa: S602 - the command is the user's own, as in cron
        line,
        shell=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    until = monotonic() + seconds
    output, tail = bytearray(), bytearray()
    try:
        with selectors.DefaultSelector() as ready:
            ready.register(process.stdout, selectors.EVENT_READ)
            ready.register(process.stderr, selectors.EVENT_READ)
            while ready.get_map():
                events = ready.select(max(0.0, until - monotonic()))
                if not events:
                    raise DocumentRefused(path, "too_large", f"--extract took longer than {seconds:,.0f} s")
                for key, _ in events:
                    block = os.read(key.fd, _BLOCK)
                    if not block:
                        ready.unregister(key.fileobj)
                    elif key.fileobj is process.stdout:
                        output += block
                    else:
                        tail += block
                        del tail[:-_LAST_WORDS]
                if len(output) > most:
                    raise DocumentRefused(path, "too_large", f"--extract printed more than {most:,} bytes")
        try:
            code = process.wait(max(0.1, until - monotonic()))
        except subprocess.TimeoutExpired as error:
            message = f"--extract took longer than {seconds:,.0f} s"
            raise DocumentRefused(path, "too_large", message) from error
    finally:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)  # what it left running goes with it
        process.wait()
        process.stdout.close()
        process.stderr.close()
    return code, bytes(output), " ".join(bytes(tail).decode("utf-8", "replace").split())[-300:]

"""Standard output and standard error as the commands use them.

Text from hosts, files and people is written through ``terminal_safe``, also where a file or a pager stands before the
terminal; only ``machine_output`` is exact. A reader that has gone away, or a
terminal that was closed, never ends a command with an error: what is written from then on is dropped.
"""

import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO, cast

from worker.observability.terminal import terminal_safe


class LenientStream:
    """A text stream that drops what is written after its reader has gone."""

    def __init__(self, raw: TextIO, *, safe: bool = False, trim: bool = False) -> None:
        self._raw = raw
        self._safe = safe
        self._trim = trim

    def write(self, text: str) -> int:
        text_out = terminal_safe(text) if self._safe else text
        if self._trim and " \n" in text_out:
            text_out = "\n".join(line.rstrip(" ") for line in text_out.split("\n"))
        try:
            try:
                self._raw.write(text_out)
            except UnicodeEncodeError:  # bytes of a file's name, or signs that the terminal's encoding lacks
                coding = self._raw.encoding or "ascii"
                self._raw.write(text_out.encode(coding, "backslashreplace").decode(coding))
        except (OSError, ValueError) as error:
            _drop(self._raw, error)
        return len(text)

    def flush(self) -> None:
        try:
            self._raw.flush()
        except (OSError, ValueError) as error:
            _drop(self._raw, error)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    @property
    def drawing(self) -> TextIO:
        """The same stream for a console, which draws with control sequences of its own and cleans its texts. Off a
        terminal the blanks that fill the columns of a table to its end are left out."""
        return cast(TextIO, LenientStream(self._raw, trim=not self._raw.isatty()))

    @property
    def exact(self) -> TextIO:
        """The stream beneath, which raises BrokenPipeError when its reader has gone."""
        return self._raw

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)


def _drop(raw: TextIO, error: Exception) -> None:
    """Let nothing more be written there. Raises ``error`` where it is another than a reader or a terminal that has gone."""
    import errno

    gone = isinstance(error, BrokenPipeError) or (
        isinstance(error, OSError) and error.errno in (errno.EIO, errno.EBADF, errno.ENXIO)
    )
    if isinstance(error, ValueError) and not raw.closed:
        raise error
    if isinstance(error, OSError) and not gone:
        raise error
    _into_nothing(raw)


def _into_nothing(raw: TextIO) -> None:
    """Point the descriptor of a stream at the null device, so that its buffer can be flushed at the end."""
    try:
        number = raw.fileno()
    except (OSError, ValueError):
        return
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, number)
    os.close(null)


def drawing(stream: TextIO) -> TextIO:
    """What a console writes to in place of ``stream``."""
    return cast(TextIO, getattr(stream, "drawing", stream))


def say(text: str) -> None:
    """Write lines for people to standard error; on a terminal they are folded between words."""
    if sys.stderr.isatty():
        from worker.cli.plain import folded
        from worker.cli.wrapping import columns_of

        width = columns_of(sys.stderr)()
        text = "\n".join(folded(line, width) for line in text.split("\n"))
    sys.stderr.write(f"{text}\n")


@contextmanager
def standard_streams() -> Iterator[None]:
    """Put lenient streams in place of standard output and standard error, and open those that were closed."""
    for number, mode in ((0, "r"), (1, "w"), (2, "w")):
        _open_closed(number, mode)
    before = sys.stdout, sys.stderr
    for stream in before:
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a letter that the locale has not is spelt
            if stream is before[0] and not stream.isatty():
                stream.reconfigure(
                    encoding="utf-8"
                )  # what a script or a file takes, as in the files written here
    sys.stdout, sys.stderr = (cast(TextIO, LenientStream(one, safe=True)) for one in before)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = before


def _open_closed(number: int, mode: str) -> None:
    """A descriptor that was closed by the caller would be given to the next file that is opened, a database perhaps."""
    try:
        os.fstat(number)
    except OSError:
        null = os.open(os.devnull, os.O_RDWR)
        if null != number:
            os.dup2(null, number)
            os.close(null)
    name = ("stdin", "stdout", "stderr")[number]
    if getattr(sys, name) is None:
        setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115 - stays open


@contextmanager
def machine_output() -> Iterator[TextIO]:
    """Standard output for JSON lines and CSV: UTF-8 in every locale, and exact where it is no terminal.

    Raises BrokenPipeError when the reader has gone: writing on would be for nobody.
    """
    stream: Any = getattr(sys.stdout, "exact", sys.stdout)
    if hasattr(stream, "reconfigure"):
        stream.flush()
        stream.reconfigure(encoding="utf-8", newline="")  # Windows would add a carriage return
    if stream.isatty():
        yield sys.stdout
    else:
        yield cast(TextIO, stream)
        stream.flush()


def reader_gone() -> bool:
    """Whether whoever read standard output has closed it. False where that cannot be known."""
    try:
        number = sys.stdout.fileno()
        poll = select.poll()
    except (AttributeError, OSError, ValueError):
        return False
    poll.register(number, 0)
    return any(events & (select.POLLERR | select.POLLHUP) for _, events in poll.poll(0))

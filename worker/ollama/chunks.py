"""The body of a chunked response (RFC 9112, section 7.1) from its bytes, cut anywhere. Pure: no I/O."""

import http.client

from worker.replies.wording import printable

LONGEST_LINE = 65_536
"""Bytes of a length with its extensions, or of a field of the trailer."""
_DIGITS = b"0123456789abcdefABCDEF"


class BrokenChunks(http.client.HTTPException):
    """A body that is said to be chunked, and is not."""


class ChunkedBody:
    """What ``feed`` has been given so far.

    ``problem`` says why it is no chunked body: nothing more is read of it then, and what came before is worth its own.
    """

    def __init__(self) -> None:
        self.problem: str | None = None
        self.has_ended = False
        """The last line of the trailer came. What came behind it belongs to nobody."""
        self.is_whole = False
        """All chunks came; some servers close the connection then, without a trailer."""
        self.rest = b""
        """The beginning of a line, or what came behind the end."""
        self._left = 0
        """Bytes of the chunk that have not come yet."""
        self._break_is_next = False

    def feed(self, data: bytes) -> bytes:
        """What the chunks in ``data`` hold; nothing where it has only a part of a line."""
        if self.rest:
            data = self.rest + data
        pieces: list[bytes] = []
        at = 0
        while self.problem is None and not self.has_ended:
            if self._left:
                piece = data[at : at + self._left]
                if not piece:
                    break
                pieces.append(piece)
                at += len(piece)
                self._left -= len(piece)
                continue
            end = data.find(b"\n", at)
            if end < 0:
                if len(data) - at > LONGEST_LINE:
                    self.problem = f"a line of more than {LONGEST_LINE:,} bytes between chunks"
                break
            self._read_line(data[at:end].rstrip())
            at = end + 1
        self.rest = data[at:]
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _read_line(self, line: bytes) -> None:
        if self._break_is_next:
            self._break_is_next = False
            if line:
                self.problem = "a chunk is longer than its length says"
        elif self.is_whole:
            self.has_ended = not line
        else:
            digits = line.partition(b";")[0].strip()
            if not digits or digits.strip(_DIGITS):
                self.problem = f"{printable(digits[:20])!r} is not the length of a chunk"
                return
            self._left = int(digits, 16)
            self.is_whole = self._left == 0
            self._break_is_next = not self.is_whole

"""Which text leaves the runner when: whole characters, and nothing that may yet become a stop string.

Source: ``runner/common/stop.go``, ``runner/llamarunner/runner.go``.
"""

from collections.abc import Sequence


class Pieces:
    """Takes a token's bytes at a time, gives back the text that may be sent."""

    def __init__(self, stop: Sequence[str]) -> None:
        self._stop = tuple(stop)
        self._bytes = b""
        self._text = ""
        self.stopped = False

    def add(self, piece: bytes) -> str | None:
        """The text that is ready now; None while it is held back. ``stopped`` tells that a stop string came."""
        if self._bytes:
            piece = self._bytes + piece
            self._bytes = b""
        if not piece.isascii():
            whole = _whole_characters(piece)
            self._bytes = piece[whole:]
            piece = piece[:whole]
        self._text += piece.decode("utf-8", "replace")
        if self._stop:
            cut = self._find_stop()
            if cut >= 0:
                self._text, self._bytes = self._text[:cut], b""
                self.stopped = True
                return self.flush()
            if any(_ends_with_beginning(self._text, stop) for stop in self._stop):
                return None
        if self._bytes:
            return None
        text, self._text = self._text, ""
        return text

    def flush(self) -> str:
        """What was held back, at the end."""
        text = self._text + self._bytes.decode("utf-8", "ignore")
        self._text, self._bytes = "", b""
        return text

    def _find_stop(self) -> int:
        places = [self._text.find(stop) for stop in self._stop]
        return min((place for place in places if place >= 0), default=-1)


def _whole_characters(piece: bytes) -> int:
    """How many bytes of ``piece`` make whole UTF-8 characters (invalid bytes count as whole)."""
    for back in range(1, min(4, len(piece)) + 1):
        byte = piece[-back]
        if byte & 0xC0 == 0x80:
            continue
        length = 4 if byte & 0xF8 == 0xF0 else 3 if byte & 0xF0 == 0xE0 else 2 if byte & 0xE0 == 0xC0 else 1
        return len(piece) - back if length > back else len(piece)
    return len(piece)


def _ends_with_beginning(text: str, stop: str) -> bool:
    return any(text.endswith(stop[:length]) for length in range(1, len(stop) + 1))

"""How a server splits reasoning from the answer when the template tells it the tags.

Source: ``thinking/parser.go``: only a tag at the very start opens, only the first closing tag closes, white space
around both is eaten, and what is held back as a possible tag is never flushed.
"""

from enum import Enum, auto


class _State(Enum):
    LOOKING = auto()
    OPENED = auto()
    THINKING = auto()
    CLOSED = auto()
    DONE = auto()


class ThinkingParser:
    """Feed it what the model says, piece by piece; it returns (thinking, content) for each piece."""

    def __init__(self, opening: str, closing: str, *, opened: bool = False) -> None:
        self._opening = opening
        self._closing = closing
        self._state = _State.OPENED if opened else _State.LOOKING
        self._held = ""

    def add(self, piece: str) -> tuple[str, str]:
        if self._state is _State.DONE:
            return "", piece
        self._held += piece
        thinking: list[str] = []
        content: list[str] = []
        while self._step(thinking, content):
            pass
        return "".join(thinking), "".join(content)

    def _step(self, thinking: list[str], content: list[str]) -> bool:
        """Move on by one state; False when more text is needed."""
        match self._state:
            case _State.LOOKING:
                return self._look(content)
            case _State.OPENED:
                self._held = self._held.lstrip()
                if not self._held:
                    return False
                self._state = _State.THINKING
                return True
            case _State.THINKING:
                return self._think(thinking)
            case _State.CLOSED:
                self._held = self._held.lstrip()
                if not self._held:
                    return False
                self._state = _State.DONE
                return True
            case _State.DONE:
                content.append(self._held)
                self._held = ""
                return False

    def _look(self, content: list[str]) -> bool:
        text = self._held.lstrip()
        if text.startswith(self._opening):
            self._held = text[len(self._opening) :].lstrip()
            self._state = _State.OPENED if not self._held else _State.THINKING
            return bool(self._held)
        if self._opening.startswith(text):
            return False
        self._state = _State.DONE
        return True

    def _think(self, thinking: list[str]) -> bool:
        before, tag, after = self._held.partition(self._closing)
        if tag:
            thinking.append(before)
            self._held = after.lstrip()
            self._state = _State.CLOSED if not self._held else _State.DONE
            return bool(self._held)
        keep = overlap(self._held, self._closing)
        ready = len(self._held) - keep
        thinking.append(self._held[:ready])
        self._held = self._held[ready:]
        return False


def overlap(text: str, tag: str) -> int:
    """How many characters at the end of ``text`` may be the beginning of ``tag``."""
    for length in range(min(len(text), len(tag) - 1), 0, -1):
        if text.endswith(tag[:length]):
            return length
    return 0

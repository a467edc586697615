"""How text becomes token ids on a simulated model, and back.

Two vocabularies. A scripted one is small and exact: 0 is <unk>, 1 the start token, 2 the end token, 3 to 258 the
bytes, 259 to 262 the role marks, then the model's pieces; a space outside a piece is U+2581. The wide one serves
models that speak prose: about four characters of English or one Chinese character a token, the same ids on every
host, reversible for any text.
"""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final, Protocol

UNKNOWN, START, END = 0, 1, 2
BYTE: Final = 3
ROLE_MARKS: Final = {259: "<|system|>", 260: "<|user|>", 261: "<|assistant|>", 262: "<|end|>"}
FIRST_PIECE: Final = 263
_SPACE_MARK: Final = "\u2581"


class UnknownToken(ValueError):
    """A token id that the vocabulary does not have."""

    def __init__(self, token: int, size: int) -> None:
        super().__init__(f"token {token} of {size}")
        self.token = token
        self.size = size


class Vocabulary(Protocol):
    @property
    def size(self) -> int: ...

    def encode(self, text: str) -> list[int]:
        """The ids of a text, without the start token."""
        ...

    def piece(self, token: int) -> bytes:
        """What a token adds to the text.

        Raises:
            UnknownToken: there is no such id.
        """
        ...

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of token ids.

        Raises:
            UnknownToken: an id does not exist.
        """
        ...


class ScriptedVocabulary:
    """The vocabulary of a model that speaks from a table."""

    def __init__(self, pieces: Mapping[int, str]) -> None:
        texts = {**ROLE_MARKS, **pieces}
        self.size = max(texts) + 1
        self._ids = {text: token for token, text in texts.items()}
        self._pieces: dict[int, bytes] = {token: text.encode() for token, text in texts.items()}
        self._pieces.update({UNKNOWN: b"<unk>", START: b"", END: b""})
        self._pieces.update({BYTE + byte: bytes([byte]) for byte in range(256)})
        longest_first = sorted(self._ids, key=len, reverse=True)
        self._parts = re.compile("(" + "|".join(map(re.escape, longest_first)) + ")")

    def encode(self, text: str) -> list[int]:
        tokens: list[int] = []
        for position, part in enumerate(self._parts.split(text)):
            if position % 2:
                tokens.append(self._ids[part])
            else:
                tokens.extend(BYTE + byte for byte in part.replace(" ", _SPACE_MARK).encode())
        return tokens

    def piece(self, token: int) -> bytes:
        try:
            return self._pieces[token]
        except KeyError:
            raise UnknownToken(token, self.size) from None

    def decode(self, tokens: Sequence[int]) -> str:
        text = b"".join(map(self.piece, tokens)).decode("utf-8", "replace")
        return text.replace(_SPACE_MARK, " ")


_MARKS: Final = (*ROLE_MARKS.values(), "<think>", "</think>")
_WIDE_PART = re.compile(
    "|".join(map(re.escape, _MARKS)) + r"| ?(?:[A-Z][a-z]{0,2}|[a-z]{1,3}|[0-9]{1,3})|[\u4e00-\u9fff]|[\s\S]"
)
_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz"
_DIGITS: Final = "0123456789"
_FIRST_HAN: Final = BYTE + 256
_FIRST_WORD: Final = _FIRST_HAN + 0x9FFF - 0x4E00 + 1


def _words() -> list[str]:
    """Every run of one to three letters or digits, small and capitalised, with and without a space before it."""
    runs: list[str] = []
    for alphabet in (_LETTERS, _DIGITS):
        layer = [""]
        for _ in range(3):
            layer = [run + character for run in layer for character in alphabet]
            runs += layer
    runs += [run.capitalize() for run in runs if run[0] in _LETTERS]
    return runs + [" " + run for run in runs]


@lru_cache(maxsize=1)
def _word_table() -> tuple[list[bytes], dict[str, int]]:
    words = _words()
    return [word.encode() for word in words], {word: _FIRST_WORD + place for place, word in enumerate(words)}


class WideVocabulary:
    """The vocabulary of models that speak prose; two models with the same ``size`` share it.

    As with real models the role marks have the highest ids: a context of a model with a larger vocabulary holds
    ids that this one does not have.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._words, ids = _word_table()
        self._ids = dict(ids)
        self._first_mark = size - len(_MARKS)
        for place, mark in enumerate(_MARKS):
            self._ids[mark] = self._first_mark + place

    @property
    def closing_mark(self) -> int:
        """The id of </think>."""
        return self._ids["</think>"]

    @staticmethod
    def is_han(token: int) -> bool:
        """Whether a token is a Chinese character."""
        return _FIRST_HAN <= token < _FIRST_WORD

    def encode(self, text: str) -> list[int]:
        known = self._ids.get
        tokens: list[int] = []
        for part in _WIDE_PART.findall(text):
            token = known(part)
            if token is not None:
                tokens.append(token)
            elif "\u4e00" <= part <= "\u9fff":
                tokens.append(_FIRST_HAN + ord(part) - 0x4E00)
            else:
                tokens.extend(BYTE + byte for byte in part.encode())
        return tokens

    def piece(self, token: int) -> bytes:
        if not 0 <= token < self.size:
            raise UnknownToken(token, self.size)
        if token >= self._first_mark:
            return _MARKS[token - self._first_mark].encode()
        if token >= _FIRST_WORD:
            place = token - _FIRST_WORD
            return self._words[place] if place < len(self._words) else b""
        if token >= _FIRST_HAN:
            return chr(0x4E00 + token - _FIRST_HAN).encode()
        return bytes([token - BYTE]) if token >= BYTE else b""

    def decode(self, tokens: Sequence[int]) -> str:
        return b"".join(map(self.piece, tokens)).decode("utf-8", "replace")


@lru_cache(maxsize=64)
def wide_vocabulary(size: int) -> WideVocabulary:
    """The wide vocabulary of that size; built once."""
    return WideVocabulary(size)

"""Text that is written on a terminal piece by piece, with lines that end between words."""

import os
from collections.abc import Callable
from typing import TextIO
from unicodedata import east_asian_width

from worker.cli.plain import cells

NO_WRAP = ("```", "~~~", "|")
"""How lines begin that are left as they are: the fences of code, and rows of tables."""
NEAR = 30
"""Columns before the edge in which a word is held back until its end has come. Further away each piece is written at once."""
_NEVER_FIRST = frozenset(
    "、。，．！？；：）」』】》〉〕’”…ー々ぁぃぅぇぉっゃゅょァィゥェォッャュョ,.!?;:)]}%\"'"
)
_NEVER_LAST = frozenset("（「『【《〈〔‘“([{\"'")


class WordWrap:
    """Writes what is put with ``write``, in lines of at most ``width()`` columns."""

    def __init__(self, write: Callable[[str], object], width: Callable[[], int]) -> None:
        self._write, self._width = write, width
        self._columns = width()
        self._column = 0
        self._word = ""
        """What is not written yet, as the word may have to begin the next line."""
        self._begun = False
        """The beginning of that word is written already."""
        self._line = ""
        """The beginning of the line of the text."""
        self._code = False

    def put(self, text: str) -> None:
        """Write the next piece of the text."""
        columns = self._width()
        if columns != self._columns:  # the terminal has folded the line anew
            self._columns, self._column = columns, self._column % columns
        for sign in text:
            if sign == "\n":
                self._end_line()
                continue
            if len(self._line.lstrip()) < 3:
                self._line += sign
            if sign.isspace():
                self._end_word()
                self._space(sign)
            else:
                if self._word and not self._as_it_is and _may_part(self._word[-1], sign):
                    self._end_word()
                self._word += sign
        if self._column + NEAR <= columns or self._as_it_is:
            self._put_word()

    def end(self) -> None:
        """Write what is held back; what is put next begins a line."""
        self._end_word()
        self._column, self._line, self._code = 0, "", False

    @property
    def _as_it_is(self) -> bool:
        return self._code or self._line.lstrip().startswith(NO_WRAP)

    def _end_line(self) -> None:
        self._end_word()
        self._write("\n")
        if self._line.lstrip().startswith(NO_WRAP[:2]):
            self._code = not self._code
        self._column, self._line = 0, ""

    def _space(self, sign: str) -> None:
        if self._column < self._columns or self._as_it_is:  # at the edge the end of the line stands for it
            self._write(sign)
            self._column += 8 - self._column % 8 if sign == "\t" else cells(sign)

    def _end_word(self) -> None:
        self._put_word()
        self._begun = False

    def _put_word(self) -> None:
        if not self._word:
            return
        width = cells(self._word)
        if self._column + width > self._columns and not self._as_it_is:
            if not self._begun and self._column:
                self._write("\n")
                self._column = 0
            if self._column + width > self._columns:  # no line takes it: the terminal folds it
                self._column %= self._columns
        self._write(self._word)
        self._column += width
        if width > self._columns:
            self._column %= self._columns
        self._word, self._begun = "", True


def _may_part(before: str, after: str) -> bool:
    """Whether a line may end between these two signs of a word: beside one of Chinese or Japanese."""
    return (
        (_stands_alone(before) or _stands_alone(after))
        and before not in _NEVER_LAST
        and after not in _NEVER_FIRST
    )


def _stands_alone(sign: str) -> bool:
    return east_asian_width(sign) in "WF" and not "\uac00" <= sign <= "\ud7a3"  # Korean has spaces


def columns_of(stream: TextIO) -> Callable[[], int]:
    """How wide the terminal of the stream is now."""

    def columns() -> int:
        try:
            return os.get_terminal_size(stream.fileno()).columns or 80
        except (OSError, ValueError):
            return 80

    return columns

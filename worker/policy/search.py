"""The words of a query, the tokens of a text, and whether the text really holds the words.

Words of scripts with spaces are tokens as they are; Chinese, Japanese, Korean, Thai and their like are cut into pairs of
characters. Tokens find candidates, the text itself decides: a pair that stands across two words is never shown as a hit.
"""

import re
import unicodedata
from dataclasses import dataclass
from functools import cached_property

from worker.errors import CaravanError, InputRefused, Problem
from worker.records import record

LONGEST = 40
"""Characters of a word that are kept as its token."""
AROUND = 60
"""Characters that are shown on each side of a hit."""
PAIRED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u2fff\u3005-\u3007\u3040-\u30ff\u3100-\u312f"
    "\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff"
)
"""Scripts written without spaces, or, as Korean, with endings that hang on to the word."""
_WORD = f"[^\\W_{PAIRED}]"
_RUN = re.compile(f"[{PAIRED}]+|{_WORD}+")
_PAIRS = re.compile(f"[{PAIRED}]")
_TERM = re.compile(r'(-?)(?:"([^"]*)"?|(\S+))')


class _Folds(dict[int, str]):
    def __missing__(self, code: int) -> str:
        plain = unicodedata.normalize("NFKC", chr(code)).casefold()
        parts = unicodedata.normalize("NFD", plain)
        bare = "".join(part for part in parts if not "\u0300" <= part <= "\u036f")
        folded = self[code] = unicodedata.normalize("NFC", bare)
        return folded


_FOLDS = _Folds()


def fold(text: str) -> str:
    """Without case, accents and widths.

    >>> fold("Ｃafé ÉTÉ Straße")
    'cafe ete strasse'
    """
    return text.lower() if text.isascii() else unicodedata.normalize("NFC", text).translate(_FOLDS).casefold()


def tokens(text: str) -> set[str]:
    """What a text is found by. The last character of a run is a token too: with it every character begins one.

    >>> sorted(tokens("GPU 显存不足"))
    ['gpu', '不足', '存不', '显存', '足']
    """
    grams: set[str] = set()
    for run in _RUN.findall(fold(text)):
        if _PAIRS.match(run):
            grams.update(run[at : at + 2] for at in range(len(run)))
        else:
            grams.add(run[:LONGEST])
    return grams


@dataclass(frozen=True)
class Term:
    """A word or a phrase."""

    text: str
    """Folded, with single spaces."""
    prefix: bool = False
    """Any word that begins so."""

    @cached_property
    def tokens(self) -> tuple[tuple[str, bool], ...]:
        """Tokens that a text with this term has, and whether each stands for all that begin so."""
        pieces: list[tuple[str, bool]] = []
        for run in _RUN.finditer(self.text):
            text, last = run.group(), run.end() == len(self.text)
            if not _PAIRS.match(text):
                pieces.append((text[:LONGEST], self.prefix and last))
            elif len(text) == 1:
                pieces.append((text, True))
            else:
                pieces += [(text[at : at + 2], False) for at in range(len(text) - 1)]
        return tuple(dict.fromkeys(pieces))

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """Finds it in a folded text: whole words, where words have ends."""
        regex = r"\s+".join(re.escape(part) for part in self.text.split())
        if re.match(_WORD, self.text[0]):
            regex = f"(?<!{_WORD}){regex}"
        if re.match(_WORD, self.text[-1]) and not self.prefix:
            regex = f"{regex}(?!{_WORD})"
        return re.compile(regex)


@record
class WordQuery:
    """What is searched for."""

    terms: tuple[Term, ...]
    """All of these."""
    excluded: tuple[Term, ...] = ()
    """None of these."""

    def fits(self, *texts: str | None) -> bool:
        """Whether every term is in one of the texts, and no excluded term in any."""
        folded = [fold(text) for text in texts if text]
        return all(any(term.pattern.search(text) for text in folded) for term in self.terms) and not any(
            term.pattern.search(text) for term in self.excluded for text in folded
        )


def parse(words: str) -> WordQuery:
    """Words, ``"phrases"``, ``-without``, ``begin*``. Raises InputRefused where nothing is left to search for.

    >>> parse('gpu "out of memory" -swap').terms
    (Term(text='gpu', prefix=False), Term(text='out of memory', prefix=False))
    """
    terms: list[Term] = []
    excluded: list[Term] = []
    for minus, phrase, word in _TERM.findall(words.replace("“", '"').replace("”", '"')):
        term = phrase or word
        text = " ".join(fold(term.rstrip("*")).split())
        if not _RUN.search(text):
            if term:
                raise _refused(f"{term!r} has no letter and no digit in it")
            continue
        (excluded if minus else terms).append(Term(text, term.endswith("*")))
    if not terms:
        raise _refused(
            "only words that are not wanted were given" if excluded else "no words to search for were given"
        )
    return WordQuery(tuple(terms), tuple(excluded))


def _refused(message: str) -> CaravanError:
    return InputRefused([Problem(0, "words", "search", message)])


def snippet(text: str, query: WordQuery) -> str | None:
    """The surroundings of the first hit, in one line, the hits in it marked; None without one."""
    folded, places = _folded_with_places(text)
    text = unicodedata.normalize("NFC", text)
    spans = sorted(
        (places[hit.start()], places[hit.end() - 1] + 1)
        for term in query.terms
        for hit in term.pattern.finditer(folded)
    )
    if not spans:
        return None
    begin, end = max(0, spans[0][0] - AROUND), min(len(text), spans[0][1] + AROUND)
    parts, at = [], begin
    for first, last in spans:
        if first < at or last > end:
            continue
        parts += [text[at:first], "[", text[first:last], "]"]
        at = last
    parts.append(text[at:end])
    shown = " ".join("".join(parts).split())
    return f"{'…' if begin else ''}{shown}{'…' if end < len(text) else ''}"


def _folded_with_places(text: str) -> tuple[str, list[int]]:
    """The folded text, and for each of its characters the place in the text (NFC) that it came from."""
    parts: list[str] = []
    places: list[int] = []
    for at, sign in enumerate(unicodedata.normalize("NFC", text)):
        folded = fold(sign)
        parts.append(folded)
        places += [at] * len(folded)
    return "".join(parts), places

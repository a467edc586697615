"""Rates how likely bytes are text in one encoding or another.

Validity says little: nearly every Korean text in CP949 is also valid GB18030. So the text that each encoding would give is
weighed by how common its characters are in the language, in bits (-log2 of a probability), over the same bytes: the reading
with the fewest bits is the likeliest, and each bit that another one is behind halves its chance. Pure.
"""

import codecs
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib.resources import files

from worker.documents.encodings import ENCODINGS
from worker.records import record

AHEAD = 16.0
"""Bits by which the likeliest reading must lead every other text."""
PLAUSIBLE = 13.0
"""Bits of each character beyond ASCII, on average: texts have 7 to 11, accidents 15 and more."""
FEWEST = 2
"""Characters beyond ASCII: fewer are an accident too easily."""

_LARGER = {"euc_jis_2004": "euc_jp", "big5hkscs": "cp950"}
SINGLE_BYTE = (
    *("cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "cp1258", "cp874"),
    *("koi8_r", "cp850", "cp437", "cp866", "mac_roman"),
)
"""Code pages of one byte a character: never read without being named, but they may be what a file is."""

_PUNCTUATION = "、。，．！？：；（）「」『』【】《》〈〉“”‘’…—～〜・·　–％〔〕"
_SYMBOLS = "※★☆●○◎■□◆◇▲△▼▽→←↑↓〒＋－−×÷＝≠≤≥℃‰€￥￦＄＃＆＊＠／＼＿｜①②③④⑤⑥⑦⑧⑨⑩㈱㈜№♪♥♡々〇ー々ヶヵ"
_FULLWIDTH = re.compile(r"[\uff10-\uff19\uff21-\uff3a\uff41-\uff5a]")


@record
class Reading:
    """What one encoding makes of some bytes."""

    encoding: str
    text: str
    bits: float
    """Of all of it."""
    mean: float
    """Bits of a character beyond ASCII."""
    characters: int
    """Beyond ASCII."""


def readings(data: bytes) -> list[Reading]:
    """Every reading of ``data``, the likeliest first; its last character may be cut off."""
    candidates: dict[str, Reading] = {}
    for encoding, languages in ENCODINGS.items():
        text = _decoded(data, encoding)
        if text is not None and _LARGER.get(encoding) not in candidates:
            candidates[encoding] = min(
                (_reading(encoding, text, _cost_of(language)) for language in languages),
                key=lambda reading: reading.bits,
            )
    for encoding in SINGLE_BYTE:
        text = _decoded(data, encoding)
        if text is not None:
            candidates[encoding] = alphabetic(encoding, text)
    return sorted(candidates.values(), key=lambda reading: reading.bits)


def likeliest(data: bytes) -> tuple[str | None, list[str]]:
    """The encoding that ``data`` is surely in, or None; and those that it may be in, the likeliest first."""
    ranking = readings(data)
    if not ranking:
        return None, []
    best = ranking[0]
    rivals = [
        reading for reading in ranking[1:] if reading.bits - best.bits < AHEAD and reading.text != best.text
    ]
    candidates = [reading.encoding for reading in (best, *rivals)]
    sure = best.encoding in ENCODINGS and not rivals and best.mean <= PLAUSIBLE and best.characters >= FEWEST
    return (best.encoding if sure else None), candidates


def ambiguous_utf8(data: bytes) -> str | None:
    """The encoding that a few characters of valid UTF-8 may just as well be in; None where UTF-8 is likelier.

    Only letters of two bytes can be both. The two characters of ``联通`` in GB18030 are the known case.
    """
    text = _decoded(data, "utf-8") or ""
    if any(sign >= "\u0800" for sign in text):
        return None
    as_utf8 = alphabetic("utf-8", text)
    best = readings(data)[0]
    if best.encoding not in ENCODINGS or best.mean > PLAUSIBLE:
        return None
    return best.encoding if best.bits + AHEAD / 2 < as_utf8.bits else None


def implausible(text: str, encoding: str) -> bool:
    """Whether a stretch of a text in ``encoding`` reads as nothing that is written in it; short ones never do."""
    counts = Counter(text)
    many = sum(count for sign, count in counts.items() if sign > "\x7f")
    if many < 64:
        return False
    return all(
        _weight(counts, _cost_of(language))[1] > (PLAUSIBLE + 2) * many for language in ENCODINGS[encoding]
    )


def _decoded(data: bytes, encoding: str) -> str | None:
    try:
        return codecs.getincrementaldecoder(encoding)().decode(data, final=False)
    except UnicodeDecodeError:
        return None


def _reading(encoding: str, text: str, cost: "_Cost") -> Reading:
    counts = Counter(text)
    bits, beyond = _weight(counts, cost)
    characters = sum(count for sign, count in counts.items() if sign > "\x7f")
    odd = 5.0 * len(_LONELY.findall(text))
    return Reading(encoding, text, bits + odd, (beyond + odd) / max(1, characters), characters)


_LONELY = re.compile(r"(?<=[A-Za-z])[^\x00-\x7f](?![^\x00-\x7f])|(?<![^\x00-\x7f])[^\x00-\x7f](?=[A-Za-z])")
"""One character beyond ASCII that touches a plain letter: as an accented letter does, and few others."""


def _weight(counts: Counter[str], cost: "_Cost") -> tuple[float, float]:
    """Bits of all characters, and of those beyond ASCII."""
    bits = beyond = 0.0
    for sign, count in counts.items():
        size = cost.of(sign) * count
        bits += size
        if sign > "\x7f":
            beyond += size
    return bits, beyond


class _Cost:
    """Bits of each character in one language."""

    def __init__(self, language: str, common: Mapping[str, int]) -> None:
        self._language = language
        self._known: dict[str, float] = dict.fromkeys(_SYMBOLS, 12.0)
        self._known |= dict.fromkeys(_PUNCTUATION, 7.0)
        self._known |= common

    def of(self, sign: str) -> float:
        known = self._known.get(sign)
        if known is None:
            known = self._known[sign] = self._unlisted(sign)
        return known

    def _unlisted(self, sign: str) -> float:
        code = ord(sign)
        if code < 0x80:
            return _ascii(sign)
        if _FULLWIDTH.match(sign):
            return 11.0
        if 0xE000 <= code <= 0xF8FF or 0x80 <= code < 0xA0:
            return 30.0
        if 0xFF61 <= code <= 0xFF9F:  # kana of half width: a byte each
            return 9.0 if self._language == "ja" else 22.0
        if code >= 0x1F000:
            return 20.0
        if 0x3041 <= code <= 0x30FF:
            return 11.0 if self._language == "ja" else 15.0
        rare = {
            "zh-hans": _holds(sign, "gb2312"),
            "zh-hant": _holds(sign, "big5"),
            "ja": _holds(sign, "shift_jis"),
            "ko": _holds(sign, "euc_kr"),
        }[self._language]
        return 18.0 if rare else 21.0


def _ascii(sign: str) -> float:
    if sign.isalnum() or sign in " \t\r\n":
        return 6.0
    return 8.0 if sign.isprintable() else 20.0


def _holds(sign: str, encoding: str) -> bool:
    try:
        sign.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


@lru_cache(maxsize=8)
def _cost_of(language: str) -> _Cost:
    return _Cost(language, _tables()[language])


@lru_cache(maxsize=1)
def _tables() -> dict[str, dict[str, int]]:
    tables: dict[str, dict[str, int]] = {}
    text = files("worker.documents").joinpath("frequencies.txt").read_text(encoding="utf-8")
    for line in text.splitlines():
        if not line.startswith("#"):
            language, bits, signs = line.split(" ", 2)
            tables.setdefault(language, {}).update(dict.fromkeys(signs, int(bits)))
    return tables


def alphabetic(encoding: str, text: str) -> Reading:
    """``text`` weighed as one in an alphabet, whichever: its letters mostly small, few of them accented between plain ones."""
    bits = beyond = 0.0
    characters = 0
    for before, sign, after in _triples(text):
        if sign <= "\x7f":
            bits += _ascii(sign)
            continue
        size = _letter(before, sign, after)
        bits += size
        beyond += size
        characters += 1
    return Reading(encoding, text, bits, beyond / max(1, characters), characters)


def _triples(text: str) -> Iterator[tuple[str, str, str]]:
    return zip(" " + text[:-1], text, text[1:] + " ", strict=True)


def _letter(before: str, sign: str, after: str) -> float:
    if unicodedata.category(sign)[0] not in "LM":
        return 9.0 if sign in "–—‘’“”„«»…€£§©®°·\xa0´№" else 14.0
    latin = sign < "\u0250" or "\u1e00" <= sign < "\u1f00"
    if (
        "\u0180" <= sign < "\u0370"
        and sign not in "ƏəƠơƯưȘșȚțƒƎǝƁƊƘƙɓɗɛɔŋʻʼ\u0300\u0301\u0303\u0308\u0309\u0323"
    ):
        return 18.0
    if latin:
        plain = sum(neighbour.isascii() and neighbour.isalpha() for neighbour in (before, after))
        alone = 0 if plain else 6
        return (7.0 if sign.islower() else 9.0) + alone + (4 if sign.isupper() and before.islower() else 0)
    mixed = any(neighbour.isascii() and neighbour.isalpha() for neighbour in (before, after))
    capital = sign.isupper() and before.islower()
    return (8.5 if sign.isupper() else 5.5) + (8 if mixed else 0) + (6 if capital else 0)

"""Superscripts, subscripts and struck text on one line: ``10^6`` and never ``106``.

Readers put marks around them, which are control characters that no text has; ``spell_marks`` makes words of the marks once the
text around them is known.
"""

import re

RAISED, LOWERED, STRUCK, LEVEL = "\x0e", "\x0f", "\x10", "\x11"
"""The first three begin what ``LEVEL`` ends."""
_MARKS = RAISED + LOWERED + STRUCK + LEVEL
_INNERMOST = re.compile(rf"([{RAISED}{LOWERED}{STRUCK}])([^{_MARKS}]*){LEVEL}")
_FRACTION = re.compile(rf"{RAISED}\s*(\d+)\s*{LEVEL}\s*[/⁄]\s*{LOWERED}\s*(\d+)\s*{LEVEL}")
_NEIGHBOURS = re.compile(rf"(([{RAISED}{LOWERED}{STRUCK}])[^{_MARKS}]*){LEVEL}\2")
_BARE = re.compile(r"[+\-−–]?\w+(?:[.,]\w+)*[+\-−–]?")
_ORDINAL = re.compile(r"[^\W\d_]{2,}")
_DEEPEST = 8
_WITHOUT = str.maketrans(dict.fromkeys(_MARKS, ""))


def unmarked(text: str) -> str:
    """A text from outside, without the characters that are marks here."""
    return text.translate(_WITHOUT)


def spell_marks(text: str) -> str:
    """The text with its marks spelled.

    >>> spell_marks("10\\x0e6\\x11 H\\x0f2\\x11O x\\x0fi+1\\x11 1\\x0est\\x11 3\\x0e1\\x11/\\x0f2\\x11 \\x10old\\x11")
    '10^6 H2O x_(i+1) 1st 3 1/2 ~~old~~'
    """
    if LEVEL not in text:
        return unmarked(text)
    text = _joined(_FRACTION.sub(_fraction, text))
    for _ in range(_DEEPEST):
        text, count = _INNERMOST.subn(_spelled, text)
        if not count:
            break
    return unmarked(text)


def _joined(text: str) -> str:
    """Neighbours of the same kind as one: programs cut a run of letters where they like."""
    count = 1
    while count:
        text, count = _NEIGHBOURS.subn(r"\1", text)
    return text


def _fraction(match: re.Match[str]) -> str:
    """A half that is set small, behind a whole number or alone."""
    before = match.string[match.start() - 1 : match.start()]
    return f"{' ' if before.isalnum() else ''}{match[1]}/{match[2]}"


def _spelled(match: re.Match[str]) -> str:
    mark, body = match[1], match[2]
    inner = body.strip()
    if not inner:
        return body
    lead, _, trail = body.partition(inner)
    before = "" if lead else match.string[match.start() - 1 : match.start()]
    after = "" if trail else match.string[match.end() : match.end() + 1]
    if mark == STRUCK:
        spelled = "\n".join(f"~~{line.strip()}~~" if line.strip() else line for line in inner.split("\n"))
    elif mark == RAISED:
        spelled = _raised(inner, before, after)
    else:
        spelled = _lowered(inner, before, after)
    return f"{lead}{spelled}{trail}"


def _raised(inner: str, before: str, after: str) -> str:
    """A power, an index of a note, or the letters of an ordinal number, which need no sign."""
    runs_on = inner[-1].isdigit() and after.isdigit()
    if not any(sign.isalnum() for sign in inner) or inner[0] in "([" or _ORDINAL.fullmatch(inner):
        return inner
    if before.isdigit() and inner in "eoa":
        return inner
    if not before.strip() or before in "([{«“\"'":
        return f"{inner} " if runs_on else inner
    return f"^{_argument(inner, runs_on)}"


def _lowered(inner: str, before: str, after: str) -> str:
    """An index; the number in a formula of chemistry needs no sign."""
    runs_on = inner[-1].isdigit() and after.isdigit()
    if not any(sign.isalnum() for sign in inner) or inner[0] in "([" or not before.strip():
        return inner
    if inner.isdigit() and not before.isdigit() and before != LEVEL and not runs_on:
        return inner
    return f"_{_argument(inner, runs_on)}"


def _argument(inner: str, runs_on: bool) -> str:
    return inner if _BARE.fullmatch(inner) and not runs_on else f"({inner})"

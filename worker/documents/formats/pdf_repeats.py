"""What a PDF repeats at the top and the bottom of its pages: running headers and footers stay once, numbers of pages go.

A line counts as repeated where it is the outermost of many pages, or the next to one that is; whatever is not clearly so stays.
"""

import re
from collections import Counter
from collections.abc import Sequence

DEPTH = 2
"""Running lines at the top and at the bottom of a page, at most."""
FEWEST_PAGES = 3
SHARE = 0.4
"""Of all pages with text: left and right pages may have a header each."""
_PAGE = r"(?:page|seite|página|pagina|blatt|p\.)"
_COUNT = r"(?:\s*(?:of|von|de|di|/)\s*\d{1,4})?"
_NUMBER = re.compile(rf"\W*(?:{_PAGE}|第)?\s*\d{{1,4}}\s*[页頁]?{_COUNT}\W*", re.IGNORECASE)
_NAMED = re.compile(rf"{_PAGE}|[第页頁]", re.IGNORECASE)
_COUNTS = "\0"
"""Begins the key of a number that may be one of a page: behind it the number of pages that would stand before the first."""
MOST_BEFORE = 1500
"""Pages: 2021 on the first page of all is a year."""
_BESIDE = re.compile(
    rf"^\W*\d{{1,4}}\s*[|·–—]|[|·–—]\s*\d{{1,4}}\W*$|^\W*{_PAGE}\s*\d{{1,4}}{_COUNT}\b|\b{_PAGE}\s*\d{{1,4}}{_COUNT}\W*$",
    re.IGNORECASE,
)
"""The number of a page beside words, called so or set off from them: "Part 3" says more than on which page one is."""


def without_repeats(pages: Sequence[str]) -> list[str]:
    """The pages, each running line where it stands first.

    >>> without_repeats([f"ACME report\\n{word}.\\n- {n} -" for n, word in enumerate(("One", "Two", "Three"), start=1)])
    ['ACME report\\nOne.', 'Two.', 'Three.']
    >>> without_repeats([f"{word}.\\nDraft, page {n} of 3" for n, word in enumerate(("One", "Two", "Three"), start=1)])
    ['One.\\nDraft, page 1 of 3', 'Two.', 'Three.']
    >>> without_repeats(["Question 1\\nWhy?", "Question 2\\nHow?", "Question 3\\nWho?"])
    ['Question 1\\nWhy?', 'Question 2\\nHow?', 'Question 3\\nWho?']
    >>> without_repeats(["Balance\\n1520", "Balance of May\\n873", "Balance of June\\n94"])
    ['Balance\\n1520', 'Balance of May\\n873', 'Balance of June\\n94']
    """
    lines = [page.split("\n") for page in pages]
    least = max(FEWEST_PAGES, SHARE * sum(bool(page.strip()) for page in pages))
    for at in (0, -1):
        inner = list(range(len(lines)))  # pages whose outer lines are all running ones
        held: dict[int, list[str]] = {}
        for _ in range(DEPTH):
            inner, running = _running(lines, inner, at, least)
            if not running:
                break
            seen: set[str] = set()
            for number in inner:
                line = _take(lines[number], at)
                key = _key(line, number)
                if key and not key.startswith(_COUNTS) and key not in seen:
                    held.setdefault(number, []).append(line)
                seen.add(key)
        for number, first in held.items():
            lines[number] = [*first, *lines[number]] if at == 0 else [*lines[number], *reversed(first)]
    return ["\n".join(page).strip("\n") for page in lines]


def _running(
    lines: Sequence[list[str]], among: Sequence[int], at: int, least: float
) -> tuple[list[int], bool]:
    """Of the pages ``among`` those whose line at this end is a running one; whether there are any."""
    keys = {number: _outermost(lines[number], at, number) for number in among}
    counted = Counter(key for key in keys.values() if key is not None)
    repeated = [number for number, key in keys.items() if key is not None and counted[key] >= least]
    return repeated, bool(repeated)


def _outermost(page: Sequence[str], at: int, number: int) -> str | None:
    """The key of the line at this end; None where no other line would be left."""
    written = [line for line in page if line.strip()]
    return _key(written[at], number) if len(written) > 1 else None


def _take(page: list[str], at: int) -> str:
    """Remove the line at this end, and what is blank around it."""
    while not page[at].strip():
        page.pop(at)
    return page.pop(at)


def _key(line: str, number: int) -> str:
    """What is equal for equal running lines: without the number of a page; empty for such a number alone.

    A number that is not called one of a page is one where it counts with the pages: a total at the end of a page does not.
    """
    text = " ".join(line.lstrip("# ").split())
    if _NUMBER.fullmatch(text):
        written = re.search(r"\d+", text)
        before = 0 if written is None else int(written[0]) - number
        return "" if _NAMED.search(text) else f"{_COUNTS}{before}" if before < MOST_BEFORE else text
    return _BESIDE.sub("", text).strip()

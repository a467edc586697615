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
                if _key(line) and _key(line) not in seen:
                    held.setdefault(number, []).append(line)
                seen.add(_key(line))
        for number, first in held.items():
            lines[number] = [*first, *lines[number]] if at == 0 else [*lines[number], *reversed(first)]
    return ["\n".join(page).strip("\n") for page in lines]


def _running(
    lines: Sequence[list[str]], among: Sequence[int], at: int, least: float
) -> tuple[list[int], bool]:
    """Of the pages ``among`` those whose line at this end is a running one; whether there are any."""
    keys = {number: _outermost(lines[number], at) for number in among}
    counted = Counter(key for key in keys.values() if key is not None)
    repeated = [number for number, key in keys.items() if key is not None and counted[key] >= least]
    return repeated, bool(repeated)


def _outermost(page: Sequence[str], at: int) -> str | None:
    """The key of the line at this end; None where no other line would be left."""
    written = [line for line in page if line.strip()]
    return _key(written[at]) if len(written) > 1 else None


def _take(page: list[str], at: int) -> str:
    """Remove the line at this end, and what is blank around it."""
    while not page[at].strip():
        page.pop(at)
    return page.pop(at)


def _key(line: str) -> str:
    """What is equal for equal running lines: without the number of a page; empty for such a number alone."""
    text = " ".join(line.lstrip("# ").split())
    if _NUMBER.fullmatch(text):
        return ""
    return _BESIDE.sub("", text).strip()

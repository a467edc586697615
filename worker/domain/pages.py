"""Pages without text, such as scans, of a document of which other pages have some."""

from collections.abc import Sequence

from worker.domain.numbers import names_of

PAGE_BREAK = "\n\n"
"""Between the pages of a document in its text."""


def without_text(pages: Sequence[int], of: int) -> str:
    """How many pages are missing of how many, and which.

    >>> without_text([2, 3], 3)
    'without 2 of its 3 pages, which have no text: 2-3'
    >>> without_text([1, 2, 3, 7], 9)
    'without 4 of its 9 pages, which have no text: 1-3, 7'
    """
    runs: list[list[int]] = []
    for page in sorted(pages):
        if runs and runs[-1][1] == page - 1:
            runs[-1][1] = page
        else:
            runs.append([page, page])
    named = names_of([str(first) if first == last else f"{first}-{last}" for first, last in runs], 20)
    have = "has" if len(pages) == 1 else "have"
    return f"without {len(pages):,} of its {of:,} pages, which {have} no text: {named}"

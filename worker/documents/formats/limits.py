"""The bounds of one document, and the refusal that all readers raise."""

import re
from collections.abc import Mapping
from typing import Any

from worker.errors import DocumentCode

MOST_PAGES = 10_000
MOST_TEXT = 16 * 1024 * 1024
"""Characters of one document."""
MOST_UNPACKED = 256 * 1024 * 1024
MOST_METADATA = 64 * 1024
MOST_IMAGES = 64
"""Pages rendered of one document: a request takes no more images."""
IMAGE_SIDE = 4096
"""Pixels."""

Content = dict[str, Any]
"""What a reader returns: ``text``, ``pages`` (or None), ``metadata``, ``encoding``; of a mail and an archive ``attachments``, and
``refused``: name, code and message of those that cannot be read."""


class Refused(Exception):
    """Of a child: becomes ``DocumentRefused``, which knows the path."""

    def __init__(self, code: DocumentCode, message: str, pages: tuple[int, ...] = ()) -> None:
        self.code: DocumentCode = code
        self.message = message
        self.pages = pages
        super().__init__(message)


def content(
    text: str,
    *,
    metadata: Mapping[str, Any] | None = None,
    encoding: str | None = None,
    pages: list[str] | None = None,
) -> Content:
    """What a reader returns."""
    return {"text": text, "pages": pages, "metadata": dict(metadata or {}), "encoding": encoding}


def clean(text: str) -> str:
    """The text without what no database stores: NUL and lone surrogates; line ends are ``\\n``."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\x00", "")
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def paragraphs(blocks: list[str]) -> str:
    """Blocks with a blank line between them, and one line end behind the last."""
    return re.sub(r"\n{3,}", "\n\n", clean("\n\n".join(blocks))).strip() + "\n"


def check_size(size: int) -> None:
    """Raises Refused for more characters than are read of a document."""
    if size > MOST_TEXT:
        raise Refused("too_large", f"more than {MOST_TEXT:,} characters; split the document")


def distinct(names: list[str]) -> list[str]:
    """The names, those that come again with a number.

    >>> distinct(["a.pdf", "a.pdf", "b"])
    ['a.pdf', 'a~2.pdf', 'b']
    """
    taken: set[str] = set()
    distinct = []
    for name in names:
        stem, dot, ending = name.rpartition(".")
        number, fresh = 1, name
        while fresh in taken:
            number += 1
            fresh = f"{stem}~{number}.{ending}" if dot else f"{name}~{number}"
        taken.add(fresh)
        distinct.append(fresh)
    return distinct

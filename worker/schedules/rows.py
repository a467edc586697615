"""What identifies a row of a table from one night to the next: the value of a column, or what it says; never its line."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace

from worker.documents.read import Document
from worker.errors import DocumentRefused

_PLAIN = re.compile(r"[^\w.@+-]")
LONGEST = 100
"""Characters of a row's id."""


def identified(
    documents: Iterable[Document | DocumentRefused], column: str | None
) -> Iterator[Document | DocumentRefused]:
    """The documents of a file; each row named ``table.csv#ID``, by ``column`` or by its content. What is no row stays as it is.

    A row without an id, or with that of a row before it, is handed out as what is wrong with it. Rows that say the same
    are distinguished by their order.
    """
    times: Counter[str] = Counter()
    for document in documents:
        if isinstance(document, DocumentRefused) or not document.row:
            yield document
            continue
        table = document.name.rpartition("#")[0]
        if column is None:
            name = f"{table}#{document.sha256[:16]}"
            times[name] += 1
            yield replace(document, name=name if times[name] == 1 else f"{name}-{times[name]}")
            continue
        value = document.metadata.get(column)
        if value is None or not str(value).strip():
            there = f"no value in the column {column}, which --id names"
            yield DocumentRefused(document.path, "unreadable", f"the row has {there}")
            continue
        name = f"{table}#{row_id(str(value))}"
        times[name] += 1
        if times[name] > 1:
            message = f"a row before it has the same {column}, {str(value)[:60]!r}"
            yield DocumentRefused(document.path, "unreadable", message)
            continue
        yield replace(document, name=name)


def row_id(value: str) -> str:
    """A value as part of a document's name, and of a file's.

    >>> row_id("T-17"), row_id(" a/b "), row_id("50 %")
    ('T-17', 'a%2Fb', '50%20%25')
    """
    encoded = _PLAIN.sub(
        lambda sign: "".join(f"%{byte:02X}" for byte in sign[0].encode("utf-8", "replace")), value.strip()
    )
    return encoded[:LONGEST]

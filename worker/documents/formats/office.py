"""Office documents and Outlook messages, by kreuzberg.

kreuzberg is given bytes and a kind. Its own cache and its recognition of pictures are off: it writes nothing and fetches nothing.
"""

from typing import Any

from worker.documents.formats.kinds import OFFICE
from worker.documents.formats.limits import Content, Refused, check_size, clean, content

_METADATA = ("title", "authors", "subject", "keywords", "language", "created_at", "modified_at")


def read_office(data: bytes, media_type: str) -> Content:
    """The text as Markdown; of a workbook ``sheets``, name and text of each. Raises Refused, ModuleNotFoundError."""
    result = _extracted(data, media_type)
    check_size(len(result.content))
    text = clean(result.content)
    metadata = _metadata(dict(result.metadata))
    document = content(text, metadata=metadata)
    names = dict(result.metadata).get("sheet_names")
    if isinstance(names, list):
        document["sheets"] = sheets_of(text, names)
    return document


def read_cells(data: bytes, media_type: str) -> list[tuple[str, list[list[str]]]]:
    """The cells of each sheet of a workbook that has some, as they are shown. Raises Refused, ModuleNotFoundError."""
    result = _extracted(data, media_type)
    check_size(len(result.content))
    names = dict(result.metadata).get("sheet_names") or []
    return [
        (clean(names[table.page_number - 1]), [[clean(cell) for cell in row] for row in table.cells])
        for table in result.tables
    ]


def _extracted(data: bytes, media_type: str) -> Any:
    from kreuzberg import ExtractionConfig, KreuzbergError, extract_bytes_sync

    form = "plain" if media_type == OFFICE[".msg"] else "markdown"  # Markdown joins the lines of a mail
    config = ExtractionConfig(  # type: ignore[call-arg, unused-ignore]
        use_cache=False, disable_ocr=True, enable_quality_processing=False, output_format=form
    )
    try:
        return extract_bytes_sync(data, media_type, config)
    except KreuzbergError as error:
        raise Refused("unreadable", str(error)[:200]) from error


def sheets_of(text: str, names: list[str]) -> list[tuple[str, str]]:
    """Name and text of each sheet that has some, of a workbook as one text; none where its beginning is of no sheet.

    A name that is not found as a heading leaves its text with the sheet before it.

    >>> sheets_of("## A\\n\\n| x |\\n\\n## B\\n\\n## C\\n\\n| y |\\n", ["A", "B", "C"])
    [('A', '## A\\n\\n| x |\\n'), ('C', '## C\\n\\n| y |\\n')]
    """
    begins: list[tuple[str, int]] = []
    at = 0
    for name in names:
        heading = f"## {name}\n"
        start = text.find(heading, at) if not text.startswith(heading, at) else at
        if start < 0 or (start and text[start - 1] != "\n"):
            continue
        begins.append((name, start))
        at = start + len(heading)
    if not begins or text[: begins[0][1]].strip():
        return []
    ends = [begin for _, begin in begins[1:]] + [len(text)]
    parts = [(name, text[begin:end].strip()) for (name, begin), end in zip(begins, ends, strict=True)]
    return [(name, f"{part}\n") for name, part in parts if part.partition("\n")[2].strip()]


def _metadata(properties: dict[str, Any]) -> dict[str, Any]:
    return {name: properties[name] for name in _METADATA if properties.get(name)}

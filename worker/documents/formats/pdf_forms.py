"""What lies on top of a PDF's pages: the fields of forms, and annotations such as free text and stamps."""

import ctypes
from collections.abc import Callable
from dataclasses import field
from typing import Any

from worker.records import mutable_record

_TEXT, _LINK, _FREE_TEXT, _POPUP, _FILE, _WIDGET = 1, 2, 3, 16, 17, 20
"""Subtypes of annotations, as pdfium numbers them."""
_CHECKBOX, _RADIO, _CHOICE, _LIST, _FIELD = 2, 3, 4, 5, 6
_READ_FIELDS = frozenset({_CHECKBOX, _RADIO, _CHOICE, _LIST, _FIELD})
_CLOSED = frozenset({_TEXT, _LINK, _POPUP, _FILE})
"""Annotations that a reader shows as a sign, or when somebody points at it."""
_UNSEEN = 0x02 | 0x20
"""The flags Hidden and NoView."""
_PASSWORD = 1 << 13
_LABEL = 120
"""Characters of a label, at most."""

Rectangle = tuple[float, float, float, float]
"""Left, bottom, right, top."""


@mutable_record
class Top:
    """What annotations and fields show on a page."""

    lines: list[str] = field(default_factory=list)
    """``label: value`` of each filled field, ``[x] label`` of each box."""
    notes: list[str] = field(default_factory=list)
    """Free text, as its author wrote it."""
    filled: bool = False
    flatten: bool = False
    """Whether there are other annotations, whose text only their drawing has."""
    read: frozenset[int] = frozenset()
    """Numbers of the annotations that ``lines`` and ``notes`` hold already, or that show nothing."""


def flattened(pdf: Any, number: int, *, without: frozenset[int] | None = None) -> Any:
    """The page with its visible annotations drawn into it; ``without`` the annotations of these numbers."""
    from pypdfium2 import raw

    page = pdf[number]
    count = raw.FPDFPage_GetAnnotCount(page)
    if not count:
        return page
    for at in reversed(range(count)):
        annotation = raw.FPDFPage_GetAnnot(page, at)
        closed = bool(annotation) and raw.FPDFAnnot_GetSubtype(annotation) in _CLOSED
        raw.FPDFPage_CloseAnnot(annotation)
        if closed or (without is not None and at in without):
            raw.FPDFPage_RemoveAnnot(page, at)
    raw.FPDFPage_Flatten(
        page, raw.FLAT_NORMALDISPLAY
    )  # page.flatten() wants a form, which annotations need not have
    page.close()
    return pdf[number]


def topmost(pdf: Any, page: Any, words: Any) -> Top:
    """The fields and annotations of a page; hidden ones show nothing."""
    from pypdfium2 import raw

    top = Top()
    read: set[int] = set()
    fields: list[tuple[int, Rectangle]] = []
    count = raw.FPDFPage_GetAnnotCount(page)
    for at in range(count):
        annotation = raw.FPDFPage_GetAnnot(page, at)
        if not annotation:
            read.add(at)
            continue
        subtype = raw.FPDFAnnot_GetSubtype(annotation)
        if raw.FPDFAnnot_GetFlags(annotation) & _UNSEEN or subtype in _CLOSED:
            read.add(at)
        elif subtype == _WIDGET and pdf.formenv is not None:
            if raw.FPDFAnnot_GetFormFieldType(pdf.formenv, annotation) in _READ_FIELDS:
                fields.append((at, _rectangle(annotation)))
                read.add(at)
        elif subtype == _FREE_TEXT:
            top.notes.append(_contents(annotation))
        raw.FPDFPage_CloseAnnot(annotation)
    places = [place for _, place in fields]
    for at, place in sorted(fields, key=lambda one: (-round(one[1][1] / 4), one[1][0])):
        annotation = raw.FPDFPage_GetAnnot(page, at)
        line = _field_line(pdf.formenv, annotation, place, places, words, top)
        raw.FPDFPage_CloseAnnot(annotation)
        if line:
            top.lines.append(line)
    top.read = frozenset(read)
    top.flatten = len(read) < count
    return top


def _field_line(
    form: Any, annotation: Any, place: Rectangle, neighbours: list[Rectangle], words: Any, top: Top
) -> str:
    from pypdfium2 import raw

    kind = raw.FPDFAnnot_GetFormFieldType(form, annotation)
    tooltip = _string(lambda *buffer: raw.FPDFAnnot_GetFormFieldAlternateName(form, annotation, *buffer))
    name = _string(lambda *buffer: raw.FPDFAnnot_GetFormFieldName(form, annotation, *buffer))
    if kind in (_CHECKBOX, _RADIO):
        checked = bool(raw.FPDFAnnot_IsChecked(form, annotation))
        top.filled |= checked
        export = _string(lambda *buffer: raw.FPDFAnnot_GetFormFieldExportValue(form, annotation, *buffer))
        label = (
            _text_right(place, neighbours, words) or tooltip or _text_left(place, neighbours, words) or name
        )
        if kind == _RADIO and export and export not in label:
            label = f"{label}: {export}"
        return f"[{'x' if checked else ' '}] {label}"
    value = _value(form, annotation, kind)
    if not value.strip():
        return ""
    top.filled = True
    label = tooltip or _text_left(place, neighbours, words) or name
    return f"{label.rstrip(' :')}: {value}" if label else value


def _contents(annotation: Any) -> str:
    from pypdfium2 import raw

    return _string(lambda *buffer: raw.FPDFAnnot_GetStringValue(annotation, b"Contents", *buffer)).strip()


def _value(form: Any, annotation: Any, kind: int) -> str:
    from pypdfium2 import raw

    if kind in (_CHOICE, _LIST):
        chosen = [
            _string(lambda *buffer, at=at: raw.FPDFAnnot_GetOptionLabel(form, annotation, at, *buffer))
            for at in range(max(0, raw.FPDFAnnot_GetOptionCount(form, annotation)))
            if raw.FPDFAnnot_IsOptionSelected(form, annotation, at)
        ]
        if chosen:
            return ", ".join(chosen)
    value = _string(lambda *buffer: raw.FPDFAnnot_GetFormFieldValue(form, annotation, *buffer))
    hidden = kind == _FIELD and raw.FPDFAnnot_GetFormFieldFlags(form, annotation) & _PASSWORD
    return "*" * len(value) if hidden else value


def _text_left(place: Rectangle, neighbours: list[Rectangle], words: Any) -> str:
    """What stands on the same line before a field, behind the field before it."""
    left, bottom, _, top = place
    start = max(
        (other[2] for other in neighbours if other[2] <= left and _same_line(other, place)), default=0.0
    )
    return _one_line(words.get_text_bounded(start, bottom, left, top))[-_LABEL:]


def _text_right(place: Rectangle, neighbours: list[Rectangle], words: Any) -> str:
    _, bottom, right, top = place
    end = min(
        (other[0] for other in neighbours if other[0] >= right and _same_line(other, place)), default=1e5
    )
    return _one_line(words.get_text_bounded(right, bottom, end, top))[:_LABEL]


def _same_line(first: Rectangle, other: Rectangle) -> bool:
    return first[1] < other[3] and other[1] < first[3]


def _one_line(text: str) -> str:
    return " ".join(text.replace("\x00", "").split())


def _rectangle(annotation: Any) -> Rectangle:
    from pypdfium2 import raw

    box = raw.FS_RECTF()
    if not raw.FPDFAnnot_GetRect(annotation, box):
        return 0.0, 0.0, 0.0, 0.0
    bottom, top = sorted((box.bottom, box.top))
    left, right = sorted((box.left, box.right))
    return left, bottom, right, top


def _string(call: Callable[..., int]) -> str:
    """A text that pdfium writes into a buffer: UTF-16, and two zero bytes at its end."""
    from pypdfium2 import raw

    size = call(None, 0)
    if size <= 2:
        return ""
    buffer = ctypes.create_string_buffer(size)
    call(ctypes.cast(buffer, ctypes.POINTER(raw.FPDF_WCHAR)), size)
    return buffer.raw[: size - 2].decode("utf-16-le", "replace").rstrip("\x00")

"""How do documents become jobs? Each read, rendered, and written as a job line of a file that is kept like standard input.

The file has a hash, so the same documents asked the same way are the same batch, and a changed one extends it. Documents that
are too long are split: their parts are asked first (a file of their own), their answers combined by a second template.
"""

import hashlib
import json
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Literal

from worker.documents.bounded import Reader
from worker.documents.cache import CachedReader, TextCache
from worker.documents.encodings import is_unusual, shown_encoding
from worker.documents.leave_out import LeftOut, Reason, omissions
from worker.documents.read import Document, Rules, is_table, read_all
from worker.documents.sources import find_documents
from worker.documents.split import Part, split
from worker.documents.templates import Template, prompt_template, prompt_text
from worker.domain.pages import without_text
from worker.errors import DocumentCode, DocumentRefused, InputRefused, Problem
from worker.policy.context_window import IMAGE_TOKENS, OVERHEAD, answer_tokens, estimate_tokens
from worker.storage.models import ModelTold

LONGEST_ID = 200
Long = Literal["refuse", "split"]
"""What is done with a document that does not fit the window."""
UNKNOWN_WINDOW = 8192
"""Tokens: where no host tells of the model, and documents are to be split."""
_NOTES_SHOWN = 3
SMALLEST_PART = 256
"""Tokens of a part; with less room than that beside its template, a document is refused."""
FILLED = 0.75
"""Of the room, by parts: tables and numbers have more tokens than an estimate, and a part that overflows costs its document."""


@dataclass(frozen=True, slots=True)
class Window:
    """How much room there is for a prompt."""

    tokens: int
    """Of the window, the answer included."""
    answer: int

    @property
    def prompt(self) -> int:
        return self.tokens - self.answer - OVERHEAD


@dataclass(frozen=True, slots=True)
class Asking:
    """Which documents are asked what."""

    patterns: tuple[str, ...]
    """Absolute, or relative to the roots."""
    roots: tuple[str, ...]
    template: str
    template_source: str = "--template"
    system: str | None = None
    rules: Rules = field(default_factory=Rules)
    long: Long = "refuse"
    combine: str | None = None
    combine_source: str = "--combine"
    models: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    """Patterns of files to leave out (``worker.documents.leave_out``)."""


@dataclass(frozen=True, slots=True)
class Incomplete:
    """A document of which some pages have no text."""

    name: str
    pages: tuple[int, ...]
    """Those without text, from 1."""
    of: int

    def __str__(self) -> str:
        return f"{self.name}: asked {without_text(self.pages, self.of)}"


@dataclass(frozen=True, slots=True)
class Prepared:
    """Documents as files of job lines."""

    path: Path
    """One line a document, or a part of one; with a second template, behind its parts also the whole, which waits for them."""
    documents: int
    long: int
    """Documents that were split."""
    refused: tuple[DocumentRefused, ...]
    left_out: Mapping[Reason, int]
    """Files that match and are no documents, by reason."""
    incomplete: tuple[Incomplete, ...] = ()
    """Documents that are asked without some of their pages."""
    remarks: tuple[str, ...] = ()
    """What is to be said of those that were read."""


@dataclass(frozen=True, slots=True)
class Templates:
    """What a document is asked."""

    prompt: Template
    system: Template | None = None
    combine: str | None = None
    """The template that makes one answer of those of its parts, checked."""


def prepare(
    asking: Asking,
    folder: Path,
    window: Window | None,
    *,
    texts: TextCache | None = None,
    progress: Callable[[int], None] | None = None,
) -> Prepared:
    """Read every document and keep what is asked of it in ``folder``. ``window``: None where no model's is known, and then
    nothing is too long. ``texts`` holds what was read before.

    Raises InputRefused: nothing matches, nothing can be read, or a template is none.
    """
    templates = _templates(asking)
    refused: list[DocumentRefused] = []
    incomplete: list[Incomplete] = []
    documents = long = found_any = 0
    checked = False
    left_out: LeftOut = Counter()
    remarks = Remarks(asking.rules.encoding)
    reading = Reader() if texts is None else CachedReader(texts)
    with _Kept(folder, "documents") as main, reading as reader:
        for found in find_documents(asking.patterns, asking.roots, exclude=asking.exclude, left_out=left_out):
            found_any += 1
            if not checked and not is_table(found.name):
                _check(templates.prompt, templates.system)
                checked = True
            for one in read_all(found, asking.rules, reader=reader):
                if isinstance(one, DocumentRefused):
                    refused.append(one)
                    continue
                try:
                    lines = job_lines(one, templates, window, long=asking.long)
                except DocumentRefused as error:
                    refused.append(error)
                    continue
                for line in lines:
                    main.add(line)
                remarks.add(one)
                documents += 1
                long += len(lines) > 1
                if one.blank_pages and one.pages is not None:
                    incomplete.append(Incomplete(one.name, one.blank_pages, len(one.pages)))
                if progress is not None:
                    progress(documents)
        if not documents:
            raise _nothing(asking, found_any, refused, left_out)
        return Prepared(
            main.keep(),
            documents,
            long,
            tuple(refused),
            dict(left_out),
            tuple(incomplete),
            remarks.lines(),
        )


class Remarks:
    """What was odd about documents and is said of all of them: encodings that nobody named, texts that were changed.

    ``encoding``: the one that the user named.
    """

    def __init__(self, encoding: str | None = None) -> None:
        self._named = encoding is not None
        self._encodings: dict[str, tuple[int, str]] = {}
        self._notes: list[str] = []
        self._noted = 0
        self._refused: list[str] = []

    def refuse(self, error: DocumentRefused) -> None:
        self._refused.append(f"left out: {error} ({error.code})")

    def add(self, document: Document) -> None:
        encoding = document.encoding
        if encoding is not None and is_unusual(encoding) and not self._named:
            count, first = self._encodings.get(encoding, (0, document.name))
            self._encodings[encoding] = count + 1, first
        for note in document.notes:
            self._noted += 1
            if len(self._notes) < _NOTES_SHOWN:
                self._notes.append(f"{document.name}: {note}")

    def lines(self) -> tuple[str, ...]:
        found = [
            f"{first} was read as {shown_encoding(encoding)}; --encoding names another"
            if count == 1
            else f"{count:,} documents were read as {shown_encoding(encoding)}, the first is {first}; --encoding names another"
            for encoding, (count, first) in self._encodings.items()
        ]
        more = self._noted - len(self._notes)
        noted = (*found, *self._notes, *([f"and {more:,} more such documents"] if more else []))
        refused = len(self._refused) - _NOTES_SHOWN
        return (
            *noted,
            *self._refused[:_NOTES_SHOWN],
            *([f"and {refused:,} more left out"] if refused > 0 else []),
        )


def shown(
    asking: Asking, window: Window | None, count: int, remarks: Remarks | None = None
) -> Iterator[tuple[str, str | None, str]]:
    """Name, system and prompt of the first ``count`` documents (parts, of a long one); nothing is kept. Raises InputRefused."""
    templates = _templates(asking)
    left, refused, found_any = count, [], 0
    left_out: LeftOut = Counter()
    with Reader() as reader:
        for found in find_documents(asking.patterns, asking.roots, exclude=asking.exclude, left_out=left_out):
            found_any += 1
            for one in read_all(found, asking.rules, reader=reader):
                try:
                    if isinstance(one, DocumentRefused):
                        raise one
                    if remarks is not None:
                        remarks.add(one)
                    for line in _lines(one, templates, window, long=asking.long):
                        yield line["custom_id"], line.get("system"), line["prompt"]
                except DocumentRefused as error:
                    refused.append(error)
                    if remarks is not None:
                        remarks.refuse(error)
                    continue
                left -= 1
                if not left:
                    return
    if left == count:
        raise _nothing(asking, found_any, refused, left_out)


def window_of(models: Sequence[ModelTold], request: Mapping[str, Any], *, long: Long) -> Window | None:
    """How much of a document fits: the window as it was asked for, else the smallest of what the hosts tell of the models.

    ``request``: options, think and format of its jobs. None: nobody knows, and nothing is too long.
    """
    answer = answer_tokens(request, thinking=any(model.thinking for model in models))
    size = (request.get("options") or {}).get("num_ctx")
    if not isinstance(size, int):
        trained = [model.trained_context for model in models if model.trained_context]
        size = min(trained, default=UNKNOWN_WINDOW if long == "split" else None)
    return None if size is None else Window(size, min(answer, size // 2))


def job_lines(
    document: Document, templates: Templates, window: Window | None, *, long: Long
) -> list[dict[str, Any]]:
    """The document's job line; of one that is too long those of its parts and, last, the whole that waits for them.

    Raises DocumentRefused: it does not fit, or a template cannot be filled.
    """
    lines = list(_lines(document, templates, window, long=long))
    if len(lines) > 1 and templates.combine is not None:
        lines.append(_whole(document, lines, templates.combine))
    return lines


def combine_template(text: str, *, source: str) -> str:
    """A template that takes the answers of parts. Raises InputRefused for one that does not."""
    if "parts" not in prompt_template(text, source=source).variables:
        loop = "{% for part in parts %}{{ part.answer }}{% endfor %}"
        told = f"{source}: does not take the answers; write {loop}"
        raise InputRefused([Problem(0, "--combine", "no_variable", told)])
    return text


def custom_id_of(name: str) -> str:
    """The name, or its beginning and a hash where it is too long for an id.

    >>> custom_id_of("a/b.pdf"), len(custom_id_of("x" * 300))
    ('a/b.pdf', 200)
    """
    if len(name) <= LONGEST_ID - 20:  # room for "#part-12"
        return name
    return f"{name[: LONGEST_ID - 36]}~{hashlib.sha256(name.encode('utf-8', 'replace')).hexdigest()[:35]}"


def part_id(name: str, part: Part) -> str:
    return f"{custom_id_of(name)[: LONGEST_ID - 16]}#part-{part.number}"


def _templates(asking: Asking) -> Templates:
    prompt = (
        prompt_template(asking.template, source=asking.template_source)
        if asking.rules.as_images
        else prompt_text(asking.template, source=asking.template_source)
    )
    combine = None
    if asking.combine is not None:
        combine = combine_template(asking.combine, source=asking.combine_source)
    system = None if asking.system is None else prompt_template(asking.system, source="--system")
    return Templates(prompt, system, combine)


def _check(*templates: Template | None) -> None:
    """A column that no document has is told before all of them are read."""
    problems = [
        problem
        for template in templates
        if template is not None
        for problem in template.missing(["document"])
    ]
    if problems:
        raise InputRefused(problems)


def _whole(document: Document, parts: Sequence[Mapping[str, Any]], template: str) -> dict[str, Any]:
    """The job line that makes one answer of those of the parts, once they are there."""
    line = {
        "custom_id": custom_id_of(document.name),
        "prompt": template,
        "after": [part["custom_id"] for part in parts],
        "combine": {"document": {**_variables(document, ""), "text": ""}},
        "metadata": metadata_of(document),
    }
    if parts[0].get("system"):
        line["system"] = parts[0]["system"]
    return line


def _lines(
    document: Document, templates: Templates, window: Window | None, *, long: Long
) -> Iterator[dict[str, Any]]:
    """The document's job line, or those of its parts. Raises DocumentRefused."""
    line = _line(document, templates, document.text, None)
    room = None if window is None else window.prompt
    tokens, pictures = _tokens(line), 0
    if room is not None and long == "split":
        room, pictures = int(room * FILLED), IMAGE_TOKENS * len(document.seen_pages)
    if room is None or tokens + pictures <= room or not document.text:
        yield _with_pictures(line, document, document.seen_pages)
        return
    if long == "refuse":
        told = (
            f"about {tokens:,} tokens, there is room for {max(room, 0):,}; --long split asks it in parts, "
            "--set num_ctx=N opens a larger window"
        )
        raise DocumentRefused(document.path, "too_large", told)
    beside = tokens - estimate_tokens(document.text)
    for part, pages in _parts(document, room - beside):
        if part.text.strip():
            yield _with_pictures(_line(document, templates, part.text, part), document, pages)


def _parts(document: Document, room: int) -> list[tuple[Part, tuple[int, ...]]]:
    """Parts that fit, each with the pages that are shown beside it. Raises DocumentRefused."""
    shown_beside = 0
    while True:
        left = room - IMAGE_TOKENS * shown_beside
        if left < SMALLEST_PART:
            told = (
                f"beside its template{' and pictures' if shown_beside else ''} there is room for {max(left, 0):,} tokens "
                "of it; open a larger window"
            )
            raise DocumentRefused(document.path, "too_large", told)
        parts = [
            (part, _pictures_of(part, document)) for part in split(document.text, left, pages=document.pages)
        ]
        most = max(len(pictures) for _, pictures in parts)
        if most <= shown_beside:
            return parts
        shown_beside = most


def _pictures_of(part: Part, document: Document) -> tuple[int, ...]:
    if part.pages is None:
        return ()
    first, last = part.pages
    return tuple(page for page in document.seen_pages if first <= page <= last)


def _with_pictures(line: dict[str, Any], document: Document, pages: Sequence[int]) -> dict[str, Any]:
    """The line with these pages rendered: only now, for a document that did not change is not asked. Raises DocumentRefused."""
    if not pages or document.render is None:
        return line
    return {**line, "images": list(document.render(pages))}


def _line(document: Document, templates: Templates, text: str, part: Part | None) -> dict[str, Any]:
    values = values_of(document, text)
    if part is not None:
        values["document"]["part"] = _provenance(part)
    line: dict[str, Any] = {
        "custom_id": custom_id_of(document.name) if part is None else part_id(document.name, part),
        "prompt": _rendered(templates.prompt, values, document.path),
        "metadata": metadata_of(document) | ({} if part is None else {"part": _provenance(part)}),
    }
    if templates.system is not None:
        system = _rendered(templates.system, values, document.path, blank=True)
        if system.strip():
            line["system"] = system
    return line


def _tokens(line: Mapping[str, Any]) -> int:
    return estimate_tokens(line["prompt"]) + estimate_tokens(line.get("system") or "")


def _rendered(template: Template, values: Mapping[str, Any], path: str, *, blank: bool = False) -> str:
    text = template.render(values, line=0, blank=blank)
    if isinstance(text, Problem):
        code: DocumentCode = "too_large" if text.code == "too_large" else "template_error"
        raise DocumentRefused(path, code, text.message)
    return text


def values_of(document: Document, text: str) -> dict[str, Any]:
    """What a template may say of it, with ``text`` as what it says: ``document`` and, of a row, its columns."""
    return {**(document.metadata if document.row else {}), "document": _variables(document, text)}


def _variables(document: Document, text: str) -> dict[str, Any]:
    return {
        "text": text,
        "name": document.name,
        "path": document.path,
        "metadata": dict(document.metadata),
        "pages": len(document.pages) if document.pages is not None else None,
        "sha256": document.sha256,
        "media_type": document.media_type,
        "part": None,
    }


def metadata_of(document: Document) -> dict[str, Any]:
    """The metadata of its job."""
    about: dict[str, Any] = {
        "path": document.path,
        "sha256": document.sha256,
        "media_type": document.media_type,
    }
    if document.pages is not None:
        about["pages"] = len(document.pages)
    if is_unusual(document.encoding):
        about["encoding"] = document.encoding
    return {**document.metadata, **about}


def _provenance(part: Part) -> dict[str, Any]:
    return {
        "number": part.number,
        "of": part.of,
        "start": part.start,
        "end": part.end,
        "pages": None if part.pages is None else list(part.pages),
        "headings": list(part.headings),
    }


def _nothing(
    asking: Asking, found: int, refused: Sequence[DocumentRefused], left_out: Mapping[Reason, int]
) -> InputRefused:
    if not found:
        told = f"no document matches {', '.join(asking.patterns)} (under {', '.join(asking.roots)})"
        if any(left_out.values()):
            told += f"; left out: {omissions(left_out)}"
        return InputRefused([Problem(0, "--documents", "empty", told)])
    reasons = {(one.code, one.message) for one in refused}
    if len(reasons) == 1 and refused[0].code == "template_error":  # the same for every document
        problem = Problem(0, "--template", refused[0].code, str(refused[0]))
        return InputRefused([problem], left_out=len(refused) - 1)
    problems = [Problem(0, "--documents", one.code, str(one)) for one in refused[:20]]
    told = f"none of the {found:,} files that match holds a document"
    return InputRefused(
        problems or [Problem(0, "--documents", "empty", told)], left_out=max(0, len(refused) - 20)
    )


class _Kept:
    """A file of job lines that gets the name of its hash."""

    def __init__(self, folder: Path, kind: str) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder, self._kind = folder, kind
        self._digest = hashlib.sha256()
        self._file: IO[bytes] | None = None
        self._partial: Path | None = None
        self.lines = 0

    def __enter__(self) -> "_Kept":
        self._file = tempfile.NamedTemporaryFile(
            "wb", dir=self._folder, prefix=f"{self._kind}-", suffix=".part", delete=False
        )
        self._partial = Path(self._file.name)
        return self

    def add(self, line: Mapping[str, Any]) -> None:
        assert self._file is not None
        written = json.dumps(line, ensure_ascii=False, default=str).encode("utf-8", "replace") + b"\n"
        self._digest.update(written)
        self._file.write(written)
        self.lines += 1

    def keep(self) -> Path:
        assert self._file is not None
        assert self._partial is not None
        self._file.close()
        path = self._folder / f"{self._kind}-{self._digest.hexdigest()[:16]}.jsonl"
        self._partial.rename(path)
        self._partial = None
        return path

    def __exit__(self, *_: object) -> None:
        assert self._file is not None
        self._file.close()
        if self._partial is not None:
            self._partial.unlink(missing_ok=True)

"""How do documents become jobs? Each read, rendered, and written as a job line of a file that is kept like standard input.

The file has a hash, so the same documents asked the same way are the same batch, and a changed one extends it.
"""

import hashlib
import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import IO, Any

from worker.documents.bounded import Reader
from worker.documents.cache import CachedReader, TextCache
from worker.documents.encodings import encoding_label, is_unusual
from worker.documents.leave_out import OmissionCounts, Reason, omissions
from worker.documents.read import Document, Rules, is_table, read_all
from worker.documents.sources import find_documents
from worker.documents.templates import Template, prompt_template, prompt_text
from worker.domain.numbers import count_of
from worker.domain.pages import without_text
from worker.door.document_lines import Long, Templates, Window, combine_template, job_lines, own_lines
from worker.errors import DocumentRefused, InputRefused, Problem
from worker.records import record

_MOST_NOTES = 3


@record
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


@record
class Incomplete:
    """A document of which some pages have no text."""

    name: str
    pages: tuple[int, ...]
    """Those without text, from 1."""
    of: int

    def __str__(self) -> str:
        return f"{self.name}: asked {without_text(self.pages, self.of)}"


@record
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


def prepare(
    asking: Asking,
    folder: Path,
    window: Window | None,
    *,
    texts: TextCache | None = None,
) -> Prepared:
    """Read every document and keep what is asked of it in ``folder``. ``window``: None where no model's is known, and then
    nothing is too long. ``texts`` holds what was read before.

    Raises InputRefused: nothing matches, nothing can be read, or a template is not valid.
    """
    templates = _templates(asking)
    refused: list[DocumentRefused] = []
    incomplete: list[Incomplete] = []
    documents = long = found_any = 0
    checked = False
    left_out: OmissionCounts = Counter()
    remarks = Remarks(asking.rules.encoding)
    reading = Reader() if texts is None else CachedReader(texts)
    with _DocumentFiles(folder, "documents") as main, reading as reader:
        for file in find_documents(asking.patterns, asking.roots, exclude=asking.exclude, left_out=left_out):
            found_any += 1
            if not checked and not is_table(file.name):
                _check(templates.prompt, templates.system)
                checked = True
            for document in read_all(file, asking.rules, reader=reader):
                if isinstance(document, DocumentRefused):
                    refused.append(document)
                    continue
                try:
                    lines = job_lines(document, templates, window, long=asking.long)
                except DocumentRefused as error:
                    refused.append(error)
                    continue
                for line in lines:
                    main.add(line)
                remarks.add(document)
                documents += 1
                long += len(lines) > 1
                if document.blank_pages and document.pages is not None:
                    incomplete.append(Incomplete(document.name, document.blank_pages, len(document.pages)))
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
            if len(self._notes) < _MOST_NOTES:
                self._notes.append(f"{document.name}: {note}")

    def lines(self) -> tuple[str, ...]:
        remarks = [
            f"{first} was read as {encoding_label(encoding)}; --encoding names another"
            if count == 1
            else f"{count:,} documents were read as {encoding_label(encoding)}, the first is {first}; --encoding names another"
            for encoding, (count, first) in self._encodings.items()
        ]
        more = self._noted - len(self._notes)
        noted = (*remarks, *self._notes, *([f"and {count_of(more, 'more such document')}"] if more else []))
        refused = len(self._refused) - _MOST_NOTES
        return (
            *noted,
            *self._refused[:_MOST_NOTES],
            *([f"and {refused:,} more left out"] if refused > 0 else []),
        )


def first_prompts(
    asking: Asking, window: Window | None, count: int, remarks: Remarks | None = None
) -> Iterator[tuple[str, str | None, str]]:
    """Name, system and prompt of the first ``count`` documents (parts, of a long one); nothing is kept. Raises InputRefused."""
    templates = _templates(asking)
    left, refused, found_any = count, [], 0
    left_out: OmissionCounts = Counter()
    with Reader() as reader:
        for file in find_documents(asking.patterns, asking.roots, exclude=asking.exclude, left_out=left_out):
            found_any += 1
            for document in read_all(file, asking.rules, reader=reader):
                try:
                    if isinstance(document, DocumentRefused):
                        raise document
                    if remarks is not None:
                        remarks.add(document)
                    for line in own_lines(document, templates, window, long=asking.long):
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
    """Refuse a column that no document has, before all of them are read."""
    problems = [
        problem
        for template in templates
        if template is not None
        for problem in template.missing(["document"])
    ]
    if problems:
        raise InputRefused(problems)


def _nothing(
    asking: Asking, matches: int, refused: Sequence[DocumentRefused], left_out: Mapping[Reason, int]
) -> InputRefused:
    if not matches:
        message = f"no document matches {', '.join(asking.patterns)} (under {', '.join(asking.roots)})"
        if any(left_out.values()):
            message += f"; left out: {omissions(left_out)}"
        return InputRefused([Problem(0, "--documents", "empty", message)])
    reasons = {(refusal.code, refusal.message) for refusal in refused}
    if len(reasons) == 1 and refused[0].code == "template_error":  # the same for every document
        problem = Problem(0, "--template", refused[0].code, str(refused[0]))
        return InputRefused([problem], more_problems=len(refused) - 1)
    problems = [Problem(0, "--documents", refusal.code, str(refusal)) for refusal in refused[:20]]
    message = f"none of the {count_of(matches, 'file that matches', 'files that match')} holds a document"
    return InputRefused(
        problems or [Problem(0, "--documents", "empty", message)], more_problems=max(0, len(refused) - 20)
    )


class _DocumentFiles:
    """A file of job lines that gets the name of its hash."""

    def __init__(self, folder: Path, kind: str) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder, self._kind = folder, kind
        self._digest = hashlib.sha256()
        self._file: IO[bytes] | None = None
        self._partial: Path | None = None
        self.lines = 0

    def __enter__(self) -> "_DocumentFiles":
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

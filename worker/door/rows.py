"""Rows on their way to a job: a file or a stream, opened under a submission, and the lines that come of it."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import field, replace
from pathlib import Path
from typing import Any, NamedTuple

from api_schemas.job_line import CARAVAN_FIELDS, REQUEST_FIELDS
from api_schemas.jobs import check_defaults
from api_schemas.json_text import NotJson, Repair, load_json
from api_schemas.shapes import shape_of
from api_schemas.submissions import Submission
from worker.documents.encodings import is_unusual
from worker.documents.image_files import NoImage, image_names, names_files, with_image_files
from worker.documents.job_lines import as_chat, as_embed, column_problems, job_values
from worker.documents.row import QUIRKS, Row, Rows
from worker.documents.sample import chosen
from worker.documents.tables import ReadingRules, open_rows
from worker.documents.templates import Template, is_blank, prompt_template, prompt_text
from worker.errors import InputRefused, Problem
from worker.kinds.registry import shapes
from worker.records import record

_ASKING = frozenset({"prompt", "options", "think", "keep_alive", "raw"})
"""Fields of a job line that nobody calls a column of data."""
_RESERVED = frozenset({*CARAVAN_FIELDS, *REQUEST_FIELDS, "model", "prompt"} - {"kind"})
"""Columns of a table that are fields of a job."""
_OF_CHATS = frozenset({"messages", "tools", "tool_choice"})
"""Further ones where its rows are chats."""
_OF_TEXTS = frozenset({"input", "dimensions"})
"""Further ones where its rows are texts to be embedded."""


class InputLine(NamedTuple):
    """One line on its way to a job. ``raw`` is the line as a job line; None where ``problem`` says what is wrong with it."""

    line: int
    raw: bytes | str | None
    problem: Problem | None = None
    original: bytes | str | dict[str, Any] | None = None
    """As the producer wrote it, for a file of rejects."""
    lines: int = 1
    """How many lines of the file it spans."""
    quirks: tuple[str, ...] = ()
    """Keys of ``QUIRKS``."""
    notes: tuple[str, ...] = ()
    """What was odd and taken all the same."""
    empty: tuple[str, ...] = ()
    """Columns that the prompt takes and that are empty here."""


@record
class Unchanged:
    """Checks that a file is what it was: a row that somebody else is about to write may be half a row."""

    path: Path
    version: tuple[int, ...]

    def __call__(self) -> None:
        """Raises InputRefused."""
        if _version(self.path) != self.version:
            message = f"{self.path}: changed while it was read; give it again once all of it is written, or give a copy"
            raise InputRefused([Problem(0, "", "changed_input", message)])


def _version(path: Path) -> tuple[int, ...]:
    try:
        status = path.stat()
    except OSError:
        return ()  # whoever opens it says so
    return status.st_ino, status.st_size, status.st_mtime_ns


@record
class RowFile:
    """Rows in a file, which is read as often as they are needed."""

    path: Path
    source: str | None = None
    """Where they come from, as it is stored; None: the path. ``-`` is standard input."""
    name: str | None = None
    """Name of their batch where the submission has none; the next submission of it finds the batch by it."""
    parent: int | None = None
    """The batch whose rows are asked again."""
    by_document: bool = False
    """The rows were made of documents."""
    reached: list[int] = field(default_factory=lambda: [0], compare=False)
    """The line of the row that was read last."""

    def open(self, submission: Submission) -> "Input":
        """Raises as ``open_input`` does."""
        check = Unchanged(self.path, _version(self.path))
        opened = open_input(self.path, submission, by_document=self.by_document)
        opened = replace(opened, reached=self.reached)
        # a copy that Caravan keeps may be exchanged for one of the same content
        return opened if self.source is not None else replace(opened, check=check)

    def key(self, submission: Submission) -> str:
        """The idempotency key where the producer has none. Raises InputRefused."""
        key = content_key(self.path, submission)
        return key if self.parent is None else f"{key}-of-{self.parent}"


@record
class RowStream:
    """Job lines that can be read once; their submission needs a key."""

    lines: Iterable[bytes | str | InputLine]
    source: str
    schedule: str | None = None
    """The schedule that they are a firing of."""


def content_key(path: Path, submission: Submission) -> str:
    """The idempotency key of an input under a submission: the same bytes asked the same way are the same batch.

    A pilot (``limit``, ``sample``) has the key of the whole, which goes on from it. Raises InputRefused when the
    input cannot be read.
    """
    digest = hashlib.sha256(json.dumps(submission.recipe, sort_keys=True, default=str).encode())
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise InputRefused([Problem(0, "", "unreadable", f"{path}: {error.strerror or error}")]) from error
    return f"run-{digest.hexdigest()[:32]}"


def open_input(path: Path, submission: Submission, *, by_document: bool = False) -> "Input":
    """The input and the submission checked against each other, before any row is read.

    Raises InputRefused: an unreadable input, an invalid template, a variable that no column has, defaults that no
    host would take.
    """
    _check_defaults(submission)
    rules = ReadingRules(submission.encoding, submission.quote, submission.delimiter, submission.sheet)
    rows = open_rows(path, rules)
    if idle := rules.idle_options(rows.kind, path):
        raise InputRefused(
            [
                Problem(0, name, "cannot_apply", f"{name} has no effect: {why}; leave it out")
                for name, why in idle
            ]
        )
    return input_of(rows, submission, by_document=by_document, folder=path.parent)


def input_of(
    rows: Rows, submission: Submission, *, by_document: bool = False, folder: Path | None = None
) -> "Input":
    """Rows and the submission checked against each other, before any row is read; ``folder`` has the images that they name.
    Raises InputRefused, as ``open_input`` does."""
    _check_defaults(submission)
    template = None
    if submission.prompt is not None:
        template = prompt_text(submission.prompt, source=submission.prompt_source)
    system = (
        None
        if submission.system_template is None
        else prompt_template(submission.system_template, source="--system")
    )
    if rows.columns is not None:
        problems = column_problems(
            rows.columns,
            templated=template is not None
            or (submission.chat and "messages" in rows.columns)
            or (submission.embed and "input" in rows.columns),
            id_column=submission.id_column,
            image_columns=submission.image_columns,
        )
        for one in (template, system):
            if one is not None:
                problems += one.missing(rows.columns)
        if problems:
            raise InputRefused(problems)
    needed = {name for one in (template, system) if one is not None for name in one.needed}
    needed.update(submission.image_columns)
    return Input(rows, submission, template, system, by_document, folder, tuple(sorted(needed)))


def _check_defaults(submission: Submission) -> None:
    problems = [Problem(*_plain(problem)) for problem in check_defaults(submission.defaults)]
    if problems:
        raise InputRefused(problems)


def _document_of(row: Row) -> Any:
    """The document that a job line was made of."""
    return json.loads(row.raw or b"{}").get("metadata", {}).get("path")


def _no_image(row: Row, error: NoImage) -> Problem:
    return Problem(row.line, "images", "unreadable", str(error))


def _explained(problem: Problem, row: Row) -> Problem:
    """The problem, and what is odd about the row that may be its reason."""
    odd = [QUIRKS[name] for name in row.quirks if name in ("error", "formula")]
    return replace(problem, message="; ".join([problem.message, *odd])) if odd else problem


def _plain(problem: Any) -> tuple[int, str, str, str]:
    return problem.line, problem.field, problem.code, problem.message


@record
class Input:
    """An input under a submission; each iteration reads it again from its beginning."""

    rows: Rows
    submission: Submission
    template: Template | None
    system: Template | None
    by_document: bool = False
    """The rows were made of documents, of which a long one may be several rows."""
    folder: Path | None = None
    """Where files are looked for that rows name."""
    needed: tuple[str, ...] = ()
    """Columns that should hold something in every row."""
    unsampled: list[int] = field(default_factory=list, compare=False)
    """How many rows ``sample`` left out, each time that they were read."""
    reached: list[int] = field(default_factory=lambda: [0], compare=False)
    """The line of the row that was read last."""
    check: Callable[[], object] = field(default=bool, compare=False)
    """Raises InputRefused where the file is no longer what it was when it was opened."""

    @property
    def columns(self) -> tuple[str, ...] | None:
        """Of a table, in its order."""
        return self.rows.columns

    @property
    def remarks(self) -> tuple[str, ...]:
        """What is to be said of how the file is read."""
        remarks: tuple[str, ...] = getattr(self.rows, "remarks", ())  # those of a spreadsheet have some
        return remarks

    @property
    def encoding(self) -> str | None:
        """The detected encoding, for a message to users; None where they named it, or it is the usual one."""
        return (
            self.rows.encoding
            if self.submission.encoding is None and is_unusual(self.rows.encoding)
            else None
        )

    def __iter__(self) -> Iterator[InputLine]:
        submission = self.submission
        rows = self._counted()
        if submission.is_pilot:
            together = _document_of if self.by_document else None
            rows = chosen(
                rows,
                limit=submission.limit,
                sample=submission.sample,
                seed=submission.seed,
                together=together,
                left_out=self.unsampled.append,
            )
        plain = submission.is_plain
        for row in rows:
            raw = row.raw
            if row.problem is not None:
                yield InputLine(row.line, None, row.problem, raw)
            elif plain and raw is not None:
                yield self._with_images(row, raw) if names_files(raw) else InputLine(row.line, raw, None, raw)
            else:
                yield self._line(row)
        self.check()

    def _counted(self) -> Iterator[Row]:
        for row in self.rows:
            self.reached[0] = row.line
            yield row

    def _with_images(self, row: Row, raw: bytes) -> InputLine:
        """A job line with the images that it names by their files."""
        try:
            job = load_json(raw)
            if isinstance(job, dict):
                made = json.dumps(with_image_files(job, self.folder), ensure_ascii=False)
                return InputLine(row.line, made, original=raw)
        except NotJson:
            pass  # read_job_line says what is wrong with it
        except NoImage as error:
            return InputLine(row.line, None, _no_image(row, error), original=raw)
        return InputLine(row.line, raw, original=raw)

    def _line(self, row: Row) -> InputLine:
        values = row.values
        notes: tuple[str, ...] = ()
        if values is None:
            raw = row.raw or b""
            if not raw.strip():
                return InputLine(row.line, b"")
            try:
                values = load_json(raw)
            except NotJson:
                return InputLine(row.line, raw, original=raw)  # read_job_line says what is wrong with it
            if not isinstance(values, dict):
                return InputLine(row.line, raw, original=raw)
            if b"\\u" in raw:  # it may hold half a pair, which no database keeps
                repair = Repair()
                try:
                    values, notes = repair.object(values), repair.notes()
                except NotJson:
                    return InputLine(row.line, raw, original=raw)
        prompt, system = (
            self._rendered(self.template, values, row.line, vector=self.submission.embed),
            self._rendered(self.system, values, row.line, blank=True),
        )
        for rendered in (prompt, system):
            if isinstance(rendered, Problem):
                return InputLine(row.line, None, _explained(rendered, row), original=values)
        job = job_values(
            values,
            prompt=prompt,  # type: ignore[arg-type]
            system=system or None,  # type: ignore[arg-type]
            id_column=self.submission.id_column,
            reserved=self._reserved(row, values),
            override=self.submission.override,
        )
        if self.submission.image_columns:
            job["images"] = [*job.get("images", ()), *image_names(values, self.submission.image_columns)]
        if self.submission.chat or "messages" in job:
            as_chat(job)
        elif self.submission.embed:
            as_embed(job)
        try:
            job = with_image_files(job, self.folder)
        except NoImage as error:
            return InputLine(row.line, None, _no_image(row, error), original=values)
        if self.submission.id_column is not None and not job.get("custom_id"):
            message = (
                f"--id: column {self.submission.id_column!r} is empty here; every row needs an id of its own"
            )
            problem = Problem(row.line, self.submission.id_column, "missing", message)
            return InputLine(row.line, None, problem, original=values)
        return InputLine(
            row.line,
            json.dumps(job, ensure_ascii=False),
            original=values,
            lines=row.lines,
            quirks=(*row.quirks, *self._hidden(row, values)),
            notes=notes,
            empty=tuple([name for name in self.needed if is_blank(values.get(name))]),
        )

    def _reserved(self, row: Row, values: Mapping[str, Any]) -> frozenset[str]:
        """The columns of a table, or the fields of a line of JSON, that say how the job is asked."""
        if row.values is None:
            shape = shape_of(values, shapes())
            return _RESERVED | {"kind"} if shape is None else frozenset(shape.fields)
        if self.submission.embed:
            return _RESERVED | _OF_TEXTS
        return _RESERVED | _OF_CHATS if self.submission.chat else _RESERVED

    def _hidden(self, row: Row, values: Mapping[str, Any]) -> Iterator[str]:
        """What a row says of how it is asked, where a template makes metadata of all that it says: of a line of JSON, or of a
        row of chats with a column for chats alone; and which jobs it follows. What the template prints counts as data."""
        if self.template is None:
            return
        of_chats = _OF_CHATS.difference(self.needed) if self.submission.chat else ()
        if (
            not _ASKING.isdisjoint(values)
            if row.values is None
            else any(not is_blank(values.get(column)) for column in of_chats)
        ):
            yield "fields"
        if "after" not in self.needed and not is_blank(values.get("after")):
            yield "after"

    @staticmethod
    def _rendered(
        template: Template | None,
        values: dict[str, Any],
        line: int,
        *,
        blank: bool = False,
        vector: bool = False,
    ) -> str | Problem | None:
        if template is None:
            return None
        return template.render(values, line=line, blank=blank, vector=vector)

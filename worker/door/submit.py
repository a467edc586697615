"""The door: a submission and its rows become a batch, or go to the batch that they are already."""

import hashlib
import uuid
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from api_schemas.submissions import NoticeTarget, OnChange, Submission
from worker.clock import Clock
from worker.domain.batches import Batch, BatchOrigin, BatchState
from worker.domain.jobs import JobState
from worker.domain.notices import Addressee, Channel
from worker.domain.selection import Selection
from worker.door.changes import compare, drop_missing, extend, named_jobs, request_differences
from worker.door.existing_batch import apply_terms, apply_to_rows, check_terms, keep_seconds, windows_of
from worker.door.intake import Intake
from worker.door.observer import SILENT, CheckModels, Difference, Observer
from worker.door.preview import Preview
from worker.door.rows import Input, RowFile, RowStream
from worker.door.upload import upload
from worker.errors import Conflict, InputRefused, Problem
from worker.maintenance.actions import bound_jobs, retry_jobs
from worker.records import record
from worker.storage.batches import TERMS, batch_of_key, batches_of_lineage, recipe_of
from worker.storage.engine import Database
from worker.storage.models import ModelFacts, model_facts
from worker.storage.notices import promise_notices

NO_FILES = ("-", "python", "sql")
"""Sources: standard input, a program, and a query. What comes from there next may be anything."""


@record
class Receipt:
    """A batch that was taken in, and how."""

    batch: Batch
    created: bool
    """False where the batch was there already."""
    difference: Difference | None = None
    """What the batch did not have yet, where it was there before."""
    instead_of: Batch | None = None
    """The last batch of this input, where this one asks it otherwise."""
    otherwise: tuple[str, ...] = ()
    """What is asked otherwise than in that batch: ``model``, ``prompt``, ``options.temperature`` …"""
    columns: tuple[str, ...] | None = None
    """Of the input, where it is a table."""
    only: frozenset[int] | None = None
    """The jobs within ``limit`` and ``sample``, where the batch has others too."""
    outside_running: int = 0
    """Jobs that are not, and run all the same: another command asked for them, and they end by themselves."""
    encoding: str | None = None
    """In which it was read, where that was detected and is not a usual one."""
    noted: int = 0
    """Lines that were odd and taken all the same."""
    notes: tuple[str, ...] = ()
    """What was odd about the first of them."""
    rejected: int = 0
    """Lines that were wrong and left out."""
    remarks: tuple[str, ...] = ()
    """What is to be said of the input as a whole."""
    preview: Preview | None = None
    """What the input holds, where all of it was read."""
    unsampled: int = 0
    """Rows that ``sample`` left out."""
    retried: int | None = None
    """Failed jobs that are asked again, where the submission wants that."""


def submit(
    database: Database,
    submission: Submission,
    rows: RowFile | RowStream,
    *,
    observer: Observer = SILENT,
    check_models: CheckModels | None = None,
    clock: Clock | None = None,
) -> Receipt:
    """Take rows in under a submission. Idempotent.

    The same rows asked in the same way are the same batch and go on where it stopped; a pilot's batch takes the rest in.
    Rows that are asked otherwise (another model, template or option) are a batch of their own. Where rows of an input of
    the same name (or path) changed, ``submission.on_change`` or the ``observer`` decides. Terms are applied to a batch
    that is there, or refused by name. Jobs that the batch has outside of ``limit`` and ``sample`` are held until it is
    submitted without these.
    Raises InputRefused, Conflict, DatabaseFailure; after the last the same call goes on where it stopped.
    """
    clock = clock or database.clock()
    if isinstance(rows, RowStream):
        receipt = _submit_stream(database, submission, rows, observer, check_models, clock)
    else:
        with database.read() as conn:
            known = model_facts(conn)
        lines = rows.open(submission)
        receipt = _Entry(database, submission, rows, lines, known, observer, check_models, clock).submit()
        receipt = replace(
            receipt,
            unsampled=lines.unsampled[-1] if lines.unsampled else 0,
            remarks=(*lines.remarks, *receipt.remarks),
        )
    if submission.notices:
        batch_id, addressees = receipt.batch.id, [addressee_of(notice) for notice in submission.notices]
        database.transact(lambda conn: promise_notices(conn, batch_id, addressees, now=clock.now()))
    if submission.retry_failed:
        failed = Selection(receipt.batch.id, receipt.only, states=frozenset({JobState.FAILED}))
        receipt = replace(receipt, retried=retry_jobs(database, failed, clock=clock).jobs)
    return receipt


def addressee_of(notice: NoticeTarget) -> Addressee:
    """Who is notified, as it is stored."""
    return Addressee(Channel(notice.channel), notice.target, notice.when, notice.secret)


def _submit_stream(
    database: Database,
    submission: Submission,
    rows: RowStream,
    observer: Observer,
    check_models: CheckModels | None,
    clock: Clock,
) -> Receipt:
    if submission.key is None:
        raise InputRefused([Problem(0, "key", "missing", "key: missing; rows that are read once need one")])
    stored = upload(
        database,
        submission,
        rows.lines,
        key=submission.key,
        name=submission.name or submission.key,
        source=rows.source,
        origin=_origin(submission, schedule=rows.schedule),
        clock=clock,
        observer=observer,
        check_models=check_models,
    )
    return _with_notes(Receipt(stored.batch, stored.created), stored.reader)


@record
class _Entry:
    """One submission of a file of rows."""

    database: Database
    submission: Submission
    rows: RowFile
    input: Input
    model_facts: Mapping[str, ModelFacts]
    observer: Observer
    check_models: CheckModels | None
    clock: Clock

    @property
    def source(self) -> str:
        return str(self.rows.path) if self.rows.source is None else self.rows.source

    @property
    def name(self) -> str | None:
        return self.submission.name or self.rows.name

    @property
    def key(self) -> str:
        return self.submission.key or self.rows.key(self.submission)

    @property
    def lineage(self) -> str | None:
        """What stays the same while the input changes; None: nothing of it is looked for."""
        if self.submission.key is not None:
            return None
        of_parent = "" if self.rows.parent is None else f"{self.rows.parent}\0"
        return _lineage(None if self.name is None else of_parent + self.name, self.source)

    @property
    def recipe(self) -> dict[str, Any]:
        recipe = dict(self.submission.recipe)
        if self.input.columns is not None:
            recipe["columns"] = list(self.input.columns)
        if self.input.encoding is not None:
            recipe["encoding_found"] = self.input.encoding
        if self.input.by_document:
            recipe["documents"] = True
        return recipe | ({"pilot": True} if self.submission.is_pilot else {})

    @property
    def origin(self) -> BatchOrigin:
        return replace(
            _origin(self.submission), lineage=self.lineage, recipe=self.recipe, parent=self.rows.parent
        )

    def submit(self) -> Receipt:
        key, lineage = self.key, self.lineage
        if self.submission.on_change == "new":
            return self._new(f"{key}-{uuid.uuid4().hex[:8]}")
        with self.database.read() as conn:
            same = batch_of_key(conn, key)
            family = [] if same is not None or lineage is None else batches_of_lineage(conn, lineage)
        if same is not None:
            return self._same(key, same)
        before = self._before(family)
        if before is None or before.state in (BatchState.CANCELLED, BatchState.RECEIVING):
            return self._new(key)
        difference = compare(self.database, before, self.input, self._look(), self.check_models)
        otherwise = () if difference.nothing else self._otherwise(before)
        choice: OnChange = self.submission.on_change
        if difference.nothing:
            choice = "extend"
        elif choice == "refuse" and otherwise:
            return replace(self._new(key), instead_of=before, otherwise=otherwise)
        elif choice == "refuse":
            choice = self.observer.rows_changed(before, difference) or "refuse"
        match choice:
            case "new":
                return self._new(key)
            case "extend":
                check_terms(self.database, before, self.submission)
                running = self._bound(before)
                return self._bounded(self._extended(before, difference, key), running)
            case _:
                message = (
                    f"batch {before.id} ({before.name}) asked this input before its rows changed: "
                    f"{difference.with_examples}. "
                    "--extend takes the change into that batch, --new makes a batch of its own"
                )
                raise InputRefused([Problem(0, "", "changed_input", message)])

    def _same(self, key: str, same: Batch) -> Receipt:
        """The batch of this very input is there."""
        by_key = self.submission.key is not None
        if same.state is BatchState.CANCELLED and not by_key:
            raise Conflict(f"batch {same.id} of this very input was cancelled; --new asks it again")
        settled = same.state not in (BatchState.RECEIVING, BatchState.REFUSED)
        if settled:
            check_terms(self.database, same, self.submission)
        if not settled or by_key or not (self.submission.drop_missing or self._has_pilot(same)):
            running = self._bound(same)
            return self._bounded(self._existing(self._new(key)), running)
        difference = compare(self.database, same, self.input, self._look(), self.check_models)
        running = self._bound(same)
        return self._bounded(self._extended(same, difference, key), running)

    def _before(self, family: list[Batch]) -> Batch | None:
        """The newest batch of this input that was asked in the same way, else the newest."""
        return next((batch for batch in family if not self._otherwise(batch)), family[0] if family else None)

    def _otherwise(self, batch: Batch) -> tuple[str, ...]:
        """What these rows are asked otherwise than that batch was."""
        with self.database.read() as conn:
            recipe = recipe_of(conn, batch.id)
        return request_differences(recipe or {}, self.recipe)

    def _new(self, key: str) -> Receipt:
        stored = upload(
            self.database,
            self.submission,
            self.input,
            key=key,
            name=self.name or ("stdin" if self.source == "-" else Path(self.source).name),
            source=self.source,
            origin=self.origin,
            clock=self.clock,
            observer=self.observer,
            check_models=self.check_models,
            keeps_refused=False,  # whoever submits a file hears at once what is wrong with it
        )
        receipt = Receipt(
            stored.batch, stored.created, columns=self.input.columns, encoding=self.input.encoding
        )
        return _with_notes(receipt, stored.reader)

    def _extended(self, batch: Batch, difference: Difference, key: str) -> Receipt:
        reader = Intake(self.submission, self.observer, self.model_facts)
        batch, _ = extend(
            self.database,
            batch,
            self.input,
            reader,
            key=key,
            origin=self.origin,
            source=self.source,
            clock=self.clock,
        )
        if self.submission.drop_missing and difference.gone:
            drop_missing(self.database, batch.id, self.input, self._look(), clock=self.clock)
            difference = replace(difference, dropped=True)
        looking = self.submission.model_copy(update={"on_bad_line": None})
        apply_to_rows(self.database, batch, looking, self.input, self._look, clock=self.clock)
        batch = apply_terms(
            self.database, batch, self.submission, clock=self.clock, check_models=self.check_models
        )
        return _with_notes(
            Receipt(batch, False, difference, columns=self.input.columns, encoding=self.input.encoding),
            reader,
        )

    def _existing(self, receipt: Receipt) -> Receipt:
        if receipt.created:
            return receipt
        reader = apply_to_rows(
            self.database,
            receipt.batch,
            self.submission,
            self.input,
            lambda: Intake(self.submission, self.observer, self.model_facts),
            clock=self.clock,
        )
        batch = apply_terms(
            self.database, receipt.batch, self.submission, clock=self.clock, check_models=self.check_models
        )
        return _with_notes(replace(receipt, batch=batch), reader)

    def _bounded(self, receipt: Receipt, running: int) -> Receipt:
        """Of a pilot of a batch that holds more, which jobs are its own; ``running`` others run."""
        if not self.submission.is_pilot or receipt.created:
            return receipt
        only = named_jobs(self.database, receipt.batch.id, self.input, self._look())
        difference = receipt.difference and replace(receipt.difference, gone=0)
        if len(only) == receipt.batch.jobs:
            return replace(receipt, difference=difference)
        return replace(receipt, difference=difference, only=only, outside_running=running)

    def _bound(self, batch: Batch) -> int:
        """Hold what lies outside of the limit, before anything else of the batch may move; how many of these run."""
        inside = (
            named_jobs(self.database, batch.id, self.input, self._look())
            if self.submission.is_pilot
            else None
        )
        return bound_jobs(self.database, batch.id, inside, clock=self.clock)

    def _look(self) -> Intake:
        """A reader that hands no wrong line out: the lines are read again."""
        return Intake(self.submission, model_facts=self.model_facts)

    def _has_pilot(self, batch: Batch) -> bool:
        with self.database.read() as conn:
            recipe = recipe_of(conn, batch.id)
        return bool(recipe and recipe.get("pilot"))


def _origin(submission: Submission, *, schedule: str | None = None) -> BatchOrigin:
    windows = windows_of(submission)
    return BatchOrigin(
        terms={name: getattr(submission, name) for name in TERMS},
        keep_seconds=None if submission.keep is None else keep_seconds(submission),
        schedule=schedule,
        recipe=None if schedule is None else {"documents": True},
        windows=None if windows is None else windows.plain,
    )


def _with_notes(receipt: Receipt, reader: Intake | None) -> Receipt:
    """What was odd about the lines as they were read now."""
    if reader is None:
        return receipt
    return replace(
        receipt,
        noted=reader.notes.lines,
        notes=tuple(reader.notes.first),
        rejected=reader.rejected,
        remarks=reader.remarks(),
        preview=reader.preview,
    )


def _lineage(name: str | None, source: str) -> str | None:
    """What stays the same while an input changes: the batch's name, or where the file lies. None for what is no file."""
    if name is None and source in NO_FILES:
        return None
    text = f"name\0{name}" if name is not None else f"path\0{Path(source).resolve()}"
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

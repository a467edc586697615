"""Has this input been here before? As it is, changed, or never; and what is done about it."""

import hashlib
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from worker.clock import Clock
from worker.domain.batches import Batch, BatchOrigin, BatchState
from worker.door.extend import Difference, compare, extend, named_jobs
from worker.door.intake import Intake, Reject
from worker.door.known import apply_terms, apply_to_rows, check_terms
from worker.door.recipe import Recipe, content_key, open_input
from worker.door.submit import CheckModels, Submitted, submit_lines
from worker.door.terms import NO_TERMS, Terms
from worker.errors import Conflict, InputRefused, Problem
from worker.maintenance.actions import bound_jobs
from worker.storage.batches import batch_of_key, latest_of_lineage, recipe_of
from worker.storage.engine import Database
from worker.storage.models import known_models

Answer = Literal["extend", "new"]
Ask = Callable[[Batch, Difference], Answer | None]
"""Asked what to do with a changed input. None: nobody can answer."""

NO_FILES = ("-", "python")
"""Sources: standard input, and a program. What comes from there next may be anything."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """A batch that was taken in, and how."""

    submitted: Submitted
    difference: Difference | None = None
    """What the batch did not have yet, where it was there before."""
    columns: tuple[str, ...] | None = None
    """Of the input, where it is a table."""
    only: frozenset[int] | None = None
    """The jobs within ``limit`` and ``sample``, where the batch has others too."""
    outside_running: int = 0
    """Jobs that are not, and run all the same: another command asked for them, and they end by themselves."""
    encoding: str | None = None
    """In which it was read, where that was found out and is not a usual one."""

    @property
    def batch(self) -> Batch:
        return self.submitted.batch


def arrive(
    database: Database,
    path: Path,
    recipe: Recipe,
    *,
    name: str | None,
    clock: Clock,
    ask: Ask,
    new: bool = False,
    key: str | None = None,
    source: str | None = None,
    max_attempts: int = 3,
    reject: Reject | None = None,
    check_models: CheckModels | None = None,
    progress: Callable[[int], None] | None = None,
    parent: int | None = None,
    terms: Terms = NO_TERMS,
) -> Arrived:
    """Take an input in under a recipe. ``parent``: the batch whose rows it asks again.

    The same input and recipe are the same batch and go on where it stopped; a pilot's batch takes the rest in. A
    changed input of the same name (or path) is compared with what was asked before, and ``ask`` decides.
    ``new`` makes a batch of its own, whatever was before; ``key`` is an idempotency key of the producer's own.
    ``terms`` are applied to a batch that is there, or refused. Jobs that the batch has outside of ``limit`` and
    ``sample`` are held until it is asked for without these.
    Raises InputRefused, Conflict, DatabaseUnavailable.
    """
    source = str(path) if source is None else source
    rows = open_input(path, recipe)
    told = key is not None
    key = key or content_key(path, recipe) + ("" if parent is None else f"-of-{parent}")
    of_parent = "" if parent is None else f"{parent}\0"
    lineage = None if told else _lineage(None if name is None else of_parent + name, source)
    kept = dict(recipe.kept)
    if rows.columns is not None:
        kept["columns"] = list(rows.columns)
    if rows.encoding is not None:
        kept["encoding_found"] = rows.encoding
    pilot = {"pilot": True} if recipe.is_pilot else {}
    origin = BatchOrigin(
        lineage,
        kept | pilot,
        terms.max_failures,
        recipe.defaults.deadline,
        None if terms.keep is None else int(terms.keep.total_seconds()),
        parent,
        windows=None if terms.windows is None else terms.windows.plain,
    )

    with database.read() as conn:
        told_of_models = known_models(conn)

    def intake(*, looking: bool = False) -> Intake:
        # a first look hands nothing out: the lines are read again
        return Intake(
            recipe.job_defaults,
            max_attempts,
            models=recipe.models,
            override=recipe.override,
            reject=(lambda problem, line: None) if looking and reject is not None else reject,
            told=told_of_models,
        )

    def submitted(key: str) -> Arrived:
        return Arrived(
            submit_lines(
                database,
                rows,
                key=key,
                name=name or ("stdin" if source == "-" else Path(source).name),
                source=source,
                defaults=recipe.job_defaults,
                clock=clock,
                max_attempts=max_attempts,
                models=recipe.models,
                override=recipe.override,
                origin=origin,
                reject=reject,
                check_models=check_models,
                progress=progress,
            ),
            columns=rows.columns,
            encoding=rows.encoding,
        )

    def extended(batch: Batch, difference: Difference) -> Arrived:
        reader = intake()
        batch, _ = extend(database, batch, rows, reader, key=key, origin=origin, source=source, clock=clock)
        looking = replace(terms, on_bad_line=None)
        apply_to_rows(database, batch, recipe, looking, rows, lambda: intake(looking=True), clock=clock)
        batch = apply_terms(database, batch, recipe, terms, clock=clock, check_models=check_models)
        return Arrived(_again(batch, reader), difference, rows.columns, encoding=rows.encoding)

    def known(arrived: Arrived) -> Arrived:
        if arrived.submitted.created:
            return arrived
        reader = apply_to_rows(database, arrived.batch, recipe, terms, rows, intake, clock=clock)
        batch = apply_terms(database, arrived.batch, recipe, terms, clock=clock, check_models=check_models)
        return replace(arrived, submitted=_again(batch, reader))

    def bounded(arrived: Arrived, running: int) -> Arrived:
        """Of a pilot of a batch that holds more, which jobs are its own; ``running`` others run."""
        if not recipe.is_pilot or arrived.submitted.created:
            return arrived
        only = named_jobs(database, arrived.batch.id, rows, intake(looking=True))
        difference = arrived.difference and replace(arrived.difference, gone=0)
        if len(only) == arrived.batch.jobs:
            return replace(arrived, difference=difference)
        return replace(arrived, difference=difference, only=only, outside_running=running)

    def bound(batch: Batch) -> int:
        """Hold what lies outside of the limit, before anything else of the batch may move; how many of these run."""
        inside = named_jobs(database, batch.id, rows, intake(looking=True)) if recipe.is_pilot else None
        return bound_jobs(database, batch.id, inside, clock=clock)

    if new:
        return submitted(f"{key}-{uuid.uuid4().hex[:8]}")
    with database.read() as conn:
        same = batch_of_key(conn, key)
        before = None if same is not None or lineage is None else latest_of_lineage(conn, lineage)
    if same is not None:
        if same.state is BatchState.CANCELLED and not told:
            raise Conflict(f"batch {same.id} of this very input was cancelled; --new asks it again")
        settled = same.state not in (BatchState.RECEIVING, BatchState.REFUSED)
        if settled:
            check_terms(database, same, recipe, terms)
        if not settled or told or not _is_pilot(database, same):
            running = bound(same)
            return bounded(known(submitted(key)), running)
        difference = compare(database, same, rows, intake(looking=True), check_models)
        running = bound(same)
        return bounded(extended(same, difference), running)
    if before is None or before.state in (BatchState.CANCELLED, BatchState.RECEIVING):
        return submitted(key)
    difference = compare(database, before, rows, intake(looking=True), check_models)
    if difference.nothing:
        check_terms(database, before, recipe, terms)
        running = bound(before)
        return bounded(extended(before, difference), running)
    match ask(before, difference):
        case "new":
            return submitted(key)
        case "extend":
            check_terms(database, before, recipe, terms)
            running = bound(before)
            return bounded(extended(before, difference), running)
        case None:
            told_so = (
                f"batch {before.id} ({before.name}) asked this input before it changed: {difference}. "
                "--extend takes the change into that batch, --new makes a batch of its own"
            )
            raise InputRefused([Problem(0, "", "changed_input", told_so)])


def _again(batch: Batch, reader: Intake | None) -> Submitted:
    """A batch that was there before, and what was odd about its input as it was read now."""
    if reader is None:
        return Submitted(batch, created=False)
    return Submitted(batch, False, reader.noted, tuple(reader.notes), reader.rejected, reader.remarks())


def _lineage(name: str | None, source: str) -> str | None:
    """What stays the same while an input changes: the batch's name, or where the file lies. None for what is no file."""
    if name is None and source in NO_FILES:
        return None
    told = f"name\0{name}" if name is not None else f"path\0{Path(source).resolve()}"
    return hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()


def _is_pilot(database: Database, batch: Batch) -> bool:
    with database.read() as conn:
        recipe: Mapping[str, Any] | None = recipe_of(conn, batch.id)
    return bool(recipe and recipe.get("pilot"))

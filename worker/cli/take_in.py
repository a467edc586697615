"""An input on its way in: what is in force is said, the input is taken in, and what was odd about it told."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import typer
from rich.console import Console

from worker.cli.hours import say_forecast
from worker.cli.options import FROM_BATCH, Wanted
from worker.cli.streams import machine_output
from worker.clock import Clock
from worker.documents.encodings import shown_encoding
from worker.domain.batches import Batch
from worker.door.again import Again, write_again
from worker.door.arrival import Answer, Arrived, arrive
from worker.door.extend import Difference
from worker.door.inputs import keep_standard_input
from worker.door.intake import Intake, Reject
from worker.door.recipe import InputLine, Recipe, open_input
from worker.door.submit import CheckModels
from worker.errors import DatabaseFailure, InputRefused, Problem
from worker.exports.writers import RejectsFile, rejects_path
from worker.observability.terminal import terminal_safe
from worker.policy.context_window import NUM_PREDICT, NUM_PREDICT_THINKING
from worker.settings import Settings
from worker.storage.batches import find_batch
from worker.storage.engine import Database


def take_in(
    database: Database,
    clock: Clock,
    settings: Settings,
    file: Path,
    recipe: Recipe,
    wanted: Wanted,
    *,
    console: Console,
    check_models: CheckModels | None,
) -> Arrived:
    """Take FILE (``-``: standard input) in and say on ``console`` what came of it. Raises as ``arrive`` does."""
    if wanted.again is not None:
        arrived = _take_in_again(
            database,
            clock,
            settings,
            recipe,
            wanted,
            wanted.again,
            console=console,
            check_models=check_models,
        )
    else:
        arrived = _take_in_file(
            database, clock, settings, file, recipe, wanted, console=console, check_models=check_models
        )
    if wanted.told:
        from worker.storage.notices import promise_notices

        with database.write() as conn:
            promise_notices(conn, arrived.batch.id, wanted.told, now=clock.now())
    _say_difference(console, arrived)
    if wanted.terms.windows is not None:
        say_forecast(database, clock, arrived.batch.id, console)
    return arrived


def _take_in_file(
    database: Database,
    clock: Clock,
    settings: Settings,
    file: Path,
    recipe: Recipe,
    wanted: Wanted,
    *,
    console: Console,
    check_models: CheckModels | None,
) -> Arrived:
    piped = str(file) == "-"
    path = file
    if piped:
        path = keep_standard_input(sys.stdin.buffer, settings.home / "input", rows=not recipe.is_plain)
    console.print(in_force(recipe), style="dim", soft_wrap=True)
    with _rejects(wanted, file) as (rejected, rejects):
        arrived = arrive(
            database,
            path,
            recipe,
            name=wanted.name,
            clock=clock,
            ask=_asking(wanted, console),
            new=wanted.new,
            key=wanted.key,
            source="-" if piped else str(file),
            max_attempts=settings.max_attempts,
            terms=wanted.terms,
            reject=rejected,
            check_models=check_models,
        )
        _say_notes(console, arrived, rejects)
    return arrived


def _take_in_again(
    database: Database,
    clock: Clock,
    settings: Settings,
    recipe: Recipe,
    wanted: Wanted,
    again: Again,
    *,
    console: Console,
    check_models: CheckModels | None,
) -> Arrived:
    """Rows of a batch, taken in as a batch that is linked to it."""
    with database.read() as conn:
        parent = find_batch(conn, again.batch)
    path, rows = write_again(database, parent, again, settings.home / "input", models=recipe.models)
    asked = ", ".join(recipe.models)
    console.print(
        f"Asks {rows:,} rows of batch {parent.id} ({parent.name}) again{f', of {asked}' if asked else ''}.",
        style="dim",
    )
    try:
        with _rejects(wanted, FROM_BATCH) as (rejected, rejects):
            arrived = arrive(
                database,
                path,
                recipe,
                name=wanted.name or f"{parent.name} again{f', {asked}' if asked else ''}",
                clock=clock,
                ask=_asking(wanted, console),
                new=wanted.new,
                key=wanted.key,
                source=f"batch {parent.id}",
                max_attempts=settings.max_attempts,
                terms=wanted.terms,
                reject=rejected,
                check_models=check_models,
                parent=parent.id,
            )
            _say_notes(console, arrived, rejects)
    finally:
        path.unlink(missing_ok=True)  # the rows are in the database
    return arrived


def _say_notes(console: Console, arrived: Arrived, rejects: Path) -> None:
    submitted = arrived.submitted
    if arrived.encoding is not None:
        console.print(read_as(arrived.encoding), style="yellow", highlight=False, soft_wrap=True)
    for remark in submitted.remarks:
        console.print(remark, style="yellow", markup=False, highlight=False, soft_wrap=True)
    for note in submitted.notes:
        console.print(note, style="yellow")
    if submitted.noted > len(submitted.notes):
        console.print(f"… {submitted.noted:,} such lines in all", style="yellow")
    if submitted.rejected:
        console.print(f"{submitted.rejected:,} lines left out; they are in {rejects}", style="yellow")


def _say_difference(console: Console, arrived: Arrived) -> None:
    difference = arrived.difference
    if arrived.only is not None:
        outside = arrived.batch.jobs - len(arrived.only)
        console.print(
            f"{outside:,} more of batch {arrived.batch.id} ({arrived.batch.name}) lie outside --limit or --sample; "
            "they are neither asked nor written now. The same command without it takes them all.",
            soft_wrap=True,
        )
        if arrived.outside_running:
            console.print(
                f"{arrived.outside_running:,} of them run already and end by themselves.", style="yellow"
            )
    if difference is not None:
        console.print(f"batch {arrived.batch.id} ({arrived.batch.name}): {difference}")
        if difference.running:
            console.print(
                f"{difference.running:,} of the changed ones are being answered just now and were left; "
                "give the same command again when they are done",
                style="yellow",
            )


def bound_of(database: Database, clock: Clock, arrived: Arrived) -> Callable[[], int] | None:
    """Holds jobs outside of the limit that ran when the command began, should they come back without an answer."""
    from worker.maintenance.actions import bound_jobs

    if not arrived.outside_running:
        return None
    return lambda: bound_jobs(database, arrived.batch.id, arrived.only, clock=clock)


def tell(
    database: Database, clock: Clock, settings: Settings, batch_id: int, wanted: Wanted, console: Console
) -> None:
    """Tell those who are to be told, if the batch is over; what does not get out is left to the next command that serves."""
    if not wanted.told:
        return
    from worker.reports.notices import deliver_notices
    from worker.storage.notices import list_notices

    try:
        deliver_notices(database, clock=clock, means=settings.means, batch_id=batch_id)
        with database.read() as conn:
            notices = list_notices(conn, batch_id)
    except DatabaseFailure as error:
        console.print(f"nobody was told: {error}", style="yellow")
        return
    for notice in notices:
        if notice.error is not None:
            console.print(
                f"{notice.to.channel} to {notice.to.target}: not sent: {notice.error}; caravan up tries again",
                style="yellow",
            )


@contextmanager
def _rejects(wanted: Wanted, file: Path) -> Iterator[tuple[Reject | None, Path]]:
    beside = None if wanted.output is None or str(wanted.output) == "-" else wanted.output
    path = rejects_path(beside, Path("stdin.jsonl") if str(file) == "-" else file)
    if wanted.terms.on_bad_line != "skip":
        yield None, path
        return
    if wanted.outputs is not None:
        wanted.outputs.check(path)
    written = False
    try:
        with RejectsFile(path) as rejects:

            def reject(problem: Problem, line: InputLine) -> None:
                nonlocal written
                rejects.add(problem, line)
                written = True

            yield reject, path
    except InputRefused:  # the file says why
        if wanted.outputs is not None and written:
            wanted.outputs.remember(path)
        raise
    if wanted.outputs is not None and written:
        wanted.outputs.remember(path)


def _asking(wanted: Wanted, console: Console) -> Callable[[Batch, Difference], Answer | None]:
    def ask(batch: Batch, difference: Difference) -> Answer | None:
        if wanted.extend:
            return "extend"
        if not (sys.stdin.isatty() and console.is_terminal):
            return None
        console.print(f"batch {batch.id} ({batch.name}) asked this input before it changed: {difference}.")
        answer = typer.prompt(
            "[e]xtend that batch, [n]ew batch, or [q]uit", default="q", err=True, show_default=True
        ).lower()
        match answer[:1]:
            case "e":
                return "extend"
            case "n":
                return "new"
            case _:
                raise typer.Exit(2)

    return ask


def in_force(recipe: Recipe) -> str:
    """What is asked where a row says nothing else: always seen, never guessed.

    >>> in_force(Recipe())[:60]
    'In force: num_predict 2,048 (8,192 where a model reasons), t'
    """
    said, options = recipe.defaults, dict(recipe.defaults.options or {})
    predict, window = options.pop("num_predict", None), options.pop("num_ctx", None)
    parts = [
        f"num_predict {predict:,}"
        if isinstance(predict, int)
        else f"num_predict {NUM_PREDICT:,} ({NUM_PREDICT_THINKING:,} where a model reasons)",
        "think where a model can" if said.think is None else f"think {'on' if said.think else 'off'}",
        "a window that fits" if window is None else f"window {window:,}",
    ]
    if said.format is not None:
        parts.append("format json" if said.format == "json" else "format by schema")
    if said.repairs is not None:
        parts.append(f"repairs {said.repairs}")
    if said.allow_empty:
        parts.append("answers without text accepted")
    if said.priority is not None:
        parts.append(f"priority {said.priority}")
    parts.append(
        ", ".join(f"{name} {value}" for name, value in options.items())
        if options
        else "the model's own sampling"
    )
    rest = "whatever rows say" if recipe.override else "where a row says nothing else"
    return f"In force: {', '.join(parts)}; {rest}."


def read_as(encoding: str) -> str:
    """What is said of an encoding that nobody named."""
    return f"read as {shown_encoding(encoding)}, which was found out; --encoding names another"


def show_prompt(name: str, system: str | None, prompt: str) -> None:
    """Print a prompt as a host would get it; into a file or a pipe exactly."""
    with machine_output() as out:
        out.write(f"── {terminal_safe(name)}\n{f'[system] {system}{chr(10)}' if system else ''}{prompt}\n")


def show_prompts(file: Path, recipe: Recipe, count: int) -> int:
    """Print ``count`` prompts as hosts would get them; sends nothing. Returns how many. Raises InputRefused."""
    intake = Intake(
        replace(recipe.job_defaults, model=recipe.job_defaults.model or "any"),
        max_attempts=1,
        override=recipe.override,
    )
    shown = 0
    rows = open_input(file, recipe)
    for job in intake.read(rows):
        if intake.problems or shown == count:
            break
        show_prompt(f"line {job.seq}: {job.custom_id}", job.request.get("system"), job.prompt)
        shown += 1
    if intake.problems:
        raise InputRefused(intake.problems, left_out=intake.left_out)
    for remark in (*([read_as(rows.encoding)] if rows.encoding else []), *intake.notes, *intake.remarks()):
        typer.echo(remark, err=True)
    return shown

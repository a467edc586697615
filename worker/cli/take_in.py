"""An input on its way in: what is in force is said, the input is taken in, and what was odd about it told."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import typer
from rich.console import Console

from api_schemas.submissions import Submission
from worker.cli.hours import say_forecast
from worker.cli.reading import ReadingProgress
from worker.cli.settings import common_options
from worker.cli.streams import machine_output
from worker.cli.submissions import Entry
from worker.clock import Clock
from worker.documents.encodings import encoding_label
from worker.domain.batches import Batch
from worker.door.again import Again, write_again
from worker.door.intake import intake_of
from worker.door.observer import CheckModels, Choice, Difference, Observer
from worker.door.preview import summary, warnings
from worker.door.rows import InputLine, RowFile
from worker.door.submit import Receipt, submit
from worker.errors import DatabaseFailure, InputRefused, Problem
from worker.exports.outputs import Outputs
from worker.exports.rejects import RejectsFile, rejects_path
from worker.observability.terminal import terminal_safe
from worker.policy.context_window import NUM_PREDICT, NUM_PREDICT_THINKING
from worker.settings import Settings
from worker.storage.batches import find_batch
from worker.storage.engine import Database
from worker.storage.notices import list_notices


def take_in(
    database: Database,
    settings: Settings,
    entry: Entry,
    console: Console,
    check_models: CheckModels | None = None,
    *,
    output: Path | None = None,
) -> Receipt:
    """Submit rows of a command and report the outcome on ``console``. Raises as ``door.submit`` does."""
    submission, clock = entry.submission, database.clock()
    with ExitStack() as exits:
        if isinstance(entry.rows, RowFile):
            row_file = entry.rows
            if common_options().verbose:
                console.print(in_force(submission), style="dim")
        else:
            row_file = exits.enter_context(_rows_again(database, settings, entry.rows, submission, console))
        rejects = exits.enter_context(_rejects(submission, row_file, output, entry.outputs))
        name = row_file.name or row_file.path.name
        with ReadingProgress(console, name, lambda: row_file.reached[0]) as reading:
            receipt = submit(
                database,
                submission,
                row_file,
                observer=_AtTerminal(console, rejects, reading),
                check_models=None if check_models is None else _after(reading, check_models),
                clock=clock,
            )
        _say_notes(console, receipt, rejects.path)
    _say_difference(console, receipt)
    if receipt.retried is not None:
        console.print(f"{receipt.retried:,} failed jobs are asked again")
    if submission.window or submission.blackout:
        say_forecast(database, clock, receipt.batch.id, console)
    return receipt


@contextmanager
def _rows_again(
    database: Database, settings: Settings, again: Again, submission: Submission, console: Console
) -> Iterator[RowFile]:
    """Rows of a batch in a file, to be taken in as a batch that is linked to it."""
    with database.read() as conn:
        parent = find_batch(conn, again.batch)
    path, count = write_again(database, parent, again, settings.home / "input", models=submission.models)
    models = ", ".join(submission.models)
    console.print(
        f"Asks {count:,} rows of batch {parent.id} ({parent.name}) again{f', of {models}' if models else ''}.",
        style="dim",
    )
    try:
        name = f"{parent.name} again{f', {models}' if models else ''}"
        yield RowFile(path, f"batch {parent.id}", name, parent.id)
    finally:
        path.unlink(missing_ok=True)  # the rows are in the database


def _say_notes(console: Console, submitted: Receipt, rejects: Path) -> None:
    if submitted.preview is not None and submitted.preview.rows:
        console.print(summary(submitted.preview, unsampled=submitted.unsampled), style="dim")
        for warning in warnings(submitted.preview):
            console.print(warning, style="yellow", markup=False, highlight=False)
    if submitted.encoding is not None:
        console.print(read_as(submitted.encoding), style="yellow", highlight=False)
    for remark in submitted.remarks:
        console.print(remark, style="yellow", markup=False, highlight=False)
    for note in submitted.notes:
        console.print(note, style="yellow")
    if submitted.noted > len(submitted.notes):
        console.print(f"… {submitted.noted:,} such lines in all", style="yellow")
    if submitted.rejected:
        console.print(f"{submitted.rejected:,} lines left out; they are in {rejects}", style="yellow")


def _say_difference(console: Console, arrived: Receipt) -> None:
    difference = arrived.difference
    before = arrived.instead_of
    if before is not None:
        console.print(
            f"A new batch: batch {before.id} ({before.name}) asked these rows with another "
            f"{listed_parts(arrived.otherwise)}. --extend asks them again in that batch.",
        )
    if arrived.only is not None:
        outside = arrived.batch.jobs - len(arrived.only)
        console.print(
            f"{outside:,} more of batch {arrived.batch.id} ({arrived.batch.name}) lie outside --limit or --sample; "
            "they are neither asked nor written now. The same command without it takes them all.",
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


def pilot_of(submission: Submission, arrived: Receipt) -> str:
    """What the same command does without the option that makes it a pilot; empty where it is not a pilot."""
    if submission.sample is not None:
        others = f"The same command without --sample asks the other {arrived.unsampled:,} rows."
        return others if arrived.unsampled else ""
    return "" if submission.limit is None else "The same command without --limit asks the other rows."


def tell(
    database: Database,
    clock: Clock,
    settings: Settings,
    batch_id: int,
    submission: Submission,
    console: Console,
) -> None:
    """Tell those who are to be told, if the batch is over; what does not get out is left to the next command that serves."""
    if not submission.notices:
        return
    from worker.reports.notices import deliver_notices

    try:
        deliver_notices(database, clock=clock, means=settings.means, batch_id=batch_id)
        with database.read() as conn:
            notices = list_notices(conn, batch_id)
    except DatabaseFailure as error:
        console.print(f"no notice was sent: {error}", style="yellow")
        return
    for notice in notices:
        if notice.error is not None:
            console.print(
                f"{notice.to.channel} to {notice.to.target}: not sent: {notice.error}; caravan up tries again",
                style="yellow",
            )


class _Rejects:
    """The file of lines that are left out, made with the first of them."""

    def __init__(self, path: Path, file: RejectsFile | None) -> None:
        self.path = path
        self.written = False
        self._file = file

    def add(self, problem: Problem, line: InputLine) -> None:
        if self._file is not None:
            self._file.add(problem, line)
            self.written = True


@contextmanager
def _rejects(
    submission: Submission, rows: RowFile, output: Path | None, outputs: Outputs | None
) -> Iterator[_Rejects]:
    beside = None if output is None or str(output) == "-" else output
    file = rows.path
    if rows.source == "-":
        file = Path("stdin.jsonl")
    elif rows.source == "sql":
        file = Path("sql.jsonl")
    elif rows.parent is not None:
        file = Path("from-batch.jsonl")
    path = rejects_path(beside, file)
    if submission.on_bad_line != "skip":
        yield _Rejects(path, None)
        return
    if outputs is not None:
        outputs.check(path)
    rejects = _Rejects(path, None)
    try:
        with RejectsFile(path) as opened:
            rejects = _Rejects(path, opened)
            yield rejects
    except InputRefused:  # the file says why
        if outputs is not None and rejects.written:
            outputs.remember(path)
        raise
    if outputs is not None and rejects.written:
        outputs.remember(path)


def _after(reading: ReadingProgress, check: CheckModels) -> CheckModels:
    """The check once nothing is drawn any more: it may show how far a model is pulled."""

    def check_models(models: Mapping[str, int]) -> list[Problem]:
        reading.end()
        return check(models)

    return check_models


class _AtTerminal(Observer):
    """Asks whoever sits at a terminal, and keeps lines that are left out in a file."""

    def __init__(self, console: Console, rejects: _Rejects, reading: ReadingProgress) -> None:
        self._console = console
        self._rejects = rejects
        self._reading = reading

    def rejected(self, problem: Problem, line: InputLine) -> None:
        self._rejects.add(problem, line)

    def rows_changed(self, batch: Batch, difference: Difference) -> Choice | None:
        if not (sys.stdin.isatty() and self._console.is_terminal):
            return None
        self._reading.end()
        self._console.print(
            f"batch {batch.id} ({batch.name}) asked this input before its rows changed: "
            f"{difference.with_examples}."
        )
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


def listed_parts(parts: Sequence[str]) -> str:
    """Parts of a recipe in words, the first few of them.

    >>> listed_parts(("model", "options.seed", "prompt", "think", "format"))
    'model, options.seed, prompt and 2 more'
    """
    if len(parts) < 4:
        return " and ".join((", ".join(parts[:-1]), parts[-1])) if len(parts) > 1 else "".join(parts)
    return f"{', '.join(parts[:3])} and {len(parts) - 3} more"


def in_force(submission: Submission) -> str:
    """What is asked where a row says nothing else: always seen, never guessed.

    >>> in_force(Submission())[:60]
    'In force: num_predict 2,048 (8,192 where a model reasons), t'
    """
    options = dict(submission.options or {})
    predict, window = options.pop("num_predict", None), options.pop("num_ctx", None)
    fits = "a window that fits" if window is None else f"window {window:,}"
    cut = "what does not fit is cut" if submission.truncate else "nothing is cut"
    if submission.embed:
        return f"In force: vectors, {fits}, {cut}."
    parts = [
        f"num_predict {predict:,}"
        if isinstance(predict, int)
        else f"num_predict {NUM_PREDICT:,} ({NUM_PREDICT_THINKING:,} where a model reasons)",
        "think where a model can"
        if submission.think is None
        else f"think {'on' if submission.think else 'off'}",
        fits,
    ]
    if submission.truncate:
        parts.append(cut)
    if submission.format is not None:
        parts.append("format json" if submission.format == "json" else "format by schema")
    if submission.repairs is not None:
        parts.append(f"repairs {submission.repairs}")
    if submission.allow_empty:
        parts.append("answers without text accepted")
    if submission.priority is not None:
        parts.append(f"priority {submission.priority}")
    parts.append(
        ", ".join(f"{name} {value}" for name, value in options.items())
        if options
        else "the model's own sampling"
    )
    rest = "whatever rows say" if submission.override else "where a row says nothing else"
    return f"In force: {', '.join(parts)}; {rest}."


def read_as(encoding: str) -> str:
    """What is said of an encoding that nobody named."""
    return f"read as {encoding_label(encoding)}, which was found out; --encoding names another"


def show_prompt(name: str, system: str | None, prompt: str) -> None:
    """Print a prompt as a host would get it; into a file or a pipe exactly."""
    with machine_output() as out:
        out.write(f"── {terminal_safe(name)}\n{f'[system] {system}{chr(10)}' if system else ''}{prompt}\n")


def show_prompts(rows: RowFile, submission: Submission, count: int) -> int:
    """Print ``count`` prompts as hosts would get them; sends nothing. Returns how many. Raises InputRefused."""
    models = submission.models[:1] or ("any",)
    intake = intake_of(submission.model_copy(update={"models": models, "on_bad_line": None}))
    shown = 0
    lines = rows.open(submission)
    for job in intake.read(lines):
        if intake.problems or shown == count:
            break
        show_prompt(f"line {job.seq}: {job.custom_id}", job.request.get("system"), job.prompt)
        shown += 1
    if intake.problems:
        raise InputRefused(intake.problems, more_problems=intake.more_problems)
    detected = [read_as(lines.encoding)] if lines.encoding else []
    for remark in (*detected, *lines.remarks, *intake.notes, *intake.remarks()):
        typer.echo(remark, err=True)
    return shown

"""What a command submits, on its way through the door: shown while it is read, with what is odd about it."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import typer

from api_schemas.submissions import Submission
from worker.cli.hours import say_forecast
from worker.cli.prompts import in_force, read_as
from worker.cli.reading import ReadingProgress
from worker.cli.render import Console
from worker.cli.settings import common_options
from worker.cli.submissions import Entry
from worker.domain.batches import Batch
from worker.domain.numbers import count_of
from worker.door.input_files import BatchRows, write_rows
from worker.door.observer import CheckModels, Choice, Difference, Observer
from worker.door.preview import summary, warnings
from worker.door.rows import InputLine, RowFile
from worker.door.submit import Receipt, submit
from worker.errors import InputRefused, Problem
from worker.exports.outputs import Outputs
from worker.exports.rejects import RejectsFile, rejects_path
from worker.settings import Settings
from worker.storage.batches import find_batch
from worker.storage.engine import Database


def submit_entry(
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
            row_file = exits.enter_context(
                _rows_of_batch(database, settings, entry.rows, submission, console)
            )
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
        console.print(f"{count_of(receipt.retried, 'failed job is', 'failed jobs are')} asked again")
    if submission.window or submission.blackout:
        say_forecast(database, clock, receipt.batch.id, console)
    return receipt


@contextmanager
def _rows_of_batch(
    database: Database, settings: Settings, rows: BatchRows, submission: Submission, console: Console
) -> Iterator[RowFile]:
    """Rows of a batch in a file, to be taken in as a batch that is linked to it."""
    with database.read() as conn:
        parent = find_batch(conn, rows.batch)
    path, count = write_rows(database, parent, rows, settings.home / "input", models=submission.models)
    models = ", ".join(submission.models)
    console.print(
        f"Asks {count_of(count, 'row')} of batch {parent.id} ({parent.name}) again{f', of {models}' if models else ''}.",
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
        console.print(f"{count_of(submitted.rejected, 'line')} left out; see {rejects}", style="yellow")


def _say_difference(console: Console, arrived: Receipt) -> None:
    difference = arrived.difference
    before = arrived.instead_of
    if before is not None:
        differ = "differ from those" if len(arrived.otherwise) > 1 else "differs from that"
        console.print(
            f"A new batch, because {listed_options(arrived.otherwise)} {differ} of batch {before.id} ({before.name}), "
            "which asked the same rows. --extend asks them again in that batch.",
        )
    if arrived.only is not None:
        outside = arrived.batch.jobs - len(arrived.only)
        name = f"batch {arrived.batch.id} ({arrived.batch.name})"
        console.print(
            f"{count_of(outside, f'more of {name} is', f'more of {name} are')} outside --limit or --sample: they are "
            "neither asked nor written. The same command without that option takes all.",
        )
        if arrived.outside_running:
            run = count_of(arrived.outside_running, "of them runs", "of them run")
            console.print(f"{run} already; their answers will be stored.", style="yellow")
    if difference is not None:
        console.print(f"batch {arrived.batch.id} ({arrived.batch.name}): {difference}")
        if difference.running:
            console.print(
                f"{count_of(difference.running, 'changed row is', 'changed rows are')} being answered now and did not change; "
                "give the same command again when that is done",
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
        question = "[e]xtend that batch, [n]ew batch, or [q]uit"
        while True:
            match typer.prompt(question, default="q", err=True, show_default=True).lower():
                case "e" | "extend":
                    return "extend"
                case "n" | "new":
                    return "new"
                case "q" | "quit":
                    raise typer.Exit(2)


def listed_options(parts: Sequence[str]) -> str:
    """The options that give these parts of a recipe, the first few of them.

    >>> listed_options(("model", "options.seed", "image_columns", "think", "keep_alive"))
    '--model, --set seed, --image and 2 more'
    """
    options = [_OPTIONS.get(part, f"--{part.replace('_', '-')}") for part in parts]
    options = [option.replace("--options.", "--set ") for option in options]
    if len(options) < 4:
        return " and ".join((", ".join(options[:-1]), options[-1])) if len(options) > 1 else "".join(options)
    return f"{', '.join(options[:3])} and {len(options) - 3} more"


_OPTIONS = {"prompt": "the prompt (--prompt, --template)", "image_columns": "--image"}
"""Parts of a recipe whose options have other names."""

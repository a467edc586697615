"""``caravan status``, ``batches`` and ``results``: what there is, how far it has come, and what came of it."""

import io
import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from worker.cli.exits import finished_code
from worker.cli.plain import lines
from worker.cli.settings import opened, settings_for
from worker.domain.batches import Batch, BatchProgress, BatchState
from worker.domain.jobs import JobState
from worker.storage.batches import find_batch, list_batches, list_rejects
from worker.storage.counts import batch_progress

if TYPE_CHECKING:
    from worker.storage.engine import Connection

Reference = Annotated[
    str,
    typer.Argument(metavar="BATCH", help="Its number, key, name, the beginning of one, or @last."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]

NARROW = 110
"""Columns of a terminal below which a list of batches has no room for why one is paused."""


def status(
    batch: Annotated[
        str | None, typer.Argument(metavar="BATCH", help="Number, key, name or @last; none: all.")
    ] = None,
    json_: AsJson = False,
) -> None:
    """Show how far a batch, or every batch, has come.

    Of one batch it says why it is paused, and what its jobs failed with.
    Exit code: 0; 3 where nothing is left to do and not every job succeeded.

    Example: caravan status @last
    """
    with opened(settings_for()) as database, database.read() as conn:
        if batch is None:
            shown = [batch_progress(conn, one.id) for one in list_batches(conn, limit=50)]
            _print_batches(shown, as_json=json_)
            return
        found = find_batch(conn, batch)
        progress = batch_progress(conn, found.id)
        rejects = [str(problem) for problem in list_rejects(conn, found.id)]
        failures = _failures(conn, progress)
    if json_:
        typer.echo(json.dumps({**_plain(progress), "problems": rejects, "failures": failures}))
    else:
        from worker.cli.render import progress_line

        typer.echo(f"{progress_line(progress)} [{found.state}]")
        if found.state is BatchState.PAUSED:
            typer.echo(f"  paused: {found.pause_reason or 'caravan resume lets it go on'}")
        for failure in failures:
            message = " ".join(failure["message"].split())[:300]
            typer.echo(f"  {failure['jobs']:,} failed with {failure['code']}: {message}")
        for rejected in rejects:
            typer.echo(f"  {rejected}")
    if progress.total and not progress.open:
        raise typer.Exit(finished_code(progress))


def _failures(conn: "Connection", progress: BatchProgress) -> list[dict[str, Any]]:
    """The commonest failures, and what the first job that failed so failed of."""
    if not progress.counts.get(JobState.FAILED):
        return []
    from worker.storage.pauses import first_failure
    from worker.storage.reports import failures_by_code

    batch = progress.batch.id
    return [
        {"code": code, "jobs": jobs, "message": first_failure(conn, batch, code) or ""}
        for code, jobs in failures_by_code(conn, batch, most=5).items()
    ]


def batches(
    state: Annotated[
        list[BatchState] | None, typer.Option("--state", help="Only these states; repeat for more.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many.")] = 50,
    json_: AsJson = False,
) -> None:
    """List batches, the newest first: name, state, and how far each has come.

    Example: caravan batches --state paused
    """
    states = frozenset(state) if state else None
    with opened(settings_for()) as database, database.read() as conn:
        found = [batch_progress(conn, one.id) for one in list_batches(conn, limit, states=states)]
    _print_batches(found, as_json=json_, of_some=states is not None)


def _print_batches(shown: list[BatchProgress], *, as_json: bool, of_some: bool = False) -> None:
    if as_json:
        typer.echo(json.dumps([_plain(progress) for progress in shown]))
        return
    if not shown:
        typer.echo(
            "no batches in that state"
            if of_some
            else "no batches yet: caravan run FILE, or caravan submit FILE"
        )
        return
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    narrow = width is not None and width < NARROW
    rows = []
    for progress in shown:
        counts, batch = progress.counts, progress.batch
        numbers = (
            progress.total,
            progress.done,
            *(counts.get(state, 0) for state in (JobState.FAILED, JobState.HELD, JobState.RUNNING)),
        )
        rows.append(
            [
                str(batch.id),
                batch.name,
                str(batch.state) if narrow else _state(batch),
                *(f"{n:,}" for n in numbers),
                batch.created_at.astimezone().strftime("%m-%d %H:%M" if narrow else "%Y-%m-%d %H:%M"),
            ]
        )
    right = ("batch", "jobs", "done", "failed", "held", "running")
    names = ("batch", "name", "state", "jobs", "done", "failed", "held", "running", "created")
    for line in lines(names, rows, right=right, whole=("created",), width=width):
        typer.echo(line)


def _state(batch: Batch) -> str:
    why = f": {batch.pause_reason}" if batch.state is BatchState.PAUSED and batch.pause_reason else ""
    return f"{batch.state}{why}"


def _plain(progress: BatchProgress) -> dict[str, Any]:
    batch = progress.batch
    return {
        "batch": batch.id,
        "key": batch.key,
        "name": batch.name,
        "state": batch.state,
        "pause_code": batch.pause_code,
        "pause_reason": batch.pause_reason,
        "total": progress.total,
        "done": progress.done,
        "counts": {str(state): n for state, n in progress.counts.items()},
        "created_at": batch.created_at.isoformat(),
        "finished_at": batch.finished_at.isoformat() if batch.finished_at else None,
    }


def results(
    batch: Reference,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="Write there what its ending says: .jsonl, .csv, .tsv (each with .gz) or .parquet.",
        ),
    ] = None,
    state: Annotated[
        list[JobState] | None, typer.Option("--state", help="Only these states; repeat for more.")
    ] = None,
    as_: Annotated[
        Literal["jsonl", "csv"], typer.Option("--as", help="What to print where no file is named.")
    ] = "jsonl",
    bom: Annotated[
        bool, typer.Option("--bom", help="CSV with a byte order mark: Excel reads it as UTF-8.")
    ] = False,
    raw: Annotated[
        bool, typer.Option("--raw", help="CSV without the ' before texts a spreadsheet takes for formulas.")
    ] = False,
) -> None:
    """Write the results of a batch, in the order of the input, at any time: JSON lines, CSV or Parquet.

    Example: caravan results @last -o answers.csv --bom
    """
    from worker.cli.render import error_console
    from worker.services.results import write_results, write_results_csv, write_results_file
    from worker.services.writers import check_output

    to_file = output is not None and str(output) != "-"
    if to_file and as_ != "jsonl":
        raise typer.BadParameter("is for standard output; a file is what its ending says", param_hint="--as")
    if output is not None:
        check_output(output)
    settings = settings_for()
    states = frozenset(state) if state else None
    with opened(settings) as database:
        with database.read() as conn:
            found = find_batch(conn, batch)
        if output is not None and to_file:
            lines = write_results_file(database, found.id, output, states=states, bom=bom, safe=not raw)
        elif as_ == "csv":
            if isinstance(sys.stdout, io.TextIOWrapper):
                sys.stdout.reconfigure(encoding="utf-8", newline="")  # Windows would add a carriage return
            write_results_csv(database, found.id, sys.stdout, states=states, bom=bom, safe=not raw)
            return
        else:
            write_results(database, found.id, sys.stdout, states=states)
            return
    error_console().print(f"{lines:,} results in {output}")

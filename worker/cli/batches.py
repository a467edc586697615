"""``caravan submit``, ``status``, ``results``, ``cancel``: batches on a fleet, or in the embedded database."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from api_schemas.jobs import JobDefaults
from worker.cli.exits import finished_code
from worker.cli.render import error_console, progress_line
from worker.cli.settings import opened, settings_for
from worker.clock import Clock
from worker.domain.batches import BatchProgress
from worker.domain.jobs import JobState
from worker.services.cancel import cancel_batches
from worker.services.hosts import missing_models
from worker.services.inputs import content_key, keep_standard_input, read_lines
from worker.services.results import write_results, write_results_file
from worker.services.submit import submit_lines
from worker.services.tick import hosts_to_wake
from worker.services.unhold import unhold_batch
from worker.settings import Settings
from worker.storage.batches import find_batch, list_batches, list_rejects
from worker.storage.counts import batch_progress
from worker.storage.engine import Database
from worker.storage.hosts import host_views

Reference = Annotated[
    str, typer.Argument(metavar="BATCH", help="Its number, key, name, a key's beginning, or @last.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]


def add_to(app: typer.Typer) -> None:
    """Give ``app`` these commands."""
    app.command("submit")(submit)
    app.command("status")(status)
    app.command("results")(results)
    app.command("cancel")(cancel)
    app.command("unhold")(unhold)


def submit(
    file: Annotated[Path, typer.Argument(help="JSON lines, one job each; - reads standard input.")],
    model: Annotated[str | None, typer.Option("--model", help="For lines that name no model.")] = None,
    key: Annotated[
        str | None, typer.Option("--key", help="Idempotency key; default: a hash of the input.")
    ] = None,
    json_: AsJson = False,
) -> None:
    """Put a batch in the database for the workers, and wake them. Prints its number.

    The same input (or key) submitted again is the same batch: nothing is doubled.

    Example: caravan submit prompts.jsonl --model qwen3:8b
    """
    settings = settings_for()
    with opened(settings) as database:
        clock = database.clock()
        path = keep_standard_input(sys.stdin.buffer, settings.home / "input") if str(file) == "-" else file
        submitted = submit_lines(
            database,
            read_lines(path),
            key=key or content_key(path, {"model": model}),
            name="stdin" if str(file) == "-" else file.name,
            source=str(path),
            defaults=JobDefaults(model=model),
            clock=clock,
            max_attempts=settings.max_attempts,
            check_models=lambda wanted: _check_models(database, clock, wanted),
        )
        _wake(settings, database, clock)
    batch = submitted.batch
    note = "" if submitted.created else " (known already; nothing was added)"
    if json_:
        typer.echo(
            json.dumps(
                {"batch": batch.id, "key": batch.key, "jobs": batch.jobs, "created": submitted.created}
            )
        )
    else:
        typer.echo(batch.id)
        error_console().print(f"batch {batch.id}: {batch.jobs:,} jobs{note}; caravan status {batch.id}")


def _check_models(database: Database, clock: Clock, wanted: dict[str, int] | Any) -> list[Any]:
    """Known hosts are asked from what they were last seen to have; one that was never seen may have anything."""
    with database.read() as conn:
        views = host_views(conn, clock.now())
    if not views or any(not view.models for view in views):
        return []
    return missing_models(wanted, (model for view in views for model in view.models))


def _wake(settings: Settings, database: Database, clock: Clock) -> None:
    if not settings.broker_url:
        return
    from worker.dispatch.app import make_app
    from worker.dispatch.wake import wake_hosts

    wake_hosts(make_app(settings), hosts_to_wake(database, clock=clock))


def status(
    batch: Annotated[
        str | None, typer.Argument(metavar="[BATCH]", help="Number, key, name or @last; none: all.")
    ] = None,
    json_: AsJson = False,
) -> None:
    """Show how far a batch, or every batch, has come.

    Exit code: 0; 3 where nothing is left to do and not every job succeeded.

    Example: caravan status @last
    """
    settings = settings_for()
    with opened(settings) as database, database.read() as conn:
        chosen = [find_batch(conn, batch)] if batch is not None else list_batches(conn, limit=50)
        shown = [batch_progress(conn, one.id) for one in chosen]
        rejects = list_rejects(conn, chosen[0].id) if batch is not None else []
    if json_:
        plain = [_plain(progress, [str(p) for p in rejects]) for progress in shown]
        typer.echo(json.dumps(plain[0] if batch is not None else plain))
    elif batch is not None:
        typer.echo(f"{progress_line(shown[0])} [{shown[0].batch.state}]")
        for problem in rejects:
            typer.echo(f"  {problem}")
    else:
        _table(shown)
    if batch is not None and shown[0].total and not shown[0].open:
        raise typer.Exit(finished_code(shown[0]))


def _plain(progress: BatchProgress, rejects: list[str]) -> dict[str, Any]:
    batch = progress.batch
    return {
        "batch": batch.id,
        "key": batch.key,
        "name": batch.name,
        "state": batch.state,
        "total": progress.total,
        "done": progress.done,
        "counts": {str(state): n for state, n in progress.counts.items()},
        "created_at": batch.created_at.isoformat(),
        "finished_at": batch.finished_at.isoformat() if batch.finished_at else None,
        "problems": rejects,
    }


def _table(shown: list[BatchProgress]) -> None:
    if not shown:
        typer.echo("no batches yet: caravan run FILE, or caravan submit FILE")
        return
    table = Table(box=None, pad_edge=False)
    for name in ("batch", "name", "state"):
        table.add_column(name, overflow="fold")
    for name in ("jobs", "done", "failed", "held", "running"):
        table.add_column(name, justify="right")
    for progress in shown:
        counts, batch = progress.counts, progress.batch
        table.add_row(
            str(batch.id),
            batch.name,
            batch.state,
            *(
                f"{n:,}"
                for n in (
                    progress.total,
                    progress.done,
                    counts.get(JobState.FAILED, 0),
                    counts.get(JobState.HELD, 0),
                    counts.get(JobState.RUNNING, 0),
                )
            ),
        )
    console = error_console()
    console.file = sys.stdout
    console.print(table)


def results(
    batch: Reference,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write there; default: standard output.")
    ] = None,
    state: Annotated[
        list[JobState] | None, typer.Option("--state", help="Only these states; repeat for more.")
    ] = None,
) -> None:
    """Write the results of a batch as JSON lines, in the order of the input, at any time.

    Example: caravan results @last -o answers.jsonl
    """
    settings = settings_for()
    states = frozenset(state) if state else None
    with opened(settings) as database:
        with database.read() as conn:
            found = find_batch(conn, batch)
        if output is None or str(output) == "-":
            write_results(database, found.id, sys.stdout, states=states)
            return
        lines = write_results_file(database, found.id, output, states=states)
    error_console().print(f"{lines:,} results in {output}")


def cancel(
    batch: Reference,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json_: AsJson = False,
) -> None:
    """Cancel what is left of a batch: what waits at once, what runs within seconds. Answers that came stay.

    Example: caravan cancel @last --yes
    """
    settings = settings_for()
    with opened(settings) as database:
        with database.read() as conn:
            found = find_batch(conn, batch)
            progress = batch_progress(conn, found.id)
        left = progress.total - progress.done
        if not yes and not typer.confirm(
            f"Cancel {left:,} jobs of batch {found.id} ({found.name})?", err=True
        ):
            raise typer.Exit(1)
        counts = cancel_batches(database, found.id, clock=database.clock())
    if json_:
        typer.echo(json.dumps({"batch": found.id, "cancelled": counts.cancelled, "running": counts.asked}))
    else:
        typer.echo(
            f"batch {found.id}: {counts.cancelled:,} jobs cancelled, {counts.asked:,} running ones told to stop"
        )


def unhold(batch: Reference, json_: AsJson = False) -> None:
    """Let the held jobs of a batch go: after a missing model was pulled, or a suspect was looked at.

    Example: caravan unhold @last
    """
    settings = settings_for()
    with opened(settings) as database:
        with database.read() as conn:
            found = find_batch(conn, batch)
        clock = database.clock()
        jobs = unhold_batch(database, found.id, clock=clock)
        _wake(settings, database, clock)
    typer.echo(
        json.dumps({"batch": found.id, "jobs": jobs}) if json_ else f"batch {found.id}: {jobs:,} jobs let go"
    )

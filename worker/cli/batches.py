"""``caravan status``: which batches there are, and how far each has come."""

import shutil
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.cli.colours import paint_failures, paint_state, show
from worker.cli.exits import finished_code
from worker.cli.groups import BATCH_IN_WORDS
from worker.cli.json_output import ALL, AsJson, print_json, say_more
from worker.cli.plain import lines
from worker.cli.settings import opened, settings_for
from worker.domain.answers import AnswerCounts
from worker.domain.batches import BatchProgress, BatchState
from worker.domain.jobs import JobState
from worker.domain.operations import Verb
from worker.explain.situation import hours_of
from worker.observability.terminal import terminal_safe
from worker.policy.answers import advice, mixed, on_the_way, truncating
from worker.storage.answers import answer_counts, room_needed, stored_flaws, weights_of
from worker.storage.batches import find_batch, list_batches
from worker.storage.counts import batch_progress
from worker.storage.model_operations import list_model_operations
from worker.storage.refusals import list_rejects
from worker.storage.reports import failures_by_code

if TYPE_CHECKING:
    from worker.storage.engine import Connection

COMMONEST = 5
"""Codes of failures that are listed for people."""
MOST_LINES = 50
"""Batches of a table where no limit is given."""
NARROW = 110
"""Columns of a terminal below which a list of batches has no room for why one is paused."""


def status(
    batch: Annotated[
        str | None, typer.Argument(metavar="BATCH", help=f"{BATCH_IN_WORDS}; none: all.")
    ] = None,
    state: Annotated[
        list[BatchState] | None, typer.Option("--state", help="List only these states; repeat for more.")
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit", min=1, metavar="N", help="Batches to list. Default: 50, and all with --json."
        ),
    ] = None,
    json_: AsJson = False,
) -> None:
    """Show how far a batch has come, or list all batches.

    Of one batch it says why it is paused, and what its jobs failed with.
    Exit code: 0; 2 where it was refused; 3 where nothing is left to do and not every job succeeded.

    Example: caravan status @last
    """
    with opened(settings_for()) as database, database.read() as conn:
        if batch is None:
            states = frozenset(state) if state else None
            shown = limit or (ALL if json_ else MOST_LINES)
            listed = list_batches(conn, shown + 1, states=states)
            progresses = [batch_progress(conn, entry.id) for entry in listed[:shown]]
            flawed = (
                [] if json_ else [answer_counts(conn, listed_batch.id) for listed_batch in listed[:shown]]
            )
            _print_batches(progresses, flawed, as_json=json_, of_some=states is not None)
            say_more(len(listed), shown, "batches")
            if not json_ and states is None:
                _print_schedules(conn)
                _print_model_operations(conn)
            return
        row = find_batch(conn, batch)
        progress = batch_progress(conn, row.id)
        rejects = [str(problem) for problem in list_rejects(conn, row.id)]
        failures = _failures(conn, progress, most=ALL if json_ else COMMONEST)
        flaws = answer_counts(conn, row.id)
        room = room_needed(conn, row.id)
        lasting, again = stored_flaws(conn, row.id) if flaws else (flaws, flaws)
        if progress.operation is not None and progress.operation.verb is Verb.RETRY:  # its rows still follow
            lasting = AnswerCounts()
        weights = weights_of(conn, row.id)
        hours = hours_of(conn, row.id, database.clock().now()) if progress.open else None
    if json_:
        from api_schemas.output.batches import (
            AnswerCountsOutput,
            BatchStatusOutput,
            FailureOutput,
            WeightsOutput,
            WindowOutput,
        )
        from worker.exports.output.batches import batch_output

        print_json(
            BatchStatusOutput(
                **dict(batch_output(progress)),
                answers=AnswerCountsOutput(**asdict(flaws)),
                weights=[WeightsOutput(**asdict(entry)) for entry in weights],
                problems=rejects,
                failures=[FailureOutput(**failure) for failure in failures],
                window=None
                if hours is None
                else WindowOutput(hours=hours.text, open=not hours.closed, opens_at=hours.opens_at),
            )
        )
    else:
        from worker.cli.progress import progress_line

        show(f"{terminal_safe(progress_line(progress))} [{paint_state(str(progress.stands))}]")
        if row.state is BatchState.PAUSED:
            typer.echo(f"  paused: {row.pause_reason or 'caravan resume lets it go on'}")
        if hours is not None and hours.closed:
            opens = "" if hours.opens_at is None else f", opens {hours.opens_at.astimezone():%Y-%m-%d %H:%M}"
            typer.echo(f"  outside of its window ({hours.text}){opens}")
        if progress.operation is not None and progress.operation.error:
            typer.echo(f"  the last step failed and is tried again: {progress.operation.error}")
        for failure in failures:
            message = terminal_safe(" ".join(failure["message"].split())[:300])
            show(f"  {paint_failures(format(failure['jobs'], ','))} failed with {failure['code']}: {message}")
        helpful = (*advice(lasting, row.id, room), *on_the_way(again, row.id), *truncating(room, row.id))
        for line in (*helpful, *mixed(weights)):
            typer.echo(f"  {line}")
        for rejected in rejects:
            typer.echo(f"  {rejected}")
        if row.pruned_at is not None:
            typer.echo(f"  pruned {row.pruned_at.astimezone():%Y-%m-%d %H:%M}: prompts and answers are gone")
    if row.state is BatchState.REFUSED or (progress.total and not progress.open):
        raise typer.Exit(finished_code(progress))


def _print_schedules(conn: "Connection") -> None:
    """When each fires next, in one line, where there are any."""
    from worker.storage.schedules import list_schedules

    schedules = list_schedules(conn)
    if schedules:
        from worker.cli.schedules.lines import next_firings

        typer.echo(f"schedules: {next_firings(schedules)}")


def _print_model_operations(conn: "Connection") -> None:
    """What is done with models now, a line for each part that goes on or waits."""

    for operation in list_model_operations(conn, open_only=True):
        for part in operation.parts:
            if part.is_open:
                why = f" ({part.error})" if part.error else ""
                typer.echo(f"models: {part.progress}{why}")


def _failures(conn: "Connection", progress: BatchProgress, *, most: int) -> list[dict[str, Any]]:
    """The commonest failures, and what the first job that failed so failed of."""
    if not progress.counts.get(JobState.FAILED):
        return []
    from worker.storage.pauses import first_failure

    batch = progress.batch.id
    return [
        {"code": code, "jobs": jobs, "message": first_failure(conn, batch, code) or ""}
        for code, jobs in failures_by_code(conn, batch, most=most).items()
    ]


def _print_batches(
    batches: list[BatchProgress], flaws: list[AnswerCounts], *, as_json: bool, of_some: bool = False
) -> None:
    """A row for each batch; ``flaws`` are the answers of each that somebody should look at, shown where there are any."""
    if as_json:
        from worker.exports.output.batches import batch_output

        print_json([batch_output(progress) for progress in batches])
        return
    if not batches:
        typer.echo(
            "no batches in that state"
            if of_some
            else "no batches yet: caravan run FILE, or caravan submit FILE"
        )
        return
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    narrow = width is not None and width < NARROW
    flaw_names = [name for name in ("cut", "empty", "unfit") if any(getattr(flaw, name) for flaw in flaws)]
    claimed = not narrow and any(progress.claimed for progress in batches)
    rows = []
    for progress, flaw in zip(batches, flaws, strict=True):
        counts, batch = progress.counts, progress.batch
        numbers = (
            progress.total,
            progress.done,
            *(counts.get(state, 0) for state in (JobState.FAILED, JobState.HELD)),
            counts.get(JobState.RUNNING, 0) - progress.claimed,
            *((progress.claimed,) if claimed else ()),
            *(getattr(flaw, name) for name in flaw_names),
        )
        rows.append(
            [
                str(batch.id),
                batch.name,
                str(batch.state) if narrow else _state(progress),
                *(f"{n:,}" for n in numbers),
                batch.created_at.astimezone().strftime("%m-%d %H:%M" if narrow else "%Y-%m-%d %H:%M"),
            ]
        )
    numeric = ("jobs", "done", "failed", "held", "running", *(("claimed",) if claimed else ()), *flaw_names)
    names = ("batch", "name", "state", *numeric, "created")
    right = ("batch", *numeric)
    paint = {"state": paint_state, **dict.fromkeys(("failed", *flaw_names), paint_failures)}
    for line in lines(names, rows, right=right, whole=("created",), width=width, paint=paint):
        show(line)


def _state(progress: BatchProgress) -> str:
    batch = progress.batch
    why = f": {batch.pause_reason}" if batch.state is BatchState.PAUSED and batch.pause_reason else ""
    return f"{progress.stands}{why}"

"""``caravan results``: what came of each job, in the order of the input, or as it comes."""

import io
import json
import re
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from worker.cli.settings import opened, settings_for
from worker.domain.batches import BatchState
from worker.domain.jobs import JobState
from worker.storage.batches import find_batch, get_batch

if TYPE_CHECKING:
    from worker.storage.engine import Database

_AGO = re.compile(r"(\d+)([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
LOOK_EVERY = 1.0
"""Seconds between two looks of ``--follow``."""


def results(
    batch: Annotated[
        str | None,
        typer.Argument(
            metavar="BATCH",
            help="Its number, key, name, the beginning of one, or @last; none: all, as they came.",
        ),
    ] = None,
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
    after: Annotated[
        int | None,
        typer.Option(
            "--after", min=0, metavar="NUMBER", help="As they came, from the one after this number on."
        ),
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="As they come, until the batch is done, or Ctrl-C.")
    ] = False,
    model: Annotated[
        list[str] | None, typer.Option("--model", help="As they came, of these models; repeat for more.")
    ] = None,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="TIME", help="Stored since: 2026-11-23T02:00, or 90m, 12h, 2d ago."),
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="TIME", help="Stored before; as --since.")
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            "--where", metavar="KEY=VALUE", help="Only where the metadata says so; repeat for more."
        ),
    ] = None,
) -> None:
    """Write results: of a batch in the order of the input, at any time, as JSON lines, CSV or Parquet; or as they come.

    --after, --follow, --model, --since, --until and --where give JSON lines in the order in which results came to be
    seen, each with its number: --after the last number you saw goes on there and misses none.

    Example: caravan results @last -o answers.csv --bom
    """
    as_they_came = batch is None or follow or any(x is not None for x in (after, model, since, until, where))
    if as_they_came:
        if output is not None or as_ != "jsonl":
            raise typer.BadParameter(
                "results as they came are JSON lines on standard output", param_hint="-o and --as"
            )
        _as_they_came(batch, state, after or 0, follow, model, since, until, where)
        return
    assert batch is not None
    from worker.cli.render import error_console
    from worker.services.results import write_results, write_results_csv, write_results_file
    from worker.services.writers import check_output

    to_file = output is not None and str(output) != "-"
    if to_file and as_ != "jsonl":
        raise typer.BadParameter("is for standard output; a file is what its ending says", param_hint="--as")
    if output is not None:
        check_output(output)
    states = frozenset(state) if state else None
    with opened(settings_for()) as database:
        with database.read() as conn:
            found = find_batch(conn, batch)
        if found.pruned_at is not None:
            error_console().print(
                f"[yellow]batch {found.id} was pruned {found.pruned_at.astimezone():%Y-%m-%d %H:%M}: "
                f"the answers of its {found.jobs:,} jobs are gone[/yellow]"
            )
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


def _as_they_came(
    batch: str | None,
    state: list[JobState] | None,
    after: int,
    follow: bool,
    model: list[str] | None,
    since: str | None,
    until: str | None,
    where: list[str] | None,
) -> None:
    from worker.domain.runners import normalise_model
    from worker.services.results import follow_results
    from worker.storage.arrivals import Chosen

    metadata = dict(_pair(one) for one in where or ())
    with opened(settings_for()) as database:
        now = database.clock().now()
        batch_id = None
        if batch is not None:
            with database.read() as conn:
                batch_id = find_batch(conn, batch).id
        chosen = Chosen(
            batch_id,
            [normalise_model(one) for one in model or ()],
            state or (),
            _time(since, now, "--since"),
            _time(until, now, "--until"),
            metadata,
        )
        try:
            for line in follow_results(
                database, chosen, after=after, follow=_waiter(database, batch_id) if follow else None
            ):
                sys.stdout.write(json.dumps(line, ensure_ascii=False) + "\n")
                if follow:
                    sys.stdout.flush()
        except KeyboardInterrupt:
            raise typer.Exit(130) from None


def _waiter(database: "Database", batch_id: int | None) -> Callable[[], bool]:
    """Called before each look: whether to look again after it. The last look comes after the batch was seen to be done,
    so that nothing which ended before that is missed."""
    import threading

    pause, first = threading.Event(), [True]

    def again() -> bool:
        if not first:
            pause.wait(LOOK_EVERY)
        first.clear()
        if batch_id is None:
            return True
        with database.read() as conn:
            return get_batch(conn, batch_id).state not in (BatchState.FINISHED, BatchState.CANCELLED)

    return again


def _pair(text: str) -> tuple[str, str]:
    key, found, value = text.partition("=")
    if not found or not key:
        raise typer.BadParameter(f"{text!r}: expected KEY=VALUE", param_hint="--where")
    return key, value


def _time(text: str | None, now: datetime, option: str) -> datetime | None:
    """A moment as people write it: ISO 8601, in local time unless it says otherwise, or how long ago."""
    if text is None:
        return None
    ago = _AGO.fullmatch(text.strip())
    if ago is not None:
        return now - timedelta(**{_UNITS[ago.group(2)]: int(ago.group(1))})
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise typer.BadParameter(
            f"{text!r} is no time; expected 2026-11-23, 2026-11-23T02:00 or 12h", param_hint=option
        ) from error

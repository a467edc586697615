"""``caravan results``: the result of each job, in the order of the input, or as it comes."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from worker.cli.answers import AnswerOptions, check_codes
from worker.cli.counting import telling
from worker.cli.external import TableOptions, external_url
from worker.cli.groups import BATCH_IN_WORDS, option, values_of, with_groups
from worker.cli.moments import parse_moment
from worker.cli.outputs import Force, outputs_of, written
from worker.cli.selection import Matching, parse_pair, refuse_unknown_metadata, refuse_unknown_models
from worker.cli.settings import opened, settings_for
from worker.cli.streams import machine_output, reader_gone
from worker.cli.submissions import character
from worker.domain.batches import SETTLED
from worker.domain.jobs import JobState
from worker.domain.numbers import count_of
from worker.domain.runners import normalise_model
from worker.domain.selection import Selection
from worker.exports.targets import CsvForm, check_output
from worker.records import record
from worker.storage.batches import find_batch, get_batch

if TYPE_CHECKING:
    from worker.exports.columns import Fields
    from worker.storage.engine import Database

LOOK_EVERY = 1.0
"""Seconds between two looks of ``--follow``."""


@record
class ResultChoice:
    """Which results are written."""

    answers: AnswerOptions
    state: Annotated[list[JobState] | None, option("--state", "Only these states; repeat for more.")] = None
    model: Annotated[
        list[str] | None, option("--model", "Only answers of these models; repeat for more.", metavar="MODEL")
    ] = None
    code: Annotated[
        list[str] | None,
        option(
            "--code",
            "Only jobs that failed with these error codes; repeat for more.",
            callback=check_codes,
            metavar="CODE",
        ),
    ] = None
    since: Annotated[
        str | None,
        option(
            "--since",
            "Only jobs that ended since then: 2026-11-23T02:00, or 90m, 12h, 2d ago.",
            metavar="TIME",
        ),
    ] = None
    until: Annotated[
        str | None, option("--until", "Only jobs that ended before then; as --since.", metavar="TIME")
    ] = None
    where: Annotated[
        list[str] | None,
        option("--where", "Only where the metadata says so; repeat for more.", metavar="KEY=VALUE"),
    ] = None
    matching: Matching = None


@record
class ResultForm:
    """What is written of them, and where."""

    output: Annotated[
        Path | None,
        option(
            "-o --output",
            "File to write; its ending sets the format: .jsonl, .csv, .tsv (each with .gz), .xlsx or .parquet.",
            metavar="FILE",
        ),
    ] = None
    as_: Annotated[Literal["jsonl", "csv"], option("--as", "Format on standard output.")] = "jsonl"
    bom: Annotated[bool, option("--bom", "CSV with a byte order mark: Excel reads it as UTF-8.")] = False
    raw: Annotated[
        bool, option("--raw", "Leave out the ' before cells of a CSV that a spreadsheet would calculate.")
    ] = False
    delimiter: Annotated[
        str | None, option("--delimiter", "Cell separator of CSV, such as ';' or tab.", metavar="CHARACTER")
    ] = None
    with_: Annotated[
        list[str] | None,
        option(
            "--with",
            "More of each: reasoning, prompt, request, context, digest, logprobs; timing: how long it took; "
            "parts: those of long documents too.",
            metavar="FIELD,…",
        ),
    ] = None
    without: Annotated[
        list[str] | None,
        option("--without", "Leave these fields of a line out, e.g. reasoning.", metavar="FIELD,…"),
    ] = None
    wide: Annotated[
        bool,
        option(
            "--wide",
            "Write one row per input with columns for each model, also of linked batches (submit --from).",
        ),
    ] = False
    to_sqlite: Annotated[
        Path | None,
        option("--to-sqlite", "Write the report views as tables of this SQLite file.", metavar="FILE"),
    ] = None
    to_duckdb: Annotated[
        Path | None,
        option("--to-duckdb", "Write the report views as tables of this DuckDB file.", metavar="FILE"),
    ] = None
    force: Force = False


@with_groups
def results(
    chosen: ResultChoice,
    form: ResultForm,
    table: TableOptions,
    batch: Annotated[
        str | None,
        typer.Argument(
            metavar="BATCH",
            help=f"{BATCH_IN_WORDS}; none: all.",
        ),
    ] = None,
    after: Annotated[
        int | None,
        option(
            "--after",
            "Print results in the order in which they came, from the one after this number.",
            min=0,
            metavar="NUMBER",
        ),
    ] = None,
    follow: Annotated[
        bool, option("--follow -f", "Print results as they come, until the batch is done, or Ctrl-C.")
    ] = False,
) -> None:
    """Write results as JSON lines, a table, Parquet or a database.

    Results of a batch are in the order of its input. With --after or --follow, or without a batch and a file, they are
    JSON lines in the order in which they were stored, each with its number. --after with the last number that you read
    continues there and misses none.

    Example: caravan results @last -o answers.csv --bom
    """
    options = values_of(chosen) | values_of(form) | values_of(table)
    _results(options | {"batch": batch, "after": after, "follow": follow})


def _results(options: dict[str, Any]) -> None:
    """``options``: the options of ``results`` by their names."""
    from worker.cli.render import error_console
    from worker.exports.columns import fields_of
    from worker.exports.files import ResultWriter

    batch, output, as_ = options["batch"], options["output"], options["as_"]
    snapshots = [target for target in (options["to_sqlite"], options["to_duckdb"]) if target is not None]
    to_file = output is not None and str(output) != "-"
    follow = options["follow"] or options["after"] is not None
    as_they_came = follow or (
        batch is None and not to_file and as_ == "jsonl" and not snapshots and not options["wide"]
    )
    if snapshots:
        _snapshot(batch, options["to_sqlite"], options["to_duckdb"], force=options["force"])
        return
    more = [name for name in _names(options["with_"]) if name != "parts"]
    _known_more(more)
    less = _names(options["without"])
    if both := set(more) & set(less):
        raise typer.BadParameter(f"{min(both)} is in --with too; give one", param_hint="--without")
    fields = fields_of(more, less)  # type: ignore[arg-type]
    if options["to_table"] is not None:
        _to_table(options, fields)
        return
    if as_they_came:
        if options["matching"] is not None:
            raise typer.BadParameter("is for a batch, in the order of the input", param_hint="--matching")
        if fields.long or "digest" in fields.more:
            raise typer.BadParameter("is for results in the order of the input", param_hint="--with")
        _as_they_came(options, fields.less)
        return
    if options["matching"] is not None and batch is None:
        raise typer.BadParameter("needs a batch", param_hint="--matching")
    if options["wide"] and batch is None:
        raise typer.BadParameter("needs a batch", param_hint="--wide")
    outputs = outputs_of(settings_for(), force=options["force"])
    if output is not None:
        check_output(output)
        outputs.check(output)
    with opened(settings_for()) as database:
        chosen = _chosen(database, options)
        total = None
        if batch is not None:
            with database.read() as conn:
                row = find_batch(conn, batch)
            if row.pruned_at is not None:
                error_console().print(
                    f"batch {row.id} was pruned {row.pruned_at.astimezone():%Y-%m-%d %H:%M}: "
                    f"the answers of its {count_of(row.jobs, 'job')} are gone",
                    style="yellow",
                )
            chosen = _matching(database, replace(chosen, batch_id=row.id), options)
            total = row.jobs if chosen.whole_batch and not options["wide"] else None
        form = CsvForm(options["bom"], not options["raw"], character(options["delimiter"], "--delimiter"))
        console = error_console()
        writer = ResultWriter(database, chosen, fields, options["wide"], form, say=console.print)
        if to_file:
            with telling(output, total) as progress, written(outputs, output):
                lines = writer.file(output, progress)
            console.print(f"{count_of(lines, 'row' if options['wide'] else 'result')} in {output}")
        elif as_ == "csv":
            with machine_output() as out:
                writer.csv(out)
        else:
            with machine_output() as out:
                writer.lines(out)


def _to_table(options: dict[str, Any], fields: "Fields") -> None:
    from worker.cli.render import error_console
    from worker.exports.external_table import append_results
    from worker.storage.external import open_external

    if fields.long or "digest" in fields.more:
        raise typer.BadParameter("is for results in the order of the input", param_hint="--with")
    url, table = external_url(options["sql_url"], "--to-table"), options["to_table"]
    with opened(settings_for()) as database:
        chosen = _chosen(database, options)
        if options["batch"] is not None:
            with database.read() as conn:
                chosen = replace(chosen, batch_id=find_batch(conn, options["batch"]).id)
        with telling(Path(table), None) as progress, open_external(url, "--to-table") as target:
            done = append_results(database, chosen, target, table, fields=fields, progress=progress)
    there = f"; it had {done.there:,} already" if done.there else ""
    into = "written to the new table" if done.created else "appended to the table"
    error_console().print(f"{count_of(done.rows, 'result')} {into} {table}{there}")


def _snapshot(batch: str | None, to_sqlite: Path | None, to_duckdb: Path | None, *, force: bool) -> None:
    from worker.cli.render import error_console
    from worker.storage.snapshots import Kind, snapshot

    console = error_console()
    outputs = outputs_of(settings_for(), force=force)
    for path in (to_sqlite, to_duckdb):
        if path is not None:
            outputs.check(path)
    with opened(settings_for()) as database:
        batch_id = None
        if batch is not None:
            with database.read() as conn:
                batch_id = find_batch(conn, batch).id
        kinds: list[tuple[Kind, Path | None]] = [("sqlite", to_sqlite), ("duckdb", to_duckdb)]
        for kind, path in kinds:
            if path is None:
                continue
            with telling(path, None) as progress, written(outputs, path):
                rows = snapshot(
                    database,
                    path,
                    kind=kind,
                    batch_id=batch_id,
                    now=database.clock().now(),
                    progress=progress,
                )
            console.print(f"{count_of(rows['report_results'], 'result')} in {path}")


def _chosen(database: "Database", options: dict[str, Any]) -> "Selection":

    now = database.clock().now()
    metadata = dict(parse_pair(text) for text in options["where"] or ())
    models = frozenset(normalise_model(text) for text in options["model"] or ())
    if metadata or models:
        with database.read() as conn:
            batch = None if options["batch"] is None else find_batch(conn, options["batch"]).id
            refuse_unknown_metadata(conn, batch, metadata)
            if not options["wide"]:  # which has the models of linked batches too
                refuse_unknown_models(conn, batch, models)
    return Selection(
        states=frozenset(options["state"] or ()) or None,
        codes=frozenset(options["code"] or ()) or None,
        models=models or None,
        metadata=tuple(metadata.items()),
        since=parse_moment(options["since"], now, "--since"),
        until=parse_moment(options["until"], now, "--until"),
        parts="parts" in _names(options["with_"]),
        answers=options["answers"].filter,
    )


def _matching(database: "Database", chosen: "Selection", options: dict[str, Any]) -> "Selection":
    """The same, those alone that hold the words of --matching. Raises Conflict for too many."""
    if options["matching"] is None:
        return chosen
    from worker.search.search import jobs_matching

    among = replace(chosen, codes=None, since=None, until=None)
    matches = jobs_matching(database, [among], options["matching"])
    return replace(chosen, job_ids=matches[0].job_ids if matches else frozenset())


def _names(lists: list[str] | None) -> list[str]:
    return [name.strip() for text in lists or () for name in text.split(",") if name.strip()]


def _known_more(more: list[str]) -> None:
    from typing import get_args

    from worker.exports.columns import More

    for name in more:
        if name not in get_args(More):
            raise typer.BadParameter(
                f"{name} is unknown; expected one of {', '.join(get_args(More))}", param_hint="--with"
            )


def _as_they_came(options: dict[str, Any], less: "frozenset[str]") -> None:
    from worker.exports.results import follow_results
    from worker.exports.writers import json_line

    batch, follow = options["batch"], options["follow"]
    with opened(settings_for()) as database:
        chosen = _chosen(database, options)
        if batch is not None:
            with database.read() as conn:
                chosen = replace(chosen, batch_id=find_batch(conn, batch).id)
        with machine_output() as out:
            try:
                for line in follow_results(
                    database,
                    chosen,
                    after=options["after"] or 0,
                    follow=_waiter(database, chosen.batch_id) if follow else None,
                    less=less,
                ):
                    out.write(json_line(line))
                    if follow:
                        out.flush()
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
        if reader_gone():
            raise BrokenPipeError
        if batch_id is None:
            return True
        with database.read() as conn:
            return get_batch(conn, batch_id).state not in SETTLED

    return again

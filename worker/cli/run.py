"""``caravan run``: the main job, in one process, or beside the ``caravan up`` that serves already."""

import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.groups import option, with_groups
from worker.cli.json_output import AsJson
from worker.cli.options import AnyFile, SubmissionOptions
from worker.cli.outputs import Force
from worker.cli.settings import quiet_log, settings_for
from worker.domain.numbers import count_of
from worker.exports.targets import CsvForm
from worker.records import record

if TYPE_CHECKING:
    from api_schemas.submissions import Submission
    from worker.cli.render import Console
    from worker.cli.submissions import Entry, RunTerms
    from worker.domain.batches import Batch
    from worker.door.submit import Receipt
    from worker.quote.quote import Quoted
    from worker.settings import Settings
    from worker.stack.main_job import Workplace


OUTPUT = "Output"


@record
class HostOptions:
    """Which hosts serve."""

    host: Annotated[
        list[str] | None,
        option("--host", "Ollama host; repeat for more. Default: those added.", "Hosts", metavar="URL|NAME"),
    ] = None
    slots: Annotated[
        int | None,
        option(
            "--slots", "Requests a host serves at a time (OLLAMA_NUM_PARALLEL).", "Hosts", min=1, metavar="N"
        ),
    ] = None


@record
class OutputOptions:
    """Where the results of a run go."""

    output: Annotated[
        Path | None,
        option(
            "-o --output",
            "Write the results: .jsonl, .csv, .xlsx or .parquet; - is standard output.",
            OUTPUT,
            metavar="FILE",
        ),
    ] = None
    bom: Annotated[bool, option("--bom", "Begin a CSV with a byte order mark, for spreadsheets.", OUTPUT)] = (
        False
    )
    raw: Annotated[
        bool,
        option("--raw", "Leave out the ' before cells of a CSV that a spreadsheet would calculate.", OUTPUT),
    ] = False
    output_delimiter: Annotated[
        str | None,
        option(
            "--output-delimiter",
            "Cell separator of the CSV output, such as ';' or tab.",
            OUTPUT,
            metavar="CHARACTER",
        ),
    ] = None
    wide: Annotated[
        bool,
        option("--wide", "Write one row per input, with the answers of several models side by side.", OUTPUT),
    ] = False


WaitHosts = Annotated[
    float,
    option("--wait-hosts", "Time to wait for hosts that are all away.", "Hosts", min=0, metavar="SECONDS"),
]


@with_groups
def run(
    options: SubmissionOptions,
    hosts: HostOptions,
    outputs: OutputOptions,
    file: AnyFile = None,
    wait_hosts: WaitHosts = 120.0,
    json_: AsJson = False,
    force: Force = False,
) -> None:
    """Ask every prompt in FILE on these hosts and keep the answers.

    The answers are kept in the database. An interrupted run continues where it stopped when it is started
    again with the same file; no finished job runs twice.

    Example: caravan run products.csv --prompt 'Sell this: {{ title }}' --model qwen3:8b -o answers.csv
    """
    from worker.cli.exits import FAILED_OR_HELD
    from worker.cli.submissions import RunTerms, character, entry_of

    settings = settings_for()
    entry = entry_of(settings, file, options, output=outputs.output, force=force)
    if entry is None:
        return
    terms = RunTerms(
        output=outputs.output,
        outputs=entry.outputs,
        form=CsvForm(outputs.bom, not outputs.raw, character(outputs.output_delimiter, "--output-delimiter")),
        wide=outputs.wide,
        as_json=json_,
        wait_hosts=wait_hosts,
    )
    code = run_batch(settings, entry, terms, urls=hosts.host, slots=hosts.slots)
    raise typer.Exit(FAILED_OR_HELD if entry.unreadable and code == 0 else code)


def run_batch(
    settings: "Settings",
    entry: "Entry",
    terms: "RunTerms",
    *,
    urls: list[str] | None,
    slots: int | None,
) -> int:
    """The main job while a person looks on. Returns the exit code."""
    from worker.ollama.light_requests import import_requests

    import_requests()
    from worker.cli.hosts_at_hand import say_unreachable
    from worker.cli.memory import limit_arenas
    from worker.cli.render import error_console
    from worker.stack.main_job import workplace

    limit_arenas()
    quiet_log(settings)
    console = error_console()
    with workplace(settings, urls, slots, say=lambda text: console.print(text, style="dim")) as place:
        say_unreachable(console, place.looks)
        return _worked(place, console, entry, terms)


def _worked(place: "Workplace", console: "Console", entry: "Entry", terms: "RunTerms") -> int:
    from worker.cli.entry import submit_entry
    from worker.cli.exits import finished_code
    from worker.cli.hosts_at_hand import models_checked, models_named
    from worker.cli.summary import RunView, interrupted, show_to_the_end, sum_up, write_output
    from worker.policy.outlook import Outlook

    submission, alone = entry.submission, place.stack is not None
    check = models_checked(place, console, pull=submission.pull_missing)
    with models_named(submission, lambda: place.models):
        receipt = submit_entry(place.database, place.settings, entry, console, check, output=terms.output)
    rest = partial(_rest, place, receipt.batch)
    if receipt.batch.deadline is not None and not terms.quiet:
        from worker.cli.quoting import warn_of_deadline

        warn_of_deadline(console, rest(), receipt.batch.deadline)
    shown = RunView(place, receipt, rest, _pilot(submission, receipt))
    started = time.monotonic()
    try:
        look = show_to_the_end(shown, console, wait_hosts=terms.wait_hosts)
    except KeyboardInterrupt:
        if not alone:
            console.print(
                f"Stopped watching; caravan up continues the batch. To end it: caravan cancel {receipt.batch.id}"
            )
            return 130
        place.stop(console.print)
        look = interrupted(shown, time.monotonic() - started)
        sum_up(shown, look, console, as_json=terms.as_json, written=terms.output is not None)
        write_output(shown, look, terms, console)
        console.print("Interrupted. The same command goes on where it stopped.")
        return 130
    if alone and submission.notices:
        _send_notices(place, receipt.batch.id, console)
    if terms.quiet and look.outlook is Outlook.DONE:
        return finished_code(look.progress)
    complete = write_output(shown, look, terms, console)
    code = sum_up(shown, look, console, as_json=terms.as_json, written=terms.output is not None)
    return code if complete else 1


def _rest(place: "Workplace", batch: "Batch") -> "Quoted":
    """What the rest of the batch takes."""
    from worker.quote.quote import quote_batch

    names = [look.host.name for look in place.looks]
    with place.database.read() as conn:
        return quote_batch(conn, batch.id, now=place.clock.now(), among=names, alone=place.stack is not None)


def _pilot(submission: "Submission", receipt: "Receipt") -> str:
    """What the same command does without the option that makes it a pilot; empty where it is not a pilot."""
    if submission.sample is not None:
        others = f"The same command without --sample asks the other {count_of(receipt.unsampled, 'row')}."
        return others if receipt.unsampled else ""
    return "" if submission.limit is None else "The same command without --limit asks the other rows."


def _send_notices(place: "Workplace", batch_id: int, console: "Console") -> None:
    """Notify whoever is to know that the batch is over; what does not get out is left to the next command that serves."""
    from worker.errors import DatabaseFailure
    from worker.reports.notices import deliver_notices
    from worker.storage.notices import list_notices

    try:
        deliver_notices(place.database, clock=place.clock, means=place.settings.means, batch_id=batch_id)
        with place.database.read() as conn:
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

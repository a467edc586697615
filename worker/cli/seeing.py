"""``caravan jobs`` and ``explain``: which jobs there are, and what they wait for."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from rich.padding import Padding
from rich.text import Text

from worker.cli.answers import AnswerOptions, check_codes
from worker.cli.groups import BATCH_IN_WORDS, option, with_groups
from worker.cli.json_output import ALL, AsJson, limited, print_json, say_more
from worker.cli.plain import lines
from worker.cli.render import (
    Console,
    one_line,
    output_console,
    plain_table,
)
from worker.cli.settings import opened, settings_for
from worker.domain.answers import AnswerFilter
from worker.domain.jobs import JobState
from worker.explain.explained import explain as explain_reference
from worker.explain.reasons import moment
from worker.stack.home import server_of
from worker.storage.batches import find_batch
from worker.storage.reports import JobLine, list_jobs

if TYPE_CHECKING:
    from worker.storage.engine import Connection

Reference = Annotated[str, typer.Argument(metavar="BATCH", help=f"{BATCH_IN_WORDS}.")]

DEFAULT_LIMIT = 50
"""Jobs of a table where no limit is given."""
PAGE = 1000
"""Jobs that are read at a time."""
JOB_COLUMNS = ("job", "custom_id", "model", "state", "host", "tries")
WHY = 300
"""Characters of a reason that are shown."""


# -- jobs -------------------------------------------------------------------------------------------------


@with_groups
def jobs(
    answers: AnswerOptions,
    batch: Reference,
    state: Annotated[
        JobState | None, option("--state", "Only jobs in this state.", case_sensitive=False)
    ] = None,
    code: Annotated[
        str | None,
        option(
            "--code",
            "Only jobs that failed, or are held, with this code.",
            callback=check_codes,
            metavar="CODE",
        ),
    ] = None,
    limit: Annotated[
        int | None, option("--limit", "Jobs to list. Default: 50, and all with --json.", min=1)
    ] = None,
    json_: AsJson = False,
) -> None:
    """List the jobs of a batch: state, host, tries, why it failed.

    They stand in the order of the input.

    Example: caravan jobs @last --state failed --code context_overflow
    """
    with opened(settings_for()) as database, database.read() as conn:
        row = find_batch(conn, batch)
        if json_:
            from worker.exports.output.jobs import job_output

            pages = _pages(conn, row.id, state, code, answers.filter)
            print_json(map(job_output, limited(pages, limit or ALL, "jobs")))
            return
        shown = limit or DEFAULT_LIMIT
        read = list_jobs(conn, row.id, state=state, code=code, answers=answers.filter, limit=shown + 1)
    listed = read[:shown]
    if not listed:
        kind = " of that kind" if state is not None or code is not None or answers.filter else ""
        typer.echo(f"batch {row.id} ({row.name}) has no jobs{kind}")
        return
    console = output_console()
    if console.is_terminal:
        _print_narrow(listed, console)
    else:
        _print_wide(listed, console)
    say_more(len(read), shown, "jobs")


def _pages(
    conn: "Connection", batch_id: int, state: JobState | None, code: str | None, answers: AnswerFilter
) -> Iterator[JobLine]:
    after = 0
    while page := list_jobs(conn, batch_id, state=state, code=code, answers=answers, after=after, limit=PAGE):
        yield from page
        after = page[-1].job_id


def _print_wide(jobs: Sequence[JobLine], console: Console) -> None:
    """A line a job, whatever it takes: a script reads it."""
    table = plain_table(*JOB_COLUMNS, "why", right=("job", "tries"))
    for job in jobs:
        table.add_row(*map(one_line, (*_cells(job), _why(job))))
    console.print(table)


def _print_narrow(jobs: Sequence[JobLine], console: Console) -> None:
    """A line a job, and beneath the first of those that failed alike why they did."""
    rows = [[*_cells(job), job.code or ""] for job in jobs]
    head, *printed = lines(
        (*JOB_COLUMNS, "code"),
        rows,
        right=("job", "tries"),
        whole=("state", "code"),
        width=console.width,
    )
    console.print(Text(head, style="bold"), soft_wrap=True)
    message = ""
    for job, line in zip(jobs, printed, strict=True):
        console.print(Text(line), soft_wrap=True)
        if job.message and job.message != message:
            console.print(Padding(Text(" ".join(job.message.split())[:WHY]), (0, 0, 0, 4)))
        message = job.message or ""


def _cells(job: JobLine) -> tuple[str, ...]:
    return str(job.job_id), job.custom_id, job.model, job.state, job.host or "–", str(job.attempts)


def _why(job: JobLine) -> str:
    return " ".join(": ".join(part for part in (job.code, job.message) if part).split())[:WHY]


# -- explain ----------------------------------------------------------------------------------------------


def explain(
    reference: Annotated[
        str,
        typer.Argument(metavar="JOB|BATCH", help="A job's number, BATCH:custom_id, or a batch in any form."),
    ],
    json_: AsJson = False,
) -> None:
    """Say what a job or a batch waits for, and what helps.

    Example: caravan explain @last:review-17
    """
    from worker.cli.loaded import loaded_now

    settings = settings_for()
    with opened(settings) as database:
        clock = database.clock()
        explained = explain_reference(
            database,
            reference,
            clock=clock,
            server=server_of(settings),
            loaded=lambda: loaded_now(database, clock.now()),
        )
        now = clock.now()
    if json_:
        from worker.exports.output.jobs import explained_output

        print_json(explained_output(explained))
        return
    console = output_console()
    console.print(explained.sentences[0])
    for sentence in explained.sentences[1:]:
        console.print(f"- {sentence}")
    if not explained.attempts:
        return
    console.print("attempts:")
    table = plain_table("", "host", "ended", "outcome", "why", fold=("why",))
    for attempt in explained.attempts:
        why = ": ".join(part for part in (attempt.error_code, attempt.error_message) if part)
        table.add_row(
            f"  {attempt.attempt}",
            attempt.host,
            moment(attempt.ended_at, now),
            attempt.outcome,
            " ".join(why.split())[:WHY],
        )
    console.print(table)

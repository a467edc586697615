"""The options of commands that submit something, each declared once, in groups that commands share."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from worker.cli.answers import FitName, check_codes
from worker.cli.documents import DocumentOptions
from worker.cli.external import QueryOptions
from worker.cli.groups import option
from worker.cli.hours import HoursOptions
from worker.domain.jobs import JobState
from worker.records import record

INPUT = "Input"
MODEL = "Model"
AGAIN = "Rows of another batch, with --from"
BATCH = "Batch"
NOTICES = "Notices"

AnyFile = Annotated[
    Path | None,
    typer.Argument(
        help="JSONL, CSV, Parquet, .xlsx, .ods or .txt, one job a row; - reads standard input: JSONL, or CSV with a template."
    ),
]

Key = Annotated[
    str | None, typer.Option("--key", help="Idempotency key of your own; default: a hash of the input.")
]


@record
class PromptOptions:
    """How a row becomes a prompt."""

    prompt: Annotated[
        str | None,
        option(
            "--prompt", "Prompt of each row, with its columns as {{ column }}.", INPUT, metavar="TEXT|@FILE"
        ),
    ] = None
    template: Annotated[
        Path | None, option("--template", "File with the prompt, a Jinja2 template.", INPUT, metavar="T.j2")
    ] = None
    system: Annotated[
        str | None, option("--system", "System prompt; may hold columns.", INPUT, metavar="TEXT|@FILE")
    ] = None


@record
class RowOptions:
    """How rows are read, and how many of them."""

    id_: Annotated[
        str | None,
        option(
            "--id", "Column with an id for each row; in results it is custom_id.", INPUT, metavar="COLUMN"
        ),
    ] = None
    chat: Annotated[
        bool,
        option(
            "--chat",
            "Ask as a chat (/api/chat): with the column messages, or with prompt and --system as messages.",
            INPUT,
        ),
    ] = False
    embed: Annotated[
        bool,
        option("--embed", "Ask for embeddings (/api/embed) of the prompt, or of the column input.", INPUT),
    ] = False
    encoding: Annotated[
        str | None, option("--encoding", "Encoding of the input, e.g. cp1252. Default: detected.", INPUT)
    ] = None
    quote: Annotated[
        Literal["none", '"'] | None,
        option("--quote", 'Quoting of cells. Default: none in TSV, " in CSV.', INPUT),
    ] = None
    delimiter: Annotated[
        str | None,
        option(
            "--delimiter",
            "Separator of the cells of a CSV, such as ';' or tab. Default: detected.",
            INPUT,
            metavar="CHARACTER",
        ),
    ] = None
    sheet: Annotated[
        str | None,
        option("--sheet", "Sheet of a spreadsheet. Default: the first with rows.", INPUT, metavar="NAME|N"),
    ] = None
    image: Annotated[
        list[str] | None,
        option(
            "--image",
            "Column with the path of an image to show to the model; repeat for more.",
            INPUT,
            metavar="COLUMN",
        ),
    ] = None
    limit: Annotated[
        int | None,
        option(
            "--limit",
            "Ask only the first N rows; the same command without it asks the rest.",
            INPUT,
            min=1,
            metavar="N",
        ),
    ] = None
    on_bad_line: Annotated[
        Literal["refuse", "skip"] | None,
        option(
            "--on-bad-line",
            "Refuse an input with invalid lines, or skip them and write them to FILE.rejects.jsonl. Default: refuse.",
            INPUT,
        ),
    ] = None


@record
class SampleOptions:
    """A few of the rows, to look at."""

    sample: Annotated[
        int | None,
        option(
            "--sample",
            "Ask a random sample of N rows; the same command without it asks the rest.",
            INPUT,
            min=1,
            metavar="N",
        ),
    ] = None
    seed: Annotated[int, option("--seed", "Random seed for --sample.", INPUT, metavar="N")] = 0
    show: Annotated[
        int | None, option("--show", "Print N rendered prompts and send nothing.", INPUT, min=1, metavar="N")
    ] = None


@record
class ModelOptions:
    """Which models are asked, and how."""

    model: Annotated[
        list[str] | None,
        option("--model", "Model to ask; repeat to ask each row of several.", MODEL, metavar="MODEL"),
    ] = None
    set_: Annotated[
        list[str] | None,
        option("--set", "Option of the model, e.g. num_ctx=8192; repeat.", MODEL, metavar="NAME=VALUE"),
    ] = None
    think: Annotated[
        bool | None, option("--think/--no-think", "Let models reason. Default: those that can.", MODEL)
    ] = None
    format_: Annotated[
        str | None, option("--format", "Format that answers must have.", MODEL, metavar="json|SCHEMA.json")
    ] = None
    allow_empty: Annotated[
        bool,
        option("--allow-empty", "Accept answers without text. Default: they fail with empty_answer.", MODEL),
    ] = False
    priority: Annotated[
        Literal["interactive", "high", "normal", "bulk"] | None,
        option("--priority", "Priority of the jobs. Default: normal.", MODEL),
    ] = None


@record
class RequestOptions:
    """What else is asked of the rows of a file."""

    repairs: Annotated[
        int | None,
        option(
            "--repairs",
            "Tries for an answer that does not fit its format. Default: 2.",
            MODEL,
            min=0,
            max=10,
            metavar="N",
        ),
    ] = None
    keep_alive: Annotated[
        str | None,
        option("--keep-alive", "Time that the model stays loaded after its last job.", MODEL, metavar="TIME"),
    ] = None
    truncate: Annotated[
        bool,
        option(
            "--truncate",
            "Let hosts cut prompts that do not fit the context window. Default: they fail.",
            MODEL,
        ),
    ] = False
    override: Annotated[
        bool,
        option(
            "--override", "Let these options replace those of the rows. Default: they only fill gaps.", MODEL
        ),
    ] = False


@record
class DeadlineOptions:
    """By when it is wanted."""

    by: Annotated[
        str | None,
        option(
            "--by --deadline",
            "Deadline: 08:00 (the next one here), or a date and time.",
            BATCH,
            metavar="TIME",
        ),
    ] = None
    expire: Annotated[bool, option("--expire", "Drop jobs that have not started by the deadline.", BATCH)] = (
        False
    )


@record
class LimitOptions:
    """When a batch stops by itself, and how long it is kept."""

    max_failures: Annotated[
        str | None,
        option("--max-failures", "Pause the batch after more failures than this.", BATCH, metavar="N|P%"),
    ] = None
    keep: Annotated[
        str | None,
        option(
            "--keep",
            "Delete prompts and answers this long after the end of the batch: 30d, 12h, forever. Default: CARAVAN_KEEP_DAYS.",
            BATCH,
            metavar="TIME",
        ),
    ] = None


@record
class BatchOptions:
    """Which batch it is, and what a repeated command means."""

    name: Annotated[str | None, option("--name", "Name of the batch. Default: that of the file.", BATCH)] = (
        None
    )
    new: Annotated[bool, option("--new", "Make a new batch, though this input was asked before.", BATCH)] = (
        False
    )
    extend: Annotated[
        bool, option("--extend", "Add the new and changed rows of this input to its earlier batch.", BATCH)
    ] = False
    drop_missing: Annotated[
        bool,
        option("--drop-missing", "With --extend: delete jobs whose rows are no longer in the input.", BATCH),
    ] = False
    retry_failed: Annotated[bool, option("--retry-failed", "Ask jobs again that failed before.", BATCH)] = (
        False
    )
    pull_missing: Annotated[bool, option("--pull-missing", "Pull models that no host has.", MODEL)] = False
    reuse: Annotated[
        bool,
        option(
            "--reuse",
            "Reuse stored answers to identical requests that have temperature 0 or a seed.",
            MODEL,
        ),
    ] = False
    reuse_any: Annotated[
        bool,
        option("--reuse-any", "Reuse stored answers to all identical requests (also --reuse=any).", MODEL),
    ] = False
    fail_on_cut: Annotated[bool, option("--fail-on-cut", "Treat a cut answer as a failure.", BATCH)] = False


@record
class NoticeOptions:
    """Who is notified when it is over."""

    notify: Annotated[
        Literal["always", "failure", "new-failures"],
        option("--notify", "Notify always, only of failures, or (schedules) only of new failures.", NOTICES),
    ] = "always"
    mail_to: Annotated[
        list[str] | None,
        option("--mail-to", "Mail a summary there when the batch ends; repeat.", NOTICES, metavar="ADDRESS"),
    ] = None
    webhook: Annotated[
        list[str] | None,
        option("--webhook", "Post a summary there when the batch ends; repeat.", NOTICES, metavar="URL"),
    ] = None
    webhook_key: Annotated[
        str | None,
        option("--webhook-key", "Signing key for --webhook.", NOTICES, metavar="env:NAME|file:PATH"),
    ] = None
    notify_command: Annotated[
        str | None,
        option(
            "--notify-command",
            "Shell command to run when the batch ends; it gets a JSON summary on stdin.",
            NOTICES,
            metavar="COMMAND",
        ),
    ] = None


@record
class AgainOptions:
    """Rows of a batch, instead of those of a file."""

    from_: Annotated[
        str | None,
        option(
            "--from",
            "Ask the rows of this batch again, in a new batch that is linked to it.",
            INPUT,
            metavar="BATCH",
        ),
    ] = None
    state: Annotated[
        list[JobState] | None,
        option(
            "--state",
            "Rows whose jobs have this state; repeat for more. Default: all that have ended.",
            AGAIN,
        ),
    ] = None
    code: Annotated[
        list[str] | None,
        option(
            "--code",
            "Rows that failed with this error code; repeat for more.",
            AGAIN,
            metavar="CODE",
            callback=check_codes,
        ),
    ] = None
    cut: Annotated[bool, option("--cut", "Rows whose answers were cut.", AGAIN)] = False
    empty: Annotated[bool, option("--empty", "Rows whose answers are empty.", AGAIN)] = False
    prompt_fit: Annotated[
        list[FitName] | None,
        option(
            "--prompt-fit", "Rows answered to the whole prompt (yes), a part (no), or unknown; repeat.", AGAIN
        ),
    ] = None


@record
class RowsOptions:
    """Rows, and how they are asked."""

    prompts: PromptOptions
    rows: RowOptions
    models: ModelOptions
    request: RequestOptions
    deadline: DeadlineOptions


@record
class SubmissionOptions:
    """Everything that a submission can say."""

    rows: RowsOptions
    sample: SampleOptions
    batch: BatchOptions
    limits: LimitOptions
    hours: HoursOptions
    notices: NoticeOptions
    again: AgainOptions
    query: QueryOptions
    documents: DocumentOptions

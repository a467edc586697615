"""The options of commands that submit something, each declared once, in groups that commands share."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from worker.cli.answers import FitName
from worker.cli.documents import DocumentOptions
from worker.cli.external import QueryOptions
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


@record
class PromptOptions:
    """How a row becomes a prompt."""

    prompt: Annotated[
        str | None,
        typer.Option(
            "--prompt",
            metavar="TEXT|@FILE",
            help="Prompt of each row, with its columns as {{ column }}.",
            rich_help_panel=INPUT,
        ),
    ] = None
    template: Annotated[
        Path | None,
        typer.Option(
            "--template",
            metavar="T.j2",
            help="File with the prompt, a Jinja2 template.",
            rich_help_panel=INPUT,
        ),
    ] = None
    system: Annotated[
        str | None,
        typer.Option(
            "--system", metavar="TEXT|@FILE", help="System prompt; may hold columns.", rich_help_panel=INPUT
        ),
    ] = None


@record
class RowOptions:
    """How rows are read, and how many of them."""

    id_: Annotated[
        str | None,
        typer.Option(
            "--id", metavar="COLUMN", help="Column with each row's custom_id.", rich_help_panel=INPUT
        ),
    ] = None
    chat: Annotated[
        bool,
        typer.Option(
            "--chat",
            help="Ask by /api/chat: prompt and --system become messages, or a column messages holds them.",
            rich_help_panel=INPUT,
        ),
    ] = False
    embed: Annotated[
        bool,
        typer.Option(
            "--embed",
            help="Ask for vectors by /api/embed: of the prompt, or of a column input.",
            rich_help_panel=INPUT,
        ),
    ] = False
    encoding: Annotated[
        str | None,
        typer.Option(
            "--encoding", help="Encoding of the input. Default: detected, or refused.", rich_help_panel=INPUT
        ),
    ] = None
    quote: Annotated[
        Literal["none", '"'] | None,
        typer.Option(
            "--quote", help='Quoting of cells. Default: none in TSV, " in CSV.', rich_help_panel=INPUT
        ),
    ] = None
    delimiter: Annotated[
        str | None,
        typer.Option(
            "--delimiter",
            metavar="CHARACTER",
            help="Separator of the cells of a CSV, such as ';' or tab. Default: detected.",
            rich_help_panel=INPUT,
        ),
    ] = None
    sheet: Annotated[
        str | None,
        typer.Option(
            "--sheet",
            metavar="NAME|N",
            help="Sheet of a spreadsheet. Default: the first with rows.",
            rich_help_panel=INPUT,
        ),
    ] = None
    image: Annotated[
        list[str] | None,
        typer.Option(
            "--image",
            metavar="COLUMN",
            help="Column with the path of an image to show to the model; repeat for more.",
            rich_help_panel=INPUT,
        ),
    ] = None
    limit: Annotated[
        int | None,
        typer.Option("--limit", min=1, metavar="N", help="Only the first N rows.", rich_help_panel=INPUT),
    ] = None
    on_bad_line: Annotated[
        Literal["refuse", "skip"] | None,
        typer.Option(
            "--on-bad-line",
            help="skip writes bad lines to a file of rejects. Default: refuse.",
            rich_help_panel=INPUT,
        ),
    ] = None


@record
class SampleOptions:
    """A few of the rows, to look at."""

    sample: Annotated[
        int | None,
        typer.Option(
            "--sample",
            min=1,
            metavar="N",
            help="Ask a random sample of N rows first; later the rest.",
            rich_help_panel=INPUT,
        ),
    ] = None
    seed: Annotated[
        int, typer.Option("--seed", metavar="N", help="Random seed for --sample.", rich_help_panel=INPUT)
    ] = 0
    show: Annotated[
        int | None,
        typer.Option(
            "--show",
            min=1,
            metavar="N",
            help="Print N rendered prompts and send nothing.",
            rich_help_panel=INPUT,
        ),
    ] = None


@record
class ModelOptions:
    """Which models are asked, and how."""

    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            metavar="MODEL",
            help="Model to ask; repeat to ask each row of several.",
            rich_help_panel=MODEL,
        ),
    ] = None
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Option of the model, e.g. num_ctx=8192; repeat.",
            rich_help_panel=MODEL,
        ),
    ] = None
    think: Annotated[
        bool | None,
        typer.Option(
            "--think/--no-think", help="Let models reason. Default: those that can.", rich_help_panel=MODEL
        ),
    ] = None
    format_: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="json|SCHEMA.json",
            help="Format that answers must have.",
            rich_help_panel=MODEL,
        ),
    ] = None
    allow_empty: Annotated[
        bool,
        typer.Option(
            "--allow-empty",
            help="Accept an answer without text; default: it fails as empty_answer.",
            rich_help_panel=MODEL,
        ),
    ] = False
    priority: Annotated[
        Literal["interactive", "high", "normal", "bulk"] | None,
        typer.Option("--priority", help="Priority of the jobs. Default: normal.", rich_help_panel=MODEL),
    ] = None


@record
class RequestOptions:
    """What else is asked of the rows of a file."""

    repairs: Annotated[
        int | None,
        typer.Option(
            "--repairs",
            min=0,
            max=10,
            metavar="N",
            help="Tries for an answer that does not fit its format. Default: 2.",
            rich_help_panel=MODEL,
        ),
    ] = None
    keep_alive: Annotated[
        str | None,
        typer.Option(
            "--keep-alive",
            metavar="TIME",
            help="Time that the model stays loaded after its last job.",
            rich_help_panel=MODEL,
        ),
    ] = None
    truncate: Annotated[
        bool,
        typer.Option(
            "--truncate",
            help="Let hosts cut what does not fit the window. Default: it fails.",
            rich_help_panel=MODEL,
        ),
    ] = False
    override: Annotated[
        bool,
        typer.Option(
            "--override", help="Replace what rows say themselves, not only fill gaps.", rich_help_panel=MODEL
        ),
    ] = False


@record
class DeadlineOptions:
    """By when it is wanted."""

    by: Annotated[
        str | None,
        typer.Option(
            "--by",
            "--deadline",
            metavar="TIME",
            help="Deadline: 08:00 (the next one here), or a date and time.",
            rich_help_panel=BATCH,
        ),
    ] = None
    expire: Annotated[
        bool,
        typer.Option(
            "--expire", help="Drop jobs that have not started by the deadline.", rich_help_panel=BATCH
        ),
    ] = False


@record
class LimitOptions:
    """When a batch stops by itself, and how long it is kept."""

    max_failures: Annotated[
        str | None,
        typer.Option(
            "--max-failures",
            metavar="N|P%",
            help="Pause the batch after more failures than this.",
            rich_help_panel=BATCH,
        ),
    ] = None
    keep: Annotated[
        str | None,
        typer.Option(
            "--keep",
            metavar="TIME",
            help="Prune the batch this long after its end: 30d, 12h, forever. Default: CARAVAN_KEEP_DAYS.",
            rich_help_panel=BATCH,
        ),
    ] = None


@record
class BatchOptions:
    """Which batch it is, and what a repeated command means."""

    name: Annotated[
        str | None,
        typer.Option("--name", help="Name of the batch. Default: that of the file.", rich_help_panel=BATCH),
    ] = None
    new: Annotated[
        bool,
        typer.Option(
            "--new", help="Make a new batch, though this input was asked before.", rich_help_panel=BATCH
        ),
    ] = False
    extend: Annotated[
        bool, typer.Option("--extend", help="Take a changed input into its batch.", rich_help_panel=BATCH)
    ] = False
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Ask jobs again that failed before.", rich_help_panel=BATCH)
    ] = False
    pull_missing: Annotated[
        bool, typer.Option("--pull-missing", help="Pull models that no host has.", rich_help_panel=MODEL)
    ] = False
    reuse: Annotated[
        bool,
        typer.Option(
            "--reuse",
            help="Take stored answers to the same requests, where temperature is 0 or a seed set.",
            rich_help_panel=MODEL,
        ),
    ] = False
    reuse_any: Annotated[
        bool,
        typer.Option(
            "--reuse-any",
            help="Take stored answers to all the same requests; also --reuse=any.",
            rich_help_panel=MODEL,
        ),
    ] = False
    fail_on_cut: Annotated[
        bool,
        typer.Option("--fail-on-cut", help="Treat a cut answer as a failure.", rich_help_panel=BATCH),
    ] = False


@record
class NoticeOptions:
    """Who is notified when it is over."""

    notify: Annotated[
        Literal["always", "failure", "new-failures"],
        typer.Option(
            "--notify",
            help="Notify always, or only of failures; a schedule: of new ones.",
            rich_help_panel=NOTICES,
        ),
    ] = "always"
    mail_to: Annotated[
        list[str] | None,
        typer.Option(
            "--mail-to",
            metavar="ADDRESS",
            help="Mail a summary there when the batch ends; repeat.",
            rich_help_panel=NOTICES,
        ),
    ] = None
    webhook: Annotated[
        list[str] | None,
        typer.Option(
            "--webhook",
            metavar="URL",
            help="Post a summary there when the batch ends; repeat.",
            rich_help_panel=NOTICES,
        ),
    ] = None
    webhook_key: Annotated[
        str | None,
        typer.Option(
            "--webhook-key",
            metavar="env:NAME|file:PATH",
            help="Signing key for --webhook.",
            rich_help_panel=NOTICES,
        ),
    ] = None
    notify_command: Annotated[
        str | None,
        typer.Option(
            "--notify-command",
            metavar="COMMAND",
            help="Shell command to run when the batch ends; it gets a JSON summary on stdin.",
            rich_help_panel=NOTICES,
        ),
    ] = None


@record
class AgainOptions:
    """Rows of a batch, instead of those of a file."""

    from_: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="BATCH",
            help="Ask rows of this batch again, as a batch linked to it.",
            rich_help_panel=INPUT,
        ),
    ] = None
    state: Annotated[
        list[JobState] | None,
        typer.Option(
            "--state",
            help="Rows in this state; repeat. Default: all that ended.",
            rich_help_panel=AGAIN,
        ),
    ] = None
    code: Annotated[
        list[str] | None,
        typer.Option("--code", metavar="CODE", help="Rows with this error; repeat.", rich_help_panel=AGAIN),
    ] = None
    cut: Annotated[
        bool,
        typer.Option("--cut", help="Rows whose answers were cut.", rich_help_panel=AGAIN),
    ] = False
    empty: Annotated[
        bool,
        typer.Option("--empty", help="Rows whose answers are empty.", rich_help_panel=AGAIN),
    ] = False
    prompt_fit: Annotated[
        list[FitName] | None,
        typer.Option(
            "--prompt-fit",
            help="Rows answered to the whole prompt (yes), a part (no), or unknown; repeat.",
            rich_help_panel=AGAIN,
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

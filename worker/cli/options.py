"""What ``run`` and ``submit`` are told about an input, and the recipe that it makes."""

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from worker.cli.answers import FitName
from worker.clock import SystemClock
from worker.domain.answers import AnswerFilter
from worker.domain.jobs import JobState
from worker.domain.keeping import parse_keep
from worker.errors import InputRefused, Problem

if TYPE_CHECKING:
    from api_schemas.submissions import NoticeTarget, Submission
    from worker.door.again import Again
    from worker.exports.outputs import Outputs
    from worker.settings import Settings

INPUT = "Input"
ASKED = "What is asked"
BATCH = "The batch"
TOLD = "When it is over"

File = Annotated[
    Path,
    typer.Argument(
        help="JSONL, CSV or Parquet, one job a row; - reads standard input: JSONL, or CSV with a template."
    ),
]
AnyFile = Annotated[
    Path | None,
    typer.Argument(
        help="JSONL, CSV or Parquet, one job a row; - reads standard input: JSONL, or CSV with a template."
    ),
]
From = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="BATCH",
        help="Instead of FILE: ask rows of this batch again, as a batch linked to it.",
        rich_help_panel=INPUT,
    ),
]
FromState = Annotated[
    list[JobState] | None,
    typer.Option(
        "--state",
        help="Of --from: rows in this state; repeat. Default: all that ended.",
        rich_help_panel=INPUT,
    ),
]
FromCode = Annotated[
    list[str] | None,
    typer.Option(
        "--code", metavar="CODE", help="Of --from: rows with this error; repeat.", rich_help_panel=INPUT
    ),
]
FromCut = Annotated[
    bool,
    typer.Option("--cut", help="Of --from: rows whose answers were cut.", rich_help_panel=INPUT),
]
FromEmpty = Annotated[
    bool,
    typer.Option("--empty", help="Of --from: rows whose answers are empty.", rich_help_panel=INPUT),
]
FromFit = Annotated[
    list[FitName] | None,
    typer.Option(
        "--prompt-fit",
        help="Of --from: rows answered to the whole prompt (yes), a part (no), or unknown; repeat.",
        rich_help_panel=INPUT,
    ),
]
Models = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        metavar="MODEL",
        help="For rows that name none; repeat to ask each row of several.",
        rich_help_panel=ASKED,
    ),
]
Prompt = Annotated[
    str | None,
    typer.Option(
        "--prompt",
        metavar="TEXT|@FILE",
        help="Prompt of each row, with its columns as {{ column }}.",
        rich_help_panel=INPUT,
    ),
]
TemplateFile = Annotated[
    Path | None,
    typer.Option("--template", metavar="T.j2", help="The same from a file: Jinja2.", rich_help_panel=INPUT),
]
System = Annotated[
    str | None,
    typer.Option(
        "--system", metavar="TEXT|@FILE", help="System prompt; may hold columns.", rich_help_panel=INPUT
    ),
]
IdColumn = Annotated[
    str | None,
    typer.Option("--id", metavar="COLUMN", help="Column with each row's custom_id.", rich_help_panel=INPUT),
]
Encoding = Annotated[
    str | None,
    typer.Option(
        "--encoding", help="Encoding of the input. Default: found out, or refused.", rich_help_panel=INPUT
    ),
]
Quoting = Annotated[
    Literal["none", '"'] | None,
    typer.Option("--quote", help='Quoting of cells. Default: none in TSV, " in CSV.', rich_help_panel=INPUT),
]
Limit = Annotated[
    int | None,
    typer.Option("--limit", min=1, metavar="N", help="Only the first N rows.", rich_help_panel=INPUT),
]
Sample = Annotated[
    int | None,
    typer.Option(
        "--sample", min=1, metavar="N", help="Only N rows by chance; later the rest.", rich_help_panel=INPUT
    ),
]
Seed = Annotated[int, typer.Option("--seed", metavar="N", help="Of that chance.", rich_help_panel=INPUT)]
OnBadLine = Annotated[
    Literal["refuse", "skip"] | None,
    typer.Option(
        "--on-bad-line",
        help="skip: such lines go to a file of rejects. Default: refuse.",
        rich_help_panel=INPUT,
    ),
]
ShowPrompts = Annotated[
    int | None,
    typer.Option(
        "--show", min=1, metavar="N", help="Print N rendered prompts and send nothing.", rich_help_panel=INPUT
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="NAME=VALUE", help="An option, e.g. num_ctx=8192; repeat.", rich_help_panel=ASKED
    ),
]
Think = Annotated[
    bool | None,
    typer.Option(
        "--think/--no-think", help="Let models reason; default: those that can.", rich_help_panel=ASKED
    ),
]
Format = Annotated[
    str | None,
    typer.Option(
        "--format", metavar="json|SCHEMA.json", help="What answers have to be.", rich_help_panel=ASKED
    ),
]
Repairs = Annotated[
    int | None,
    typer.Option(
        "--repairs",
        min=0,
        max=10,
        metavar="N",
        help="Further tries for an answer that does not fit; default 2.",
        rich_help_panel=ASKED,
    ),
]
AllowEmpty = Annotated[
    bool,
    typer.Option(
        "--allow-empty",
        help="Accept an answer without text; default: it fails as empty_answer.",
        rich_help_panel=ASKED,
    ),
]
KeepAlive = Annotated[
    str | None,
    typer.Option(
        "--keep-alive", help="How long the model stays when its run is over.", rich_help_panel=ASKED
    ),
]
PriorityName = Annotated[
    Literal["interactive", "high", "normal", "bulk"] | None,
    typer.Option("--priority", help="How urgent the jobs are.", rich_help_panel=ASKED),
]
Override = Annotated[
    bool,
    typer.Option(
        "--override", help="Replace what rows say themselves, not only fill gaps.", rich_help_panel=ASKED
    ),
]
Name = Annotated[
    str | None,
    typer.Option("--name", help="What to call the batch; default: the file's.", rich_help_panel=BATCH),
]
New = Annotated[
    bool,
    typer.Option(
        "--new", help="A batch of its own, though this input was asked before.", rich_help_panel=BATCH
    ),
]
Extend = Annotated[
    bool, typer.Option("--extend", help="Take a changed input into its batch.", rich_help_panel=BATCH)
]
RetryFailed = Annotated[
    bool, typer.Option("--retry-failed", help="Ask again what failed before.", rich_help_panel=BATCH)
]
MaxFailures = Annotated[
    str | None,
    typer.Option(
        "--max-failures", metavar="N|P%", help="More than that pause the batch.", rich_help_panel=BATCH
    ),
]
By = Annotated[
    str | None,
    typer.Option(
        "--by",
        "--deadline",
        metavar="TIME",
        help="When all is wanted: 08:00 (the next one here), or a date and time.",
        rich_help_panel=BATCH,
    ),
]
Expire = Annotated[
    bool,
    typer.Option(
        "--expire", help="What has not been started by then is not asked any more.", rich_help_panel=BATCH
    ),
]
Reuse = Annotated[
    bool,
    typer.Option(
        "--reuse",
        help="Take stored answers to the same requests, where temperature is 0 or a seed set.",
        rich_help_panel=ASKED,
    ),
]
ReuseAny = Annotated[
    bool,
    typer.Option(
        "--reuse-any",
        help="Take stored answers to all the same requests; also --reuse=any.",
        rich_help_panel=ASKED,
    ),
]
Keep = Annotated[
    str | None,
    typer.Option(
        "--keep",
        metavar="TIME",
        help="Prune it so long after its end: 30d, 12h, or forever. Default: CARAVAN_KEEP_DAYS.",
        rich_help_panel=BATCH,
    ),
]
PullMissing = Annotated[
    bool, typer.Option("--pull-missing", help="Pull models that no host has.", rich_help_panel=ASKED)
]


Notify = Annotated[
    Literal["always", "failure"],
    typer.Option("--notify", help="When those below are told that the batch is over.", rich_help_panel=TOLD),
]
MailTo = Annotated[
    list[str] | None,
    typer.Option("--mail-to", metavar="ADDRESS", help="Mail what came of it; repeat.", rich_help_panel=TOLD),
]
WebhookUrl = Annotated[
    list[str] | None,
    typer.Option(
        "--webhook", metavar="URL", help="Post what came of it there; repeat.", rich_help_panel=TOLD
    ),
]
WebhookKey = Annotated[
    str | None,
    typer.Option(
        "--webhook-key",
        metavar="env:NAME|file:PATH",
        help="Where the key stands that signs it.",
        rich_help_panel=TOLD,
    ),
]
NotifyCommand = Annotated[
    str | None,
    typer.Option(
        "--notify-command",
        metavar="COMMAND",
        help="Run this, what came of it on its input.",
        rich_help_panel=TOLD,
    ),
]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a command wants beside its submission."""

    output: Path | None = None
    outputs: "Outputs | None" = None
    """What may be written; None: no file is."""
    bom: bool = False
    raw: bool = False
    """CSV without the apostrophe before texts that a spreadsheet takes for formulas."""
    as_json: bool = False
    wait_hosts: float = 120.0
    """Seconds."""
    quiet: bool = False
    """No summary: what comes of it is said otherwise."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Where the rows of a command come from."""

    file: Path
    """``-``: standard input."""
    again: "Again | None" = None
    """Rows of a batch that are asked again, instead of those of a file."""
    name: str | None = None
    """Name of their batch where the command gives none."""
    by_document: bool = False


def notices_of(
    settings: "Settings",
    *,
    notify: Literal["always", "failure"],
    mail_to: list[str] | None,
    webhook: list[str] | None,
    webhook_key: str | None,
    command: str | None,
) -> "tuple[NoticeTarget, ...]":
    """Who is notified when the batch is over. Raises SettingsRefused for one who could never be."""
    if webhook_key is not None and not re.match(r"(env|file):.", webhook_key):
        raise typer.BadParameter("expected env:NAME or file:PATH", param_hint="--webhook-key")
    from api_schemas.submissions import NoticeTarget

    targets = [
        *(("mail", address, None) for address in mail_to or ()),
        *(("webhook", url, webhook_key) for url in webhook or ()),
        *((("command", command, None),) if command else ()),
    ]
    if not targets:
        return ()
    from worker.door.submit import addressee_of
    from worker.reports.notices import check_addressee

    notices = tuple(
        NoticeTarget(channel=channel, target=target, when=notify, secret=secret)
        for channel, target, secret in targets
    )
    for notice in notices:
        check_addressee(addressee_of(notice), settings.means)
    return notices


def submission_of(
    *,
    prompt: str | None,
    template: Path | None,
    system: str | None,
    id_column: str | None,
    encoding: str | None,
    quote: Literal["none", '"'] | None,
    models: list[str] | None,
    limit: int | None,
    sample: int | None,
    seed: int,
    set_: list[str] | None,
    think: bool | None,
    format_: str | None,
    keep_alive: str | None,
    priority: Any,
    override: bool,
    by: str | None = None,
    expire: bool = False,
    reuse: bool = False,
    reuse_any: bool = False,
    repairs: int | None = None,
    allow_empty: bool = False,
    **terms: Any,
) -> "Submission":
    """The submission of these options. Raises InputRefused for what contradicts itself or cannot be read."""
    from api_schemas.jobs import JobDefaults, check_defaults
    from api_schemas.submissions import Submission
    from worker.documents.encodings import read_text, read_text_argument

    source = "--prompt"
    if template is not None:
        prompt, source = read_text(template), str(template)
    elif prompt is not None:
        source = prompt[1:] if prompt.startswith("@") and not prompt.startswith("@@") else source
        prompt = read_text_argument(prompt)
    defaults = JobDefaults(
        system=None if system is None else read_text_argument(system),
        options=options_of(set_ or []) or None,
        think=think,
        format=None if format_ is None else _format(format_),
        repairs=repairs,
        allow_empty=allow_empty or None,
        keep_alive=None if keep_alive is None else _number(keep_alive),
        priority=priority,
        deadline=None if by is None else deadline_of(by, SystemClock().now()),
        expires=True if expire else None,
        reuse="any" if reuse_any else reuse or None,
    )
    problems = [Problem(p.line, p.field, p.code, p.message) for p in check_defaults(defaults)]
    if problems:
        raise InputRefused(problems)
    return Submission.of_defaults(
        defaults,
        prompt=prompt,
        prompt_source=source,
        render_system=system is not None,
        id_column=id_column,
        encoding=encoding,
        quote=quote,
        models=tuple(dict.fromkeys(models or ())),
        override=override,
        limit=limit,
        sample=sample,
        seed=seed,
        **terms,
    )


def checked_keep(text: str | None) -> str | None:
    """``30d``, or ``forever``. Raises InputRefused."""
    try:
        if text is not None:
            parse_keep(text)
    except ValueError as error:
        raise _refused("--keep", "invalid_value", f"--keep {error}") from error
    return text


FROM_BATCH = Path("from-batch.jsonl")
"""What stands for the file where there is none: the name of the file of rejects is made of it."""


def asked_again(
    file: Path | None,
    from_: str | None,
    states: list[JobState] | None,
    codes: list[str] | None,
    answers: AnswerFilter,
    submission: "Submission",
) -> "tuple[Rows, Submission]":
    """FILE or ``--from``, and the submission that holds for it. Raises typer.BadParameter."""
    if from_ is None:
        if file is None:
            raise typer.BadParameter(
                "name one, documents with --documents, or a batch with --from", param_hint="FILE"
            )
        return Rows(file), submission
    from worker.door.again import Again

    again = Again(from_, tuple(states or ()), tuple(codes or ()), answers)
    return Rows(FROM_BATCH, again), submission.model_copy(update={"override": True})


_CLOCK = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2}))?")


def deadline_of(text: str, now: datetime, zone: tzinfo | None = None) -> datetime:
    """``08:00``, the next one after ``now``, or an ISO 8601 time, in UTC. Without an offset it is meant in ``zone``; None:
    this machine's. Raises InputRefused.
    """
    here = now.astimezone(zone)
    clock = _CLOCK.fullmatch(text.strip())
    try:
        if clock is not None:
            hour, minute, second = (int(part or 0) for part in clock.groups())
            naive = here.replace(tzinfo=None).replace(hour=hour, minute=minute, second=second, microsecond=0)
            found = _in_zone(naive, zone)
            if found <= now:
                found = _in_zone(naive + timedelta(days=1), zone)
        else:
            found = datetime.fromisoformat(text.strip())
            if found.tzinfo is None:
                found = _in_zone(found, zone)
        found = found.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        told = f"--by {text[:40]}: expected a time such as 08:00, 2026-12-01T08:00 or 2026-12-01T08:00+01:00"
        raise _refused("--by", "invalid_value", told) from error
    if found <= now:
        told = f"--by {text[:40]}: that time has passed"
        raise _refused("--by", "out_of_range", told)
    return found


def _in_zone(naive: datetime, zone: tzinfo | None) -> datetime:
    return naive.astimezone() if zone is None else naive.replace(tzinfo=zone)


def options_of(pairs: list[str]) -> dict[str, Any]:
    """``num_ctx=8192`` → ``{"num_ctx": 8192}``; whether there is such an option is checked with the defaults."""
    options: dict[str, Any] = {}
    for pair in pairs:
        name, found, value = pair.partition("=")
        if not found or not name.strip():
            raise _refused("--set", "invalid_value", f"--set {pair}: expected NAME=VALUE, e.g. num_ctx=8192")
        try:
            options[name.strip()] = json.loads(value)
        except ValueError:
            options[name.strip()] = value
    return options


def _number(text: str) -> float | int | str:
    try:
        number = float(text)
    except ValueError:
        return text
    return int(number) if number.is_integer() else number


def _format(text: str) -> str | dict[str, Any]:
    """``json``, or a JSON Schema from a file."""
    from api_schemas.formats import format_problem
    from api_schemas.json_text import NotJson, load_json
    from worker.documents.encodings import read_text

    if text == "json":
        return text
    path = Path(text.removeprefix("@"))
    if not path.exists():
        raise _refused(
            "--format", "unreadable", f"--format {text}: expected json or the file of a JSON Schema"
        )
    try:
        schema: dict[str, Any] = load_json(read_text(path))
    except NotJson as error:
        raise _refused("--format", error.code, f"{path}: {error}") from error
    problem = format_problem(schema)
    if problem is not None:
        raise _refused("--format", "invalid_value", f"{path}: {problem}")
    return schema


def _refused(field: str, code: str, message: str) -> InputRefused:
    return InputRefused([Problem(0, field, code, message)])

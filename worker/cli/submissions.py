"""From the options of a command to a submission and its rows."""

import json
import re
import sys
from dataclasses import fields
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from worker.cli.answers import answers_of
from worker.cli.documents import from_documents
from worker.cli.external import keep_query
from worker.cli.hours import HoursOptions, windows_of, zone_name
from worker.cli.options import NoticeOptions, PromptOptions, RowsOptions, SubmissionOptions
from worker.clock import SystemClock
from worker.errors import InputRefused, Problem
from worker.exports.targets import AS_USUAL, CsvForm, check_output
from worker.records import record

if TYPE_CHECKING:
    from api_schemas.submissions import NoticeTarget, Submission
    from worker.door.input_files import BatchRows
    from worker.door.rows import RowFile
    from worker.exports.outputs import Outputs
    from worker.settings import Settings


@record
class RunTerms:
    """How a command waits for its submission, and where its results go."""

    output: Path | None = None
    outputs: "Outputs | None" = None
    """What may be written; None: no file is."""
    form: CsvForm = AS_USUAL
    wide: bool = False
    """A row for each input, with the answers of several models side by side."""
    as_json: bool = False
    wait_hosts: float = 120.0
    """Seconds."""
    quiet: bool = False
    """No summary: the caller reports the outcome."""


@record
class Entry:
    """What a command submits."""

    submission: "Submission"
    rows: "RowFile | BatchRows"
    """Rows of a file, or of a batch that is asked again."""
    outputs: "Outputs | None" = None
    """What may be written; None: no file is."""
    unreadable: int = 0
    """Documents that could not be read."""


def entry_of(
    settings: "Settings",
    file: Path | None,
    options: SubmissionOptions,
    *,
    output: Path | None = None,
    force: bool = False,
    **terms: Any,
) -> Entry | None:
    """What ``run`` and ``submit`` submit; None where ``--show`` printed prompts instead. Everything that is wrong with the
    command itself is said here. Raises InputRefused, SettingsRefused, typer.BadParameter.
    """
    from worker.cli.prompts import show_prompts
    from worker.door.input_files import BatchRows

    submission = submission_of(settings, options, **terms)
    outputs = _outputs(settings, file, options, force=force)
    if output is not None:
        check_output(output)
        outputs.check(output)
    show, again = options.sample.show, options.again
    if options.documents.documents:
        rows, submission, unreadable = from_documents(
            settings, submission, options.documents, show=show, output=output, outputs=outputs
        )
        return Entry(submission, rows, outputs, unreadable)
    if again.from_ is not None:
        answers = answers_of(again.cut, again.empty, again.prompt_fit)
        chosen = BatchRows(again.from_, tuple(again.state or ()), tuple(again.code or ()), answers)
        return Entry(submission.model_copy(update={"override": True}), chosen, outputs)
    if options.query.from_sql is not None:
        from worker.door.rows import RowFile

        row_file = RowFile(keep_query(settings, options.query.from_sql, options.query.sql_url), "sql")
    elif file is None:
        raise typer.BadParameter(
            "name one, documents with --documents, a query with --from-sql, or a batch with --from",
            param_hint="FILE",
        )
    else:
        row_file = row_file_of(settings, file, submission)
    if show is not None:
        show_prompts(row_file, submission, show)
        return None
    row_file.open(submission)  # what is wrong with the command is said before any host is asked
    return Entry(submission, row_file, outputs)


def row_file_of(settings: "Settings", file: Path, submission: "Submission") -> "RowFile":
    """FILE; standard input (``-``) is kept as a file first. Raises InputRefused for what is no file."""
    from worker.door.input_files import keep_standard_input
    from worker.door.rows import RowFile

    if str(file) != "-":
        if file.is_dir():
            raise refused(
                "FILE", "unreadable", f"{file} is a folder; --documents {file} asks each document in it"
            )
        if " " in file.name and not file.suffix and not file.exists():
            message = f"there is no file {file.name!r}; caravan ask asks a single question"
            raise refused("FILE", "unreadable", message)
        return RowFile(file)
    folder = settings.home / "input"
    return RowFile(keep_standard_input(sys.stdin.buffer, folder, rows=not submission.is_plain), "-")


def submission_of(settings: "Settings", options: SubmissionOptions, **more: Any) -> "Submission":
    """The submission of a command's options, and of what ``more`` it says.

    Raises InputRefused, SettingsRefused, typer.BadParameter.
    """
    from worker.domain.keeping import parse_keep
    from worker.serving.brake import parse_max_failures

    batch, limits, hours = options.batch, options.limits, options.hours
    if limits.max_failures is not None:
        parse_max_failures(limits.max_failures)
    windows_of(hours)
    try:
        if limits.keep is not None:
            parse_keep(limits.keep)
    except ValueError as error:
        raise refused("--keep", "invalid_value", f"--keep {error}") from error
    terms = same_fields(options.sample) | same_fields(batch) | same_fields(limits) | same_fields(hours)
    terms |= more | {
        "reuse": "any" if batch.reuse_any else batch.reuse or None,
        "on_change": "new" if batch.new else "extend" if batch.extend else "refuse",
        "notices": notices_of(settings, options.notices),
        "max_attempts": settings.max_attempts,
    }
    if hours.window or hours.blackout:
        terms["tz"] = zone_name(hours)
    return submission_of_rows(options.rows, hours, **terms)


def submission_of_rows(options: RowsOptions, hours: HoursOptions | None = None, **terms: Any) -> "Submission":
    """The submission of options that say how rows are asked, and of the ``terms`` of their batch. Raises InputRefused."""
    from api_schemas.jobs import check_defaults
    from api_schemas.submissions import Submission
    from worker.documents.encodings import read_text_argument

    prompt, source = prompt_of(options.prompts)
    system, deadline = options.prompts.system, options.deadline
    zone = None
    if hours is not None and hours.tz is not None:
        from worker.policy.zones import zone_of

        zone = zone_of(hours.tz)
    values = {
        **same_fields(options.rows),
        **same_fields(options.models),
        **same_fields(options.request),
        "prompt": prompt,
        "prompt_source": source,
        "system": None if system is None else read_text_argument(system),
        "render_system": system is not None,
        "id_column": options.rows.id_,
        "delimiter": character(options.rows.delimiter, "--delimiter"),
        "image_columns": tuple(options.rows.image or ()),
        "models": tuple(dict.fromkeys(options.models.model or ())),
        "options": options_of(options.models.set_ or []) or None,
        "format": None if options.models.format_ is None else _format(options.models.format_),
        "allow_empty": options.models.allow_empty or None,
        "truncate": options.request.truncate or None,
        "keep_alive": None if options.request.keep_alive is None else _number(options.request.keep_alive),
        "deadline": None if deadline.by is None else deadline_of(deadline.by, SystemClock().now(), zone),
        "expires": True if deadline.expire else None,
    }
    submission = Submission.model_construct(**{**values, **terms})
    problems = [Problem(p.line, p.field, p.code, p.message) for p in check_defaults(submission.defaults)]
    if problems:
        raise InputRefused(problems)
    return Submission.model_validate({**values, **terms})


def same_fields(group: Any) -> dict[str, Any]:
    """Options that are fields of a submission, by their common name."""
    from api_schemas.submissions import Submission

    values = {field.name: getattr(group, field.name) for field in fields(group)}
    return {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in values.items()
        if name in Submission.model_fields and value is not None
    }


def prompt_of(prompts: PromptOptions) -> tuple[str | None, str]:
    """The template, and where it stands. Raises InputRefused."""
    from worker.documents.encodings import read_text, read_text_argument

    if prompts.template is not None:
        return read_text(prompts.template), str(prompts.template)
    if prompts.prompt is None:
        return None, "--prompt"
    is_file = prompts.prompt.startswith("@") and not prompts.prompt.startswith("@@")
    return read_text_argument(prompts.prompt), prompts.prompt[1:] if is_file else "--prompt"


def _outputs(
    settings: "Settings", file: Path | None, options: SubmissionOptions, *, force: bool
) -> "Outputs":
    from worker.cli.outputs import outputs_of

    format_, prompts = options.rows.models.format_, options.rows.prompts
    return outputs_of(
        settings,
        force=force,
        documents=options.documents.documents,
        file=file,
        template=prompts.template,
        prompt=prompts.prompt,
        system=prompts.system,
        format=None if format_ is None or format_ == "json" else f"@{format_.removeprefix('@')}",
        combine=options.documents.rules.combine,
        webhook_key=options.notices.webhook_key,
    )


def notices_of(settings: "Settings", options: NoticeOptions) -> "tuple[NoticeTarget, ...]":
    """Who is notified when the batch is over. Raises SettingsRefused for one who could never be."""
    if options.webhook_key is not None and not re.match(r"(env|file):.", options.webhook_key):
        raise typer.BadParameter("expected env:NAME or file:PATH", param_hint="--webhook-key")
    from api_schemas.submissions import NoticeTarget

    command = options.notify_command
    targets = [
        *(("mail", address, None) for address in options.mail_to or ()),
        *(("webhook", url, options.webhook_key) for url in options.webhook or ()),
        *((("command", command, None),) if command else ()),
    ]
    if not targets:
        return ()
    from worker.door.submit import addressee_of
    from worker.reports.notices import check_addressee

    notices = tuple(
        NoticeTarget(
            channel=channel,
            target=target,
            when="always" if options.notify == "always" else "failure",
            secret=secret,
        )
        for channel, target, secret in targets
    )
    for notice in notices:
        check_addressee(addressee_of(notice), settings.means)
    return notices


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
            moment = _in_zone(naive, zone)
            if moment <= now:
                moment = _in_zone(naive + timedelta(days=1), zone)
        else:
            moment = datetime.fromisoformat(text.strip())
            if moment.tzinfo is None:
                moment = _in_zone(moment, zone)
        moment = moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        message = (
            f"--by {text[:40]}: expected a time such as 08:00, 2026-12-01T08:00 or 2026-12-01T08:00+01:00"
        )
        raise refused("--by", "invalid_value", message) from error
    if moment <= now:
        message = f"--by {text[:40]}: that time has passed"
        raise refused("--by", "out_of_range", message)
    return moment


def _in_zone(naive: datetime, zone: tzinfo | None) -> datetime:
    return naive.astimezone() if zone is None else naive.replace(tzinfo=zone)


def character(text: str | None, option: str) -> str | None:
    """What separates cells: one character, or ``tab``. Raises InputRefused.

    >>> character("tab", "--delimiter") == character("\\\\t", "--delimiter") == "\\t"
    True
    """
    if text is None:
        return None
    separator = "\t" if text.lower() in ("tab", "\\t") else text
    if len(separator) != 1 or separator in '\r\n"\0\ufeff':
        raise refused(
            option, "invalid_value", f"{option} {text!r}: expected one character, such as ';', or tab"
        )
    return separator


def options_of(pairs: list[str]) -> dict[str, Any]:
    """``num_ctx=8192`` → ``{"num_ctx": 8192}``; whether there is such an option is checked with the defaults."""
    options: dict[str, Any] = {}
    for pair in pairs:
        name, sign, value = pair.partition("=")
        if not sign or not name.strip():
            raise refused("--set", "invalid_value", f"--set {pair}: expected NAME=VALUE, e.g. num_ctx=8192")
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
        raise refused(
            "--format", "unreadable", f"--format {text}: expected json or the file of a JSON Schema"
        )
    try:
        schema: dict[str, Any] = load_json(read_text(path))
    except NotJson as error:
        raise refused("--format", error.code, f"{path}: {error}") from error
    problem = format_problem(schema)
    if problem is not None:
        raise refused("--format", "invalid_value", f"{path}: {problem}")
    return schema


def refused(field: str, code: str, message: str) -> InputRefused:
    """An option that cannot be taken."""
    return InputRefused([Problem(0, field, code, message)])

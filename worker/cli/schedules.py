"""``caravan schedule``: the same question put to a folder of documents, every night."""

import json
import sys
import time
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from worker.cli.documents import DocumentRules
from worker.cli.groups import values_of, with_groups
from worker.cli.hours import WHEN, HoursOptions, zone_name
from worker.cli.options import ASKED, INPUT, LimitOptions, ModelOptions, NoticeOptions, PromptOptions
from worker.cli.streams import print_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.domain.hosts import Host
    from worker.domain.schedules import Firing, Schedule, ScheduleSpec
    from worker.ollama.client import OllamaHost
    from worker.schedules.keep import Put
    from worker.storage.engine import Database

ANSWERS = "Answers"

ScheduleName = Annotated[str, typer.Argument(metavar="NAME", help="As in caravan schedule list.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Replace = Annotated[bool, typer.Option("--replace", help="Overwrite an existing schedule of this name.")]


@dataclass(frozen=True, slots=True)
class FiringOptions:
    """When a schedule fires."""

    cron: Annotated[
        str,
        typer.Option(
            "--cron", help="Minute hour day month weekday, by the clock of --tz.", rich_help_panel=WHEN
        ),
    ]
    misfire: Annotated[
        Literal["run", "skip"],
        typer.Option(
            "--misfire",
            help="What to do about a run that was missed because nothing was serving.",
            rich_help_panel=WHEN,
        ),
    ] = "run"
    overlap: Annotated[
        Literal["refuse", "queue", "allow"],
        typer.Option("--overlap", help="What to do when the last run has not ended.", rich_help_panel=WHEN),
    ] = "refuse"


@dataclass(frozen=True, slots=True)
class NightOptions:
    """Which documents are asked, and which of them again."""

    documents: Annotated[
        list[str],
        typer.Option("--documents", metavar="PATTERN", help="Which, e.g. 'inbox/**/*.pdf'; repeat."),
    ]
    encoding: Annotated[
        str | None,
        typer.Option("--encoding", help="Encoding of text files. Default: detected: UTF-8, GB18030, UTF-16."),
    ] = None
    id: Annotated[
        str | None,
        typer.Option(
            "--id", metavar="COLUMN", help="Column that identifies a row of a table; default: its content."
        ),
    ] = None
    min_age: Annotated[
        str | None,
        typer.Option(
            "--min-age",
            metavar="TIME",
            help="Leave files that were changed within it to the next firing, e.g. 5m; default: 1m, by hand 0.",
        ),
    ] = None
    on_model_change: Annotated[
        Literal["keep", "rerun"],
        typer.Option(
            "--on-model-change",
            help="What to do with answers of weights that no host has any more.",
            rich_help_panel=ASKED,
        ),
    ] = "keep"
    ask_cut_again: Annotated[
        bool,
        typer.Option(
            "--ask-cut-again",
            help="Ask again where an answer was cut, is empty, or saw part of the prompt.",
            rich_help_panel=ASKED,
        ),
    ] = False


@dataclass(frozen=True, slots=True)
class AnswerFileOptions:
    """Where answers are written."""

    output: Annotated[
        str | None,
        typer.Option("-o", "--output", metavar="DIR", help="Write answers there.", rich_help_panel=ANSWERS),
    ] = None
    beside: Annotated[
        bool, typer.Option("--beside", help="Write answers beside their documents.", rich_help_panel=ANSWERS)
    ] = False
    form: Annotated[
        Literal["md", "json"],
        typer.Option("--form", help="File format of the answers.", rich_help_panel=ANSWERS),
    ] = "md"


schedules = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    help="Ask documents every night: only what is new or changed.",
)


@dataclass(frozen=True, slots=True)
class PutOptions:
    """What is done with the schedule."""

    replace: Replace = False
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
    json_: AsJson = False


@schedules.command("add")
@with_groups
def schedule_add(
    name: Annotated[str, typer.Argument(help="What to call it: letters, digits, . _ and -.")],
    firing: FiringOptions,
    night: NightOptions,
    rules: DocumentRules,
    prompts: PromptOptions,
    models: ModelOptions,
    limits: LimitOptions,
    hours: HoursOptions,
    files: AnswerFileOptions,
    notices: NoticeOptions,
    action: PutOptions,
) -> None:
    """Put a question to a folder of documents at its times, and print the next one. Relative paths are those of here.

    Example: caravan schedule add nightly --cron '0 2 * * *' --documents 'inbox/**' --template summary.j2 --model qwen3:8b
    """
    from worker.cli.settings import opened, settings_for
    from worker.cli.submissions import notices_of, options_of
    from worker.schedules.keep import put
    from worker.schedules.spec import check_name, spec_of
    from worker.serving.brake import parse_max_failures

    settings = settings_for()
    if limits.max_failures is not None:
        parse_max_failures(limits.max_failures)
    notices_of(settings, notices)
    text, source = _prompt(prompts.prompt, prompts.template)
    said = {
        **values_of(firing),
        **values_of(night),
        **values_of(limits),
        **values_of(files),
        "tz": zone_name(hours),
        "roots": [str(root) for root in rules.root or ()],
        "exclude": rules.exclude or [],
        "template": source,
        "prompt": text,
        "system": prompts.system,
        "models": models.model or [],
        "options": options_of(models.set_ or []),
        "long": rules.long,
        "combine": None if rules.combine is None else str(rules.combine),
        "pages_as_images": rules.pages_as_images,
        "scans": rules.scans,
        "extract": rules.extract,
        "rows": rules.rows,
        "think": models.think,
        "format": models.format_,
        "allow_empty": models.allow_empty,
        "priority": models.priority,
        "window": hours.window or [],
        "blackout": hours.blackout or [],
        "notify": notices.notify,
        "mail_to": notices.mail_to or [],
        "webhook": notices.webhook or [],
        "webhook_key": notices.webhook_key,
        "command": notices.notify_command,
    }
    spec = spec_of(said, base=Path.cwd())
    check_name(name)
    if action.show is not None:
        _show_prompts(spec, action.show)
        return
    with opened(settings) as database:
        warnings = _checked(database, spec, fleet=bool(settings.broker_url), tick=settings.chores_seconds)
        found, schedule, changed = put(database, name, spec, replace=action.replace, clock=database.clock())
        now = database.clock().now()
    _tell_put(found, schedule, changed, warnings, now=now, as_json=action.json_)


@schedules.command("apply")
def schedule_apply(
    file: Annotated[Path, typer.Argument(metavar="FILE.yaml", help="One or several schedules.")],
    prune: Annotated[
        bool, typer.Option("--prune", help="Remove those that this file named once and names no more.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change.")] = False,
    yes: Yes = False,
    json_: AsJson = False,
) -> None:
    """Make the schedules of FILE those of the database, after showing what changes. Paths are relative to FILE.

    Example: caravan schedule apply schedules.yaml --dry-run
    """
    from worker.cli.schedule_files import read_schedules
    from worker.cli.settings import opened, settings_for
    from worker.schedules.keep import Put, put, would_put
    from worker.storage.schedules import list_schedules, remove_schedule

    settings = settings_for()
    wanted = read_schedules(file)
    with opened(settings) as database:
        plan: list[dict[str, Any]] = []
        warnings: list[str] = []
        for name, spec in wanted.items():
            found, changed = would_put(database, name, spec)
            change = {Put.DIFFERS: "change", Put.ADDED: "add"}.get(found, "unchanged")
            plan.append({"name": name, "change": change, "differences": changed})
            if found is not Put.UNCHANGED:
                of = _checked(database, spec, fleet=bool(settings.broker_url), tick=settings.chores_seconds)
                warnings += [f"{name}: {one}" for one in of]
        with database.read() as conn:
            applied = [one for one in list_schedules(conn) if one.spec.file == str(file.resolve())]
        dropped = [one.name for one in applied if one.name not in wanted]
        if prune:
            plan += [{"name": name, "change": "remove", "differences": []} for name in dropped]
        _tell_plan(plan, warnings, [] if prune else dropped, to_stderr=json_)
        todo = [one for one in plan if one["change"] != "unchanged"]
        if todo and not dry_run:
            _sure(f"Apply {len(todo):,} of these?", yes=yes)
            clock = database.clock()
            for one in todo:
                if one["change"] == "remove":
                    database.transact(partial(remove_schedule, name=one["name"]))
                else:
                    put(database, one["name"], wanted[one["name"]], replace=True, clock=clock)
        with database.read() as conn:
            kept = {one.name: one for one in list_schedules(conn)}
        now = database.clock().now()
    if json_:
        typer.echo(json.dumps({"file": str(file), "applied": not dry_run, "schedules": plan}))
    elif not dry_run:
        for name in wanted:
            typer.echo(f"{name}: {_when(kept[name], now=now)}")


@schedules.command("list")
def schedule_list(json_: AsJson = False) -> None:
    """List schedules: when each fires next, and what came of its last firing.

    Example: caravan schedule list
    """
    from worker.cli.plain import lines
    from worker.cli.settings import opened, settings_for
    from worker.schedules.report import report_of
    from worker.storage.schedules import list_firings, list_schedules

    with opened(settings_for()) as database:
        now = database.clock().now()
        with database.read() as conn:
            found = [
                (one, next(iter(list_firings(conn, one.id, limit=1)), None)) for one in list_schedules(conn)
            ]
        reports = {
            one.name: report_of(database, firing, now=now) for one, firing in found if firing is not None
        }
    if json_:
        from worker.exports.shown import schedule_shown

        print_json([{**dict(schedule_shown(one)), "last": reports.get(one.name)} for one, _ in found])
        return
    if not found:
        typer.echo("no schedules yet: caravan schedule add NAME, or caravan schedule apply FILE.yaml")
        return
    rows = [
        [
            one.name,
            "paused" if one.paused_at else _local(one.next_at, one.spec.tz),
            one.spec.cron,
            one.spec.tz,
            _last(firing, reports.get(one.name)),
        ]
        for one, firing in found
    ]
    for line in lines(("name", "next firing", "cron", "zone", "last firing"), rows):
        typer.echo(line)


@schedules.command("show")
def schedule_show(name: ScheduleName, json_: AsJson = False) -> None:
    """Show a schedule: what was said, its roots, its next three firings, and the report of the last one.

    Example: caravan schedule show nightly
    """
    from worker.cli.settings import opened, settings_for
    from worker.schedules.keep import next_times
    from worker.schedules.letter import letter
    from worker.schedules.report import report_of
    from worker.schedules.roots import unreadable
    from worker.storage.schedules import get_schedule, list_firings

    with opened(settings_for()) as database:
        now = database.clock().now()
        with database.read() as conn:
            schedule = get_schedule(conn, name)
            last = next(iter(list_firings(conn, schedule.id, limit=1)), None)
        report = None if last is None else report_of(database, last, now=now)
    times = next_times(schedule, 3, now=now)
    closed = unreadable(schedule.spec.roots)
    if json_:
        from worker.exports.shown import schedule_shown

        shown = {
            **dict(schedule_shown(schedule)),
            "next": times,
            "unreadable_roots": list(closed),
            "last": report,
        }
        print_json(shown)
        return
    typer.echo(f"{name}, said {schedule.version} times" if schedule.version > 1 else name)
    for field, value in schedule.spec.plain.items():
        several = isinstance(value, list)
        told = ", ".join(map(str, value)) if several else value
        typer.echo(f"  {field}: {told if isinstance(told, str) else json.dumps(told, ensure_ascii=False)}")
    for one in closed:
        typer.echo(f"  the root {one} cannot be read from here")
    if schedule.paused_at is not None:
        typer.echo(f"paused: {schedule.paused_reason or 'caravan schedule resume lets it fire again'}")
    for at in times:
        typer.echo(f"fires {_local(at, schedule.spec.tz)} {schedule.spec.tz}, {_in(at, now)}")
    if last is not None and report is not None:
        typer.echo(f"last firing {_local(last.fire_at, schedule.spec.tz)}, {last.state}:")
        typer.echo(letter(report))


@schedules.command("pause")
def schedule_pause(
    name: ScheduleName,
    reason: Annotated[str | None, typer.Option("--reason", help="Shown where it is listed.")] = None,
) -> None:
    """Let a schedule fire no more until it is resumed. What it has begun goes on.

    Example: caravan schedule pause nightly --reason 'the GPU is away'
    """
    from worker.cli.settings import opened, settings_for
    from worker.schedules.keep import pause

    with opened(settings_for()) as database:
        paused = pause(database, name, reason=reason, clock=database.clock())
    typer.echo(f"{name} is paused" if paused else f"{name} was paused already")


@schedules.command("resume")
def schedule_resume(name: ScheduleName) -> None:
    """Let a paused schedule fire again at its next time; what it missed stays missed.

    Example: caravan schedule resume nightly
    """
    from worker.cli.settings import opened, settings_for
    from worker.schedules.keep import resume

    with opened(settings_for()) as database:
        resumed, schedule = resume(database, name, clock=database.clock())
        now = database.clock().now()
    typer.echo(f"{name}: {_when(schedule, now=now)}" if resumed else f"{name} was not paused")


@schedules.command("remove")
def schedule_remove(name: ScheduleName, yes: Yes = False) -> None:
    """Forget a schedule, its history, and which documents it has seen. Its batches and their answers stay.

    Example: caravan schedule remove nightly
    """
    from worker.cli.settings import opened, settings_for
    from worker.storage.schedules import get_schedule, open_firings, remove_schedule

    with opened(settings_for()) as database:
        with database.read() as conn:
            schedule = get_schedule(conn, name)
            batches = [one.batch_id for one in open_firings(conn, schedule.id) if one.batch_id is not None]
        _sure(f"Forget {name} and what it has seen?", yes=yes)
        database.transact(lambda conn: remove_schedule(conn, name))
    typer.echo(f"{name} is forgotten")
    for batch in batches:
        typer.echo(f"its batch {batch} goes on; caravan cancel {batch} ends it")


@schedules.command("history")
def schedule_history(
    name: ScheduleName,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="At most so many; default: 20, and all with --json.")
    ] = None,
    json_: AsJson = False,
) -> None:
    """Show the firings of a schedule, the newest first, one line each: when, and what came of it.

    Example: caravan schedule history nightly --limit 7
    """
    from worker.cli.settings import opened, settings_for
    from worker.schedules.report import report_of
    from worker.storage.schedules import get_schedule, list_firings

    with opened(settings_for()) as database:
        with database.read() as conn:
            schedule = get_schedule(conn, name)
            firings = list_firings(conn, schedule.id, limit=limit or (2**31 if json_ else 20))
        now = database.clock().now()
        reports = [report_of(database, firing, now=now) for firing in firings]
    if json_:
        print_json(reports)
        return
    if not firings:
        typer.echo(f"{name} has not fired yet")
    for firing, report in zip(firings, reports, strict=True):
        by = " by hand" if firing.by_hand else ""
        batch = "" if firing.batch_id is None else f" (batch {firing.batch_id})"
        typer.echo(
            f"{_local(firing.fire_at, schedule.spec.tz)}{by}  {_last(firing, report, brief=True)}{batch}"
        )


@schedules.command("files")
def schedule_files(name: ScheduleName, json_: AsJson = False) -> None:
    """Bring the files of answers in step with the database: write what is missing or differs. Nothing is asked.

    Each firing does so by itself, and so does whatever serves after a retry.

    Example: caravan schedule files nightly
    """
    from worker.cli.exits import FAILED_OR_HELD
    from worker.cli.settings import opened, settings_for
    from worker.errors import Conflict
    from worker.schedules.answers import write_answers
    from worker.schedules.late import take_late_answers
    from worker.storage.schedules import get_schedule

    with opened(settings_for()) as database:
        with database.read() as conn:
            schedule = get_schedule(conn, name)
        if schedule.spec.output is None and not schedule.spec.beside:
            raise Conflict(f"schedule {name} writes no files: give it --output DIR or --beside")
        take_late_answers(database, schedule)
        written = write_answers(database, schedule)
    if json_:
        typer.echo(
            json.dumps(
                {
                    "written": written.files,
                    "unchanged": written.unchanged,
                    "removed": written.removed,
                    "problems": written.problems,
                }
            )
        )
    else:
        removed = f", {written.removed:,} of earlier names removed" if written.removed else ""
        typer.echo(f"{name}: {written.files:,} written, {written.unchanged:,} as they were{removed}")
        for problem in written.problems:
            typer.echo(f"  not written: {problem}", err=True)
    if written.problems:
        raise typer.Exit(FAILED_OR_HELD)


@schedules.command("run")
def schedule_run(
    name: ScheduleName,
    wait: Annotated[
        bool,
        typer.Option("--wait", help="Stay until it has ended: where others serve, or its window is closed."),
    ] = False,
    host: Annotated[
        list[str] | None,
        typer.Option(
            "--host", metavar="URL|NAME", help="Serve with these only; repeat. Default: those added."
        ),
    ] = None,
    json_: AsJson = False,
) -> None:
    """Fire a schedule now: its documents are read, and what is new or changed is asked. Serves by itself when nothing does.

    Exit code: 0; 3 where something failed or is left; 4 where no host can serve.

    Example: caravan schedule run nightly --wait
    """
    from worker.cli.schedule_run import run_now
    from worker.cli.settings import settings_for

    raise typer.Exit(run_now(settings_for(), name, wait=wait, as_json=json_, urls=host))


def next_firings(found: "Sequence[Schedule]") -> str:
    """Each with its next firing, in one line."""
    told = [
        f"{one.name} {_local(one.next_at, one.spec.tz) if one.paused_at is None else 'paused'}"
        for one in found
    ]
    more = f", and {len(told) - 5:,} more" if len(told) > 5 else ""
    return f"{', '.join(told[:5])}{more}"


def _prompt(prompt: str | None, template: Path | None) -> tuple[str | None, str | None]:
    """The text, or the file that each firing reads anew."""
    if prompt is None or not prompt.startswith("@"):
        return prompt, None if template is None else str(template)
    if prompt.startswith("@@"):
        return prompt[1:], None if template is None else str(template)
    if template is not None:
        raise typer.BadParameter("and --template both say what is asked; give one", param_hint="--prompt")
    return None, prompt[1:]


def _show_prompts(spec: "ScheduleSpec", count: int) -> None:
    from worker.cli.take_in import show_prompt
    from worker.schedules.keep import prompts

    for name, system, prompt in prompts(spec, count):
        show_prompt(name, system, prompt)


def _checked(database: "Database", spec: "ScheduleSpec", *, fleet: bool, tick: float) -> list[str]:
    """What is doubtful about a schedule. Raises InputRefused for what cannot work: a model that no host has, documents
    that cannot be read, a template that fails, a folder that cannot be written."""
    from worker.errors import InputRefused
    from worker.schedules.check import check_hours, check_models, check_outputs, check_prompts
    from worker.schedules.keep import matches_shown, matching
    from worker.schedules.spec import check_roots

    warnings = check_models(database, spec, open_host=_open_host)
    warnings += check_hours(spec, now=database.clock().now())
    if fleet:
        warnings += _checked_by_control(database, spec, tick)
    else:
        check_roots(spec)
        check_outputs(spec)
    try:
        files, tables = matching(spec)
    except InputRefused:
        if not fleet:
            raise
        return [*warnings, "the documents are not on this machine, so it is not said how many match"]
    if not files:
        return [*warnings, f"nothing matches yet: {', '.join(spec.documents)}"]
    typer.echo(matches_shown(files, tables, len(spec.models), spec.roots), err=True)
    return [*warnings, *check_prompts(spec)]


def _open_host(host: "Host") -> "OllamaHost":
    from worker.cli.settings import settings_for
    from worker.ollama.client import OllamaHost

    return OllamaHost.of(host, deadlines=settings_for().deadlines)


def _checked_by_control(database: "Database", spec: "ScheduleSpec", tick: float) -> list[str]:
    """Control reads the documents and writes the answers: it is asked whether it can."""
    from worker.errors import InputRefused, Problem
    from worker.schedules.check import outputs_of, refuse_unwritable
    from worker.schedules.roots import answer_of_roots, ask_of_roots, forget_question

    system = (spec.system or "")[1:] if (spec.system or "").startswith("@") else None
    paths = [*spec.roots, *(one for one in (spec.template, spec.combine, system) if one)]
    clock = database.clock()
    key = ask_of_roots(database, paths, outputs=outputs_of(spec), clock=clock)
    until = clock.monotonic() + 2 * tick + 5
    try:
        while (answer := answer_of_roots(database, key)) is None:
            if clock.monotonic() > until:
                return ["nobody told whether control can read the documents: does caravan control run?"]
            time.sleep(0.2)  # noqa: TID251 - a person waits for it
    finally:
        forget_question(database, key)
    if answer.unreadable:
        told = f"control, on {answer.machine}, cannot read {', '.join(answer.unreadable)}"
        raise InputRefused([Problem(0, "--documents", "unreadable", told)])
    refuse_unwritable(answer.unwritable, who=f"control, on {answer.machine}: ")
    return []


def _tell_put(
    found: "Put",
    schedule: "Schedule",
    changed: list[str],
    warnings: list[str],
    *,
    now: datetime,
    as_json: bool,
) -> None:
    from worker.errors import Conflict
    from worker.schedules.keep import Put

    for line in changed:
        typer.echo(line, err=True)
    if found is Put.DIFFERS:
        raise Conflict(
            f"there is a schedule {schedule.name} already, and this is how it differs: give --replace"
        )
    for warning in warnings:
        typer.echo(f"warning: {warning}", err=True)
    if as_json:
        from worker.exports.shown import schedule_shown

        print_json({**dict(schedule_shown(schedule)), "change": str(found), "warnings": warnings})
        return
    typer.echo(f"{schedule.name} {found}; nothing outside of {', '.join(schedule.spec.roots)} is read")
    typer.echo(_when(schedule, now=now))


def _tell_plan(plan: list[dict[str, Any]], warnings: list[str], left: list[str], *, to_stderr: bool) -> None:
    for one in plan:
        typer.echo(f"{one['name']}: {one['change']}", err=to_stderr)
        for line in one["differences"]:
            typer.echo(f"  {line}", err=to_stderr)
    for name in left:
        typer.echo(f"{name}: the file names it no more; it stays without --prune", err=to_stderr)
    for warning in warnings:
        typer.echo(f"warning: {warning}", err=True)


def _sure(question: str, *, yes: bool) -> None:
    from worker.errors import Conflict

    if yes:
        return
    if not sys.stdin.isatty():
        raise Conflict(f"{question} Nobody can answer here: give --yes")
    if not typer.confirm(question, err=True):
        raise typer.Exit(1)


def _when(schedule: "Schedule", *, now: datetime) -> str:
    if schedule.paused_at is not None:
        return "it is paused: caravan schedule resume lets it fire"
    if schedule.next_at is None:
        return "it never fires: no such time comes"
    return f"fires next {_local(schedule.next_at, schedule.spec.tz)} {schedule.spec.tz}, {_in(schedule.next_at, now)}"


def _local(at: datetime | None, zone: str) -> str:
    from worker.policy.schedules import zone_of

    return "never" if at is None else f"{at.astimezone(zone_of(zone)):%a %Y-%m-%d %H:%M}"


def _in(at: datetime, now: datetime) -> str:
    from worker.cli.render import duration

    return "now" if at <= now else f"in {duration((at - now).total_seconds())}"


def _last(firing: "Firing | None", report: dict[str, Any] | None, *, brief: bool = False) -> str:
    """What came of a firing, in one line."""
    from worker.schedules.letter import headline

    if firing is None or report is None:
        return "–"
    told = headline(report).partition(": ")[2]
    if firing.reason is not None:
        told = firing.reason
    if firing.missed:
        told += f"; stands for {firing.missed:,} missed before it"
    state = "" if firing.state == "finished" else f"{firing.state}: "
    return f"{state}{told}" if brief else f"{firing.fire_at:%Y-%m-%d} {state}{told}"

"""``caravan schedule add`` and ``apply``."""

from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.cli.confirm import confirm
from worker.cli.documents import DocumentRules
from worker.cli.groups import values_of, with_groups
from worker.cli.hours import HoursOptions, zone_name
from worker.cli.json_output import AsJson, print_json
from worker.cli.options import LimitOptions, ModelOptions, NoticeOptions, PromptOptions
from worker.cli.schedules.check import check_schedule
from worker.cli.schedules.lines import next_firing
from worker.cli.schedules.options import (
    AnswerFileOptions,
    FiringOptions,
    NightOptions,
    PutOptions,
    Yes,
)
from worker.cli.streams import say
from worker.errors import Conflict

if TYPE_CHECKING:
    from worker.domain.schedules import Schedule, ScheduleSpec
    from worker.schedules.keep import Put


@with_groups
def schedule_add(
    name: Annotated[str, typer.Argument(help="Name: letters, digits, . _ and -.")],
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
    """Add a schedule that asks a folder of documents at set times. Paths are relative to this folder.

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
    text, source = _prompt_or_template(prompts.prompt, prompts.template)
    fields = {
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
    spec = spec_of(fields, base=Path.cwd())
    check_name(name)
    if action.show is not None:
        _show_prompts(spec, action.show)
        return
    with opened(settings) as database:
        warnings = check_schedule(
            database, spec, fleet=bool(settings.broker_url), tick=settings.chores_seconds
        )
        outcome, schedule, differences = put(
            database, name, spec, replace=action.replace, clock=database.clock()
        )
        now = database.clock().now()
    _print_schedule(outcome, schedule, differences, warnings, now=now, as_json=action.json_)


def schedule_apply(
    file: Annotated[Path, typer.Argument(metavar="FILE.yaml", help="One or several schedules.")],
    prune: Annotated[
        bool,
        typer.Option("--prune", help="Remove schedules that this file applied before and does not name now."),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change.")] = False,
    yes: Yes = False,
    json_: AsJson = False,
) -> None:
    """Add and change schedules as FILE says, after showing the changes. Paths are relative to FILE.

    Example: caravan schedule apply schedules.yaml --dry-run
    """
    from worker.cli.schedules.file import read_schedules
    from worker.cli.settings import opened, settings_for
    from worker.schedules.keep import Put, put, would_put
    from worker.storage.schedules import list_schedules, remove_schedule

    settings = settings_for()
    specs = read_schedules(file)
    with opened(settings) as database:
        plan: list[dict[str, Any]] = []
        warnings: list[str] = []
        for name, spec in specs.items():
            outcome, differences = would_put(database, name, spec)
            change = {Put.DIFFERS: "change", Put.ADDED: "add"}.get(outcome, "unchanged")
            plan.append({"name": name, "change": change, "differences": differences})
            if outcome is not Put.UNCHANGED:
                doubts = check_schedule(
                    database, spec, fleet=bool(settings.broker_url), tick=settings.chores_seconds
                )
                warnings += [f"{name}: {doubt}" for doubt in doubts]
        with database.read() as conn:
            stored = [
                schedule for schedule in list_schedules(conn) if schedule.spec.file == str(file.resolve())
            ]
        dropped = [schedule.name for schedule in stored if schedule.name not in specs]
        if prune:
            plan += [{"name": name, "change": "remove", "differences": []} for name in dropped]
        _print_plan(plan, warnings, [] if prune else dropped, to_stderr=json_)
        steps = [step for step in plan if step["change"] != "unchanged"]
        if steps and not dry_run:
            confirm(f"Apply {len(steps):,} of these?", yes=yes)
            clock = database.clock()
            for step in steps:
                if step["change"] == "remove":
                    database.transact(partial(remove_schedule, name=step["name"]))
                else:
                    put(database, step["name"], specs[step["name"]], replace=True, clock=clock)
        with database.read() as conn:
            stored_now = {schedule.name: schedule for schedule in list_schedules(conn)}
        now = database.clock().now()
    if json_:
        from api_schemas.output.schedules import SchedulesAppliedOutput, ScheduleStepOutput

        print_json(
            SchedulesAppliedOutput(
                file=str(file),
                applied=not dry_run,
                schedules=[ScheduleStepOutput(**step) for step in plan],
                left=[] if prune else dropped,
                warnings=warnings,
            )
        )
    elif not dry_run:
        for name in specs:
            typer.echo(f"{name}: {next_firing(stored_now[name], now=now)}")


def _prompt_or_template(prompt: str | None, template: Path | None) -> tuple[str | None, str | None]:
    """The text, or the file that each firing reads again."""
    if prompt is None or not prompt.startswith("@"):
        return prompt, None if template is None else str(template)
    if prompt.startswith("@@"):
        return prompt[1:], None if template is None else str(template)
    if template is not None:
        raise typer.BadParameter("and --template both set the prompt; give one", param_hint="--prompt")
    return None, prompt[1:]


def _show_prompts(spec: "ScheduleSpec", count: int) -> None:
    from worker.cli.prompts import show_prompt
    from worker.schedules.keep import prompts

    for name, system, prompt in prompts(spec, count):
        show_prompt(name, system, prompt)


def _print_schedule(
    outcome: "Put",
    schedule: "Schedule",
    differences: list[str],
    warnings: list[str],
    *,
    now: datetime,
    as_json: bool,
) -> None:
    from worker.schedules.keep import Put

    for line in differences:
        say(line)
    if outcome is Put.DIFFERS:
        raise Conflict(
            f"schedule {schedule.name} exists already with the differences above; --replace overwrites it"
        )
    for warning in warnings:
        say(f"warning: {warning}")
    if as_json:
        from api_schemas.output.schedules import ScheduleChangeOutput
        from worker.exports.output.schedules import schedule_output

        shown = dict(schedule_output(schedule))
        print_json(ScheduleChangeOutput(**shown, change=outcome.value, warnings=warnings))
        return
    typer.echo(f"{schedule.name} {outcome}; nothing outside of {', '.join(schedule.spec.roots)} is read")
    typer.echo(next_firing(schedule, now=now))


def _print_plan(plan: list[dict[str, Any]], warnings: list[str], left: list[str], *, to_stderr: bool) -> None:
    for step in plan:
        typer.echo(f"{step['name']}: {step['change']}", err=to_stderr)
        for line in step["differences"]:
            typer.echo(f"  {line}", err=to_stderr)
    for name in left:
        typer.echo(f"{name} is no longer in the file and stays; --prune removes it", err=to_stderr)
    for warning in warnings:
        say(f"warning: {warning}")

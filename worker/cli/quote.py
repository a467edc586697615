"""``caravan quote``: what an input takes, before it is submitted."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.options import (
    AllowEmpty,
    By,
    Encoding,
    Expire,
    File,
    Format,
    IdColumn,
    KeepAlive,
    Limit,
    Models,
    OnBadLine,
    Override,
    PriorityName,
    Prompt,
    Quoting,
    Repairs,
    Rows,
    Set,
    System,
    TemplateFile,
    Think,
    Wanted,
    submission_of,
)
from worker.cli.run import Hosts, Slots
from worker.cli.settings import opened, settings_for

if TYPE_CHECKING:
    from collections.abc import Mapping

    from api_schemas.submissions import Submission
    from worker.clock import Clock
    from worker.domain.batches import Batch
    from worker.door.intake import Intake
    from worker.quote.quote import Machines, Quoted
    from worker.settings import Settings
    from worker.storage.engine import Connection, Database
    from worker.storage.models import ModelTold


def quote(
    file: File,
    host: Hosts = None,
    model: Models = None,
    by: By = None,
    sample: Annotated[
        int | None,
        typer.Option(
            "--sample", min=1, metavar="N", help="Run N of the jobs first, to know how long they take."
        ),
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")] = False,
    slots: Slots = None,
    prompt: Prompt = None,
    template: TemplateFile = None,
    system: System = None,
    id_: IdColumn = None,
    encoding: Encoding = None,
    quote: Quoting = None,
    limit: Limit = None,
    on_bad_line: OnBadLine = None,
    set_: Set = None,
    think: Think = None,
    format_: Format = None,
    repairs: Repairs = None,
    allow_empty: AllowEmpty = False,
    keep_alive: KeepAlive = None,
    priority: PriorityName = None,
    override: Override = False,
    expire: Expire = False,
) -> None:
    """Say what FILE takes before it is submitted: jobs, loads, when each host and all of it is done, and how sure that is.

    What waits already at the same or a higher priority counts. Nothing is stored, unless --sample runs some of the jobs;
    `caravan run` goes on from those. Exit code 5 where --by will be missed.

    Example: caravan quote prompts.jsonl --model qwen3:8b --by 08:00
    """
    submission = submission_of(
        prompt=prompt,
        template=template,
        system=system,
        id_column=id_,
        encoding=encoding,
        quote=quote,
        models=model,
        limit=limit,
        sample=None,
        seed=0,
        set_=set_,
        think=think,
        format_=format_,
        repairs=repairs,
        allow_empty=allow_empty,
        keep_alive=keep_alive,
        priority=priority,
        override=override,
        by=by,
        expire=expire,
    )
    settings = settings_for()
    skip_bad = on_bad_line == "skip"
    if sample is not None:
        _run_sample(settings, file, submission, sample, skip_bad=skip_bad, urls=host, slots=slots)
    raise typer.Exit(
        quote_file(
            settings,
            file,
            submission,
            skip_bad=skip_bad,
            urls=host,
            slots=slots,
            as_json=json_,
            sampled=sample,
        )
    )


def quote_file(
    settings: "Settings",
    file: Path,
    submission: "Submission",
    *,
    skip_bad: bool,
    urls: list[str] | None = None,
    slots: int | None = None,
    as_json: bool = False,
    sampled: int | None = None,
) -> int:
    """Print what FILE takes under ``submission``. Returns the exit code. Raises InputRefused, NoHost."""
    from worker.cli import quoting
    from worker.door.inputs import keep_standard_input
    from worker.door.rows import open_input
    from worker.quote.quote import quote_input, tally
    from worker.storage.models import known_models

    path = file
    if str(file) == "-":
        path = keep_standard_input(sys.stdin.buffer, settings.home / "input", rows=not submission.is_plain)
    lines = open_input(path, submission)
    with opened(settings) as database:
        clock = database.clock()
        machines = _machines(settings, database, clock, urls, slots)
        with database.read() as conn:
            told = known_models(conn) | _told(machines)
        asked = tally(_intake(submission, told, skip_bad=skip_bad), lines, told)
        _check_models(asked.models, machines)
        with database.read() as conn:
            before = _batch_of(conn, path, submission)
            done = {} if before is None else _done(conn, before.id)
        found = quote_input(
            database,
            asked,
            clock=clock,
            machines=machines,
            less=done,
            besides=None if before is None else before.id,
        )
    deadline = submission.deadline
    if as_json:
        typer.echo(json.dumps(quoting.as_json(found, deadline, sampled=sampled or 0), ensure_ascii=False))
    else:
        if before is not None:
            finished = f"{sum(done.values()):,} of its jobs are done" if done else "none of it is done yet"
            typer.echo(f"batch {before.id} ({before.name}) asks this input already; {finished}", err=True)
        again = None if sampled else f"caravan quote {file} --sample 10"
        quoting.print_quote(found, deadline, sampling=again)
    return _code(found, submission)


def _code(found: "Quoted", submission: "Submission") -> int:
    from worker.cli.exits import TOO_LATE

    deadline = submission.deadline
    return TOO_LATE if deadline is not None and not found.meets(deadline) else 0


def _run_sample(
    settings: "Settings",
    file: Path,
    submission: "Submission",
    sample: int,
    *,
    skip_bad: bool,
    urls: list[str] | None,
    slots: int | None,
) -> None:
    from worker.cli.run import run_batch
    from worker.errors import SettingsRefused

    if settings.broker_url:
        raise SettingsRefused(
            f"--sample: a fleet serves here, so nothing runs in this process; caravan submit {file} --sample {sample} "
            "runs them there, then ask for the quote without --sample"
        )
    if str(file) == "-":
        raise SettingsRefused("--sample: standard input can be read only once; give a file")
    pilot = submission.model_copy(
        update={
            "sample": sample,
            "on_bad_line": "skip" if skip_bad else None,
            "max_attempts": settings.max_attempts,
        }
    )
    code = run_batch(settings, Rows(file), pilot, Wanted(quiet=True), urls=urls, slots=slots)
    if code not in (0, 3):
        raise typer.Exit(code)


def _machines(
    settings: "Settings", database: "Database", clock: "Clock", urls: list[str] | None, slots: int | None
) -> "Machines":
    """A fleet's hosts as they were last looked at; else each is looked at now."""
    from worker.cli.render import error_console
    from worker.cli.run import say_unreachable, wanted_hosts
    from worker.errors import NoHost
    from worker.hosts.registry import look_at
    from worker.ollama.client import OllamaHost
    from worker.quote.quote import machines_of, machines_seen

    if settings.broker_url and not urls:
        if slots is not None:
            raise typer.BadParameter(
                "a fleet serves here, with the slots its hosts have: caravan hosts set NAME --slots N",
                param_hint="--slots",
            )
        with database.read() as conn:
            machines = machines_of(conn, clock.now())
        if not machines.reports:
            raise NoHost("no host takes work: caravan hosts list says why")
        return machines
    seen = [
        look_at(host, open_host=lambda one: OllamaHost.of(one, deadlines=settings.deadlines))
        for host in wanted_hosts(database, urls, slots)
    ]
    say_unreachable(error_console(), seen)
    if all(look.error is not None for look in seen):
        places = "; ".join(f"{look.host.url}: {look.error}" for look in seen)
        raise NoHost(f"no host can be reached ({places}). Is Ollama running there?")
    with database.read() as conn:
        return machines_seen(conn, seen, clock.now())


def _told(machines: "Machines") -> "dict[str, ModelTold]":
    from worker.storage.models import ModelTold

    return {
        model.name: ModelTold(model.thinking, model.trained_context)
        for models in machines.models.values()
        for model in (models or {}).values()
    }


def _intake(submission: "Submission", told: "dict[str, ModelTold]", *, skip_bad: bool) -> "Intake":
    from worker.door.intake import intake_of

    bad = "skip" if skip_bad else None
    return intake_of(submission.model_copy(update={"on_bad_line": bad, "max_attempts": 1}), None, told)


def _check_models(wanted: "Mapping[str, int]", machines: "Machines") -> None:
    from worker.errors import InputRefused
    from worker.hosts.registry import missing_models

    have: set[str] = set()
    for models in machines.models.values():
        if models is None:
            return  # nobody has looked at that one: it may have anything
        have |= set(models)
    problems = missing_models(wanted, have)
    if problems:
        raise InputRefused(problems)


def _batch_of(conn: "Connection", path: Path, submission: "Submission") -> "Batch | None":
    """The batch that asks this very input already, a pilot of it perhaps."""
    from worker.domain.batches import BatchState
    from worker.door.rows import content_key
    from worker.storage.batches import batch_of_key

    found = batch_of_key(conn, content_key(path, submission))
    if found is None or found.state in (BatchState.REFUSED, BatchState.CANCELLED):
        return None
    return found


def _done(conn: "Connection", batch_id: int) -> dict[str, int]:
    """Runner key → jobs that have ended."""
    from worker.domain.jobs import FINAL
    from worker.storage.reports import jobs_by_runner_key

    return {
        key: n
        for key, states in jobs_by_runner_key(conn, batch_id).items()
        if (n := sum(jobs for state, jobs in states.items() if state in FINAL))
    }

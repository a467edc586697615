"""``caravan quote``: what an input takes, before it is submitted."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli import quoting
from worker.cli.groups import with_groups
from worker.cli.hosts_at_hand import say_unreachable
from worker.cli.json_output import AsJson, print_json
from worker.cli.options import AnyFile, Key, SubmissionOptions
from worker.cli.outputs import Force
from worker.cli.run import HostOptions, OutputOptions, WaitHosts, run_batch
from worker.cli.settings import opened, settings_for
from worker.cli.streams import say
from worker.domain.batches import BatchState
from worker.domain.jobs import FINAL
from worker.errors import InputRefused, NoHost, SettingsRefused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from api_schemas.submissions import Submission
    from worker.cli.submissions import Entry
    from worker.clock import Clock
    from worker.domain.batches import Batch
    from worker.quote.quote import Machines, Quoted
    from worker.settings import Settings
    from worker.storage.engine import Connection, Database
    from worker.storage.models import ModelFacts


@with_groups
def quote(
    options: SubmissionOptions,
    hosts: HostOptions,
    outputs: OutputOptions,
    file: AnyFile = None,
    measure: Annotated[
        int | None,
        typer.Option(
            "--measure", min=1, metavar="N", help="Run N of the jobs first, to know how long they take."
        ),
    ] = None,
    wait_hosts: WaitHosts = 120.0,
    key: Key = None,
    json_: AsJson = False,
    force: Force = False,
) -> None:
    """Estimate what FILE takes: jobs, loads and time.

    Says when each host and all of it is done, and how sure that is. Jobs that wait already at the same or a higher
    priority are included. Nothing is stored, unless --measure runs some of the jobs; `caravan run` goes on from those.
    Takes the options of `caravan run`. Exit code 5 where --by will be missed.

    Example: caravan quote prompts.jsonl --model qwen3:8b --by 08:00
    """
    from worker.cli.submissions import entry_of
    from worker.door.rows import RowFile

    settings = settings_for()
    if measure is not None and (settings.broker_url or str(file) == "-"):
        _refuse_measure(settings, file, measure)
    entry = entry_of(settings, file, options, output=outputs.output, force=force, key=key)
    if entry is None:
        return
    if not isinstance(entry.rows, RowFile):
        raise typer.BadParameter(
            "the estimate is for a FILE, documents or a query; rows of a batch are asked again as they were",
            param_hint="--from",
        )
    if measure is not None:
        _measure(settings, entry, measure, hosts, wait_hosts)
    raise typer.Exit(quote_rows(settings, entry, hosts, as_json=json_, measured=measure))


def quote_rows(
    settings: "Settings",
    entry: "Entry",
    hosts: HostOptions = HostOptions(),  # noqa: B008 - frozen
    *,
    as_json: bool = False,
    measured: int | None = None,
) -> int:
    """Print what rows take. Returns the exit code. Raises InputRefused, NoHost."""
    from worker.cli.hosts_at_hand import models_named
    from worker.cli.reading import ReadingProgress
    from worker.cli.render import error_console
    from worker.door.existing_batch import windows_of
    from worker.door.intake import Intake
    from worker.door.rows import RowFile
    from worker.quote.quote import quote_input, tally
    from worker.storage.models import model_facts

    rows, submission = entry.rows, entry.submission.model_copy(update={"max_attempts": 1})
    assert isinstance(rows, RowFile)
    lines = rows.open(submission)
    with opened(settings) as database:
        clock = database.clock()
        machines = _machines(settings, database, clock, hosts)
        with database.read() as conn:
            facts = model_facts(conn) | _models_of(machines)
        name = rows.name or rows.path.name
        with (
            models_named(submission, lambda: _models_at_hand(machines) or ()),
            ReadingProgress(error_console(), name, lambda: rows.reached[0]),
        ):
            counts = tally(Intake(submission, model_facts=facts), lines, facts)
        if not submission.pull_missing:
            _check_models(counts.models, machines)
        with database.read() as conn:
            before = None if submission.on_change == "new" else _batch_of(conn, rows.key(submission))
            done = {} if before is None else _done(conn, before.id)
        quoted = quote_input(
            database,
            counts,
            clock=clock,
            machines=machines,
            less=done,
            besides=None if before is None else before.id,
            hours=windows_of(submission),
        )
    deadline = submission.deadline
    if as_json:
        from worker.exports.output.quotes import quote_output

        print_json(quote_output(quoted, deadline, sampled=measured or 0))
    else:
        if before is not None:
            finished = f"{sum(done.values()):,} of its jobs are done" if done else "none of it is done yet"
            say(f"batch {before.id} ({before.name}) asks this input already; {finished}")
        again = None if measured else f"caravan quote {rows.source or rows.path} --measure 10"
        quoting.print_quote(quoted, deadline, sampling=again)
    return _code(quoted, submission)


def _code(quoted: "Quoted", submission: "Submission") -> int:
    from worker.cli.exits import TOO_LATE

    deadline = submission.deadline
    return TOO_LATE if deadline is not None and not quoted.meets(deadline) else 0


def _refuse_measure(settings: "Settings", file: Path | None, jobs: int) -> None:

    if settings.broker_url:
        raise SettingsRefused(
            f"--measure: a fleet serves here, so nothing runs in this process; caravan submit {file} --sample {jobs} "
            "runs them there, then ask for the quote without --measure"
        )
    raise SettingsRefused("--measure: standard input can be read only once; give a file")


def _measure(settings: "Settings", entry: "Entry", jobs: int, hosts: HostOptions, wait_hosts: float) -> None:
    from worker.cli.submissions import RunTerms

    pilot = replace(entry, submission=entry.submission.model_copy(update={"sample": jobs}))
    code = run_batch(
        settings, pilot, RunTerms(quiet=True, wait_hosts=wait_hosts), urls=hosts.host, slots=hosts.slots
    )
    if code not in (0, 3):
        raise typer.Exit(code)


def _machines(settings: "Settings", database: "Database", clock: "Clock", hosts: HostOptions) -> "Machines":
    """A fleet's hosts as they were last looked at; else each is looked at now."""
    from worker.cli.render import error_console
    from worker.hosts.registry import look_at_all
    from worker.hosts.selection import select_hosts
    from worker.ollama.client import OllamaHost
    from worker.quote.quote import machines_of, machines_of_looks

    if settings.broker_url and not hosts.host:
        if hosts.slots is not None:
            raise typer.BadParameter(
                "a fleet serves here, with the slots its hosts have: caravan hosts set NAME --slots N",
                param_hint="--slots",
            )
        with database.read() as conn:
            machines = machines_of(conn, clock.now())
        if not machines.reports:
            raise NoHost("no host takes work: caravan hosts list says why")
        return machines
    checks = look_at_all(
        select_hosts(database, hosts.host, hosts.slots),
        open_host=lambda host: OllamaHost.of(host, deadlines=settings.deadlines),
    )
    if all(look.error is not None for look in checks):
        places = "; ".join(f"{look.host.url}: {look.error}" for look in checks)
        raise NoHost(f"no host can be reached ({places}). Is Ollama running there?")
    say_unreachable(error_console(), checks)
    with database.read() as conn:
        return machines_of_looks(conn, checks, clock.now())


def _models_of(machines: "Machines") -> "dict[str, ModelFacts]":
    from worker.storage.models import ModelFacts

    return {
        model.name: ModelFacts(
            model.thinking,
            model.trained_context,
            None if model.capabilities is None else frozenset(model.capabilities),
        )
        for models in machines.models.values()
        for model in (models or {}).values()
    }


def _check_models(requested: "Mapping[str, int]", machines: "Machines") -> None:
    from worker.hosts.registry import missing_models

    have = _models_at_hand(machines)
    problems = [] if have is None else missing_models(requested, have)
    if problems:
        raise InputRefused(problems)


def _models_at_hand(machines: "Machines") -> set[str] | None:
    """None: nobody has looked at one of the hosts, which may have anything."""
    if None in machines.models.values():
        return None
    return {name for models in machines.models.values() for name in models or ()}


def _batch_of(conn: "Connection", key: str) -> "Batch | None":
    """The batch that asks this very input already, a pilot of it perhaps."""
    from worker.storage.batches import batch_of_key

    known = batch_of_key(conn, key)
    if known is None or known.state in (BatchState.REFUSED, BatchState.CANCELLED):
        return None
    return known


def _done(conn: "Connection", batch_id: int) -> dict[str, int]:
    """Runner key → jobs that have ended."""
    from worker.storage.reports import jobs_by_runner_key

    return {
        key: n
        for key, states in jobs_by_runner_key(conn, batch_id).items()
        if (n := sum(jobs for state, jobs in states.items() if state in FINAL))
    }

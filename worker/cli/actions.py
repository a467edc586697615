"""``caravan cancel``, ``pause``, ``resume``, ``retry``, ``edit``: second thoughts, with a count of the jobs."""

import getpass
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from worker.cli.answers import AnswerOptions
from worker.cli.confirm import confirm
from worker.cli.groups import option, with_groups
from worker.cli.hours import WHEN, HoursOptions, windows_of
from worker.cli.json_output import AsJson, print_json
from worker.cli.options import MODEL
from worker.cli.settings import common_options, opened, settings_for
from worker.cli.submissions import options_of
from worker.domain.batches import Batch, BatchState
from worker.domain.jobs import JobState, Priority
from worker.domain.numbers import count_of
from worker.domain.selection import Selection
from worker.records import record
from worker.storage.batches import get_batch

if TYPE_CHECKING:
    from worker.clock import Clock
    from worker.maintenance.actions import Changed
    from worker.policy.windows import Windows
    from worker.storage.engine import Database
from worker.cli.selection import (
    ActionRequest,
    Codes,
    ConfirmOptions,
    DryRun,
    Jobs,
    Matching,
    Models,
    States,
    Target,
    Where,
    WholeBatch,
    Yes,
    choose,
)
from worker.cli.streams import say

Command = Literal["cancel", "pause", "resume", "retry", "edit"]

MOMENT = 0.5
"""Seconds that a command works on the rows itself; the others follow in the background."""


@record
class Act:
    """A command over jobs. ``count`` says how many it is about, ``change`` does it."""

    command: Command
    count: "Callable[[Database, Selection], int]"
    change: "Callable[[Database, Selection, Clock], Changed]"
    done: str
    """What became of the jobs."""
    kind: str = ""
    """Which jobs of the batch, where that goes without saying."""
    phrase: str = ""
    """What it does, in words; empty: what its name says."""
    wakes: bool = True
    unchanged: str = ""
    """What is said where no job had to change."""
    asks: bool = True
    """A person is asked first. What is easily taken back is done at once."""
    over: Collection[JobState] = frozenset(JobState)
    """Jobs in other states are not looked through for words."""

    @property
    def name(self) -> str:
        """What it does, before the jobs."""
        return self.phrase or self.command


@with_groups
def cancel(
    answers: AnswerOptions,
    target: Target = None,
    job: Jobs = None,
    state: States = None,
    code: Codes = None,
    model: Models = None,
    where: Where = None,
    matching: Matching = None,
    *,
    confirm: ConfirmOptions,
) -> None:
    """Cancel the rest of a batch, or some jobs. Answers stay.

    Jobs that wait are cancelled at once, those that run within seconds. A whole batch is over with that; without
    some of its jobs it goes on.

    Example: caravan cancel @last --yes
    """
    from worker.maintenance import actions
    from worker.storage.actions import OPEN

    act = Act(
        "cancel",
        actions.count_cancellable,
        lambda database, chosen, clock: actions.cancel_jobs(
            database, chosen, clock=clock, principal=principal(), most_seconds=MOMENT
        ),
        done="cancelled",
        wakes=False,
        over=OPEN,
    )
    _do(act, confirm.about(target, job, state, code, model, where, matching, answers.filter))


@with_groups
def retry(
    answers: AnswerOptions,
    target: Target = None,
    job: Jobs = None,
    state: Annotated[
        list[JobState] | None,
        option(
            "--state",
            "failed (the default for a batch), cancelled, expired, held or succeeded; repeat for more.",
        ),
    ] = None,
    code: Codes = None,
    model: Models = None,
    where: Where = None,
    matching: Matching = None,
    set_: Annotated[
        list[str] | None,
        option(
            "--set",
            "Option of the model to ask with now, e.g. num_ctx=8192; repeat for more.",
            metavar="NAME=VALUE",
        ),
    ] = None,
    *,
    confirm: ConfirmOptions,
) -> None:
    """Ask jobs again: failed, held, cut, empty or unfit ones.

    Of a batch those that failed, unless options say which. The old answer stays until a new one is stored, and earlier
    attempts stay on record. Each job has all its attempts again. A batch that had ended is open again; one that paused
    by itself goes on, one that somebody paused waits for caravan resume. --set NAME=null takes an option away.

    Example: caravan retry @last --cut --set num_predict=4096
    """
    from worker.maintenance import actions
    from worker.storage.actions import RETRIED

    if state is not None and not set(state) <= RETRIED | {JobState.SUCCEEDED}:
        message = "only jobs that ended or are held can be asked again; the others wait or run already"
        raise typer.BadParameter(message, param_hint="--state")
    stored = answers.filter
    states = state or (None if job or stored else [JobState.FAILED])
    options = options_of(set_ or [])
    if options:
        actions.check_options(options)
    act = Act(
        "retry",
        actions.count_retriable,
        lambda database, chosen, clock: actions.retry_jobs(
            database, chosen, clock=clock, options=options, principal=principal(), most_seconds=MOMENT
        ),
        done="asked again",
        kind=" or ".join(states or ()),
        over=RETRIED | {JobState.SUCCEEDED} if stored or JobState.SUCCEEDED in (states or ()) else RETRIED,
    )
    about = confirm.about(target, job, states, code, model, where, matching, stored)
    _do(act, about, nothing=_answered_already if job and not states and not stored else None)


def _answered_already(database: "Database", chosen: Selection) -> str:
    """Why a job that was named is not asked again."""
    from worker.storage.actions import count_matching

    with database.read() as conn:
        answered = count_matching(conn, replace(chosen, states=frozenset({JobState.SUCCEEDED})))
    return "; a job that has its answer is asked again with --state succeeded" if answered else ""


@with_groups
def edit(
    hours: HoursOptions,
    target: Target = None,
    priority: Annotated[
        Literal["interactive", "high", "normal", "bulk"] | None,
        option("--priority", "Priority of the jobs.", MODEL),
    ] = None,
    job: Jobs = None,
    state: States = None,
    model: Models = None,
    where: Where = None,
    no_window: Annotated[bool, option("--no-window", "Its jobs may start at any time again.", WHEN)] = False,
    *,
    confirm: ConfirmOptions,
) -> None:
    """Change the priority or the hours of a batch.

    Example: caravan edit @last --priority high
    """
    from worker.maintenance import actions

    windows = windows_of(hours)
    if windows is not None or no_window:
        if target is None:
            raise typer.BadParameter("name the batch whose hours change", param_hint="BATCH")
        _set_hours(target, windows, confirm.about(target))
        return
    if priority is None:
        raise typer.BadParameter(
            "say what to change: --priority interactive, high, normal or bulk, --window or --no-window",
            param_hint="edit",
        )
    urgency = Priority[priority.upper()]
    act = Act(
        "edit",
        actions.count_cancellable,
        lambda database, chosen, clock: actions.prioritise_jobs(
            database, chosen, urgency, clock=clock, principal=principal(), most_seconds=MOMENT
        ),
        done=f"set to {priority} priority",
        kind="unfinished",
        phrase=f"set to {priority} priority:",
        asks=False,
    )
    _do(act, confirm.about(target, job, state, None, model, where))


def _set_hours(target: str, hours: "Windows | None", request: ActionRequest) -> None:
    from worker.maintenance.actions import Changed, count_cancellable
    from worker.maintenance.windows import set_windows

    def change(database: "Database", chosen: Selection, clock: "Clock") -> "Changed":
        assert chosen.batch_id is not None
        left = count_cancellable(database, chosen)
        set_windows(database, chosen.batch_id, hours, clock=clock)
        return Changed(left, batches=(chosen.batch_id,))

    start = f"start {'at any time' if hours is None else f'in {hours.text}'}"
    act = Act("edit", count_cancellable, change, start, kind="unfinished", phrase=f"{start}:", asks=False)
    _do(act, request)


def pause(batch: WholeBatch, yes: Yes = False, dry_run: DryRun = False, json_: AsJson = False) -> None:
    """Start no more jobs of a batch; those that run go on.

    Example: caravan pause @last
    """
    from worker.maintenance import actions

    def change(database: "Database", chosen: Selection, clock: "Clock") -> "Changed":
        assert chosen.batch_id is not None
        return actions.pause_batch(
            database, chosen.batch_id, clock=clock, principal=principal(), most_seconds=MOMENT
        )

    act = Act(
        "pause",
        actions.count_cancellable,
        change,
        done="paused",
        kind="unfinished",
        wakes=False,
        asks=False,
        unchanged="paused, and none of its jobs waits to start",
    )
    _do(act, ActionRequest(yes, dry_run, json_, batch))


def resume(batch: WholeBatch, yes: Yes = False, dry_run: DryRun = False, json_: AsJson = False) -> None:
    """Let a paused batch go on.

    Example: caravan resume @last
    """
    from worker.maintenance import actions

    def change(database: "Database", chosen: Selection, clock: "Clock") -> "Changed":
        assert chosen.batch_id is not None
        jobs = actions.count_cancellable(database, replace(chosen, states=frozenset({JobState.SCHEDULED})))
        resumed = actions.resume_batch(
            database, chosen.batch_id, clock=clock, principal=principal(), most_seconds=MOMENT
        )
        return replace(resumed, jobs=jobs - resumed.remaining, batches=(chosen.batch_id,))

    act = Act("resume", actions.count_cancellable, change, done="go on", kind="unfinished", asks=False)
    _do(act, ActionRequest(yes, dry_run, json_, batch))


def _do(
    act: Act, request: ActionRequest, nothing: "Callable[[Database, Selection], str] | None" = None
) -> None:
    """Ask, change and report. ``nothing`` says why no job is meant."""
    from worker.cli.wake import is_served, not_served, wake

    settings = settings_for()
    with opened(settings) as database:
        with database.read() as conn:
            chosen, batch = choose(conn, request)
        if request.matching is not None:
            from worker.search.search import jobs_matching

            over = chosen.among(act.over)
            chosen = next(
                iter(jobs_matching(database, [over], request.matching)), replace(over, job_ids=frozenset())
            )
        jobs = act.count(database, chosen)
        where = "" if batch is None else f"batch {batch.id} ({batch.name})"
        about = f"{_jobs(jobs, act.kind)} of {where}" if where else _jobs(jobs, act.kind)
        if jobs == 0 or request.dry_run:
            text = about if jobs == 0 else f"would {act.name} {about}"
            if jobs == 0 and nothing is not None:
                text += nothing(database, chosen)
            figures = {"jobs": jobs, "running": 0, "remaining": 0, "dry_run": request.dry_run}
            _tell(act, request, batch, figures, text)
            return
        confirm(
            f"{act.name.capitalize()} {about}?",
            yes=request.yes or not act.asks,
            instead="give --yes, or --dry-run to see the count",
        )
        clock = database.clock()
        changed = act.change(database, chosen, clock)
        if act.wakes:
            wake(settings, database, clock)
        with database.read() as conn:
            paused = [
                number for number in changed.batches if get_batch(conn, number).state is BatchState.PAUSED
            ]
        served = not act.wakes or is_served(settings, database, clock)
    text = f"{where}: " if where else ""
    nothing_left = act.unchanged and not (changed.jobs or changed.remaining)
    text += act.unchanged if nothing_left else f"{_jobs(changed.jobs)} {act.done}"
    if changed.running:
        text += f", {count_of(changed.running, 'running one')} told to stop"
    if changed.remaining:
        text += f"; {count_of(changed.remaining, 'more follows', 'more follow')} in the background"
        text += f" ({status_command(changed)}), while caravan up, run or control is at work"
    if act.wakes and paused:
        text += f"; batch {paused[0]} is paused: caravan resume {paused[0]}"
    figures = {
        "jobs": changed.jobs,
        "running": changed.running,
        "remaining": changed.remaining,
        "dry_run": False,
    }
    _tell(act, request, batch, figures, text)
    if not served and not paused and not common_options().quiet:
        say(f"{not_served(settings)}, or give the caravan run of the batch again")


def status_command(changed: "Changed") -> str:
    """The command that shows how far they have come."""
    return f"caravan status {changed.batches[0]}" if len(changed.batches) == 1 else "caravan status"


def principal() -> str | None:
    """Who gives the command, where the system knows."""
    with suppress(KeyError, OSError):
        return getpass.getuser()
    return None


def _jobs(n: int, kind: str = "") -> str:
    """``37 failed jobs``, ``1 job``."""
    return count_of(n, f"{kind} job".strip())


def _tell(act: Act, request: ActionRequest, batch: Batch | None, figures: dict[str, Any], text: str) -> None:
    if request.as_json:
        from api_schemas.output.batches import ActionOutput

        print_json(ActionOutput(action=act.command, batch=None if batch is None else batch.id, **figures))
    else:
        typer.echo(text)

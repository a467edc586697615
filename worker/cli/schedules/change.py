"""``caravan schedule pause``, ``resume``, ``remove`` and ``files``."""

from typing import Annotated

import typer

from worker.cli.confirm import confirm
from worker.cli.json_output import AsJson, print_json
from worker.cli.schedules.lines import next_firing
from worker.cli.schedules.options import ScheduleName, Yes
from worker.cli.streams import say
from worker.errors import Conflict


def schedule_pause(
    name: ScheduleName,
    reason: Annotated[str | None, typer.Option("--reason", help="Reason to show in lists.")] = None,
) -> None:
    """Pause a schedule. A firing that has begun goes on.

    Example: caravan schedule pause nightly --reason 'the GPU is away'
    """
    from worker.cli.settings import opened, settings_for
    from worker.schedules.keep import pause

    with opened(settings_for()) as database:
        paused = pause(database, name, reason=reason, clock=database.clock())
    typer.echo(f"{name} is paused" if paused else f"{name} was paused already")


def schedule_resume(name: ScheduleName) -> None:
    """Resume a paused schedule from its next time; missed firings are not made up for.

    Example: caravan schedule resume nightly
    """
    from worker.cli.settings import opened, settings_for
    from worker.schedules.keep import resume

    with opened(settings_for()) as database:
        resumed, schedule = resume(database, name, clock=database.clock())
        now = database.clock().now()
    typer.echo(f"{name}: {next_firing(schedule, now=now)}" if resumed else f"{name} was not paused")


def schedule_remove(name: ScheduleName, yes: Yes = False) -> None:
    """Remove a schedule and its history. Its batches and their answers stay.

    Example: caravan schedule remove nightly
    """
    from worker.cli.settings import opened, settings_for
    from worker.storage.firings import open_firings
    from worker.storage.schedules import get_schedule, remove_schedule

    with opened(settings_for()) as database:
        with database.read() as conn:
            schedule = get_schedule(conn, name)
            batches = [
                firing.batch_id for firing in open_firings(conn, schedule.id) if firing.batch_id is not None
            ]
        confirm(f"Forget {name} and what it has seen?", yes=yes)
        database.transact(lambda conn: remove_schedule(conn, name))
    typer.echo(f"{name} is forgotten")
    for batch in batches:
        typer.echo(f"its batch {batch} goes on; caravan cancel {batch} ends it")


def schedule_files(name: ScheduleName, json_: AsJson = False) -> None:
    """Write the answer files that are missing or differ from the database. No model is asked.

    Each firing does this by itself, and so does the serving process after a retry.

    Example: caravan schedule files nightly
    """
    from worker.cli.exits import FAILED_OR_HELD
    from worker.cli.settings import opened, settings_for
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
        from worker.exports.output.schedules import files_output

        print_json(files_output(written))
    else:
        removed = f", {written.removed:,} of earlier names removed" if written.removed else ""
        typer.echo(f"{name}: {written.files:,} written, {written.unchanged:,} unchanged{removed}")
        for problem in written.problems:
            say(f"  not written: {problem}")
    if written.problems:
        raise typer.Exit(FAILED_OR_HELD)

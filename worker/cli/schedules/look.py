"""``caravan schedule list``, ``show`` and ``history``."""

import json

import typer

from worker.cli.json_output import ALL, NEWEST, AsJson, Newest, print_json, say_more
from worker.cli.schedules.lines import firing_line, local_time, time_until
from worker.cli.schedules.options import ScheduleName


def schedule_list(json_: AsJson = False) -> None:
    """List schedules: when each fires next, and the result of its last firing.

    Example: caravan schedule list
    """
    from worker.cli.plain import lines
    from worker.cli.settings import opened, settings_for
    from worker.schedules.report import report_of
    from worker.storage.firings import list_firings
    from worker.storage.schedules import list_schedules

    with opened(settings_for()) as database:
        now = database.clock().now()
        with database.read() as conn:
            last_firings = [
                (schedule, next(iter(list_firings(conn, schedule.id, limit=1)), None))
                for schedule in list_schedules(conn)
            ]
        reports = {
            schedule.name: report_of(database, firing, now=now)
            for schedule, firing in last_firings
            if firing is not None
        }
    if json_:
        from worker.exports.output.schedules import schedule_line_output

        print_json(schedule_line_output(schedule, reports.get(schedule.name)) for schedule, _ in last_firings)
        return
    if not last_firings:
        typer.echo("no schedules yet: caravan schedule add NAME, or caravan schedule apply FILE.yaml")
        return
    rows = [
        [
            schedule.name,
            "paused" if schedule.paused_at else local_time(schedule.next_at, schedule.spec.tz),
            schedule.spec.cron,
            schedule.spec.tz,
            firing_line(firing, reports.get(schedule.name)),
        ]
        for schedule, firing in last_firings
    ]
    for line in lines(("name", "next firing", "cron", "zone", "last firing"), rows):
        typer.echo(line)


def schedule_show(name: ScheduleName, json_: AsJson = False) -> None:
    """Show a schedule: its settings, folders, next three firings, and last report.

    Example: caravan schedule show nightly
    """
    from worker.cli.settings import opened, settings_for
    from worker.schedules.keep import next_times
    from worker.schedules.letter import letter
    from worker.schedules.report import report_of
    from worker.schedules.roots import unreadable
    from worker.storage.firings import list_firings
    from worker.storage.schedules import get_schedule

    with opened(settings_for()) as database:
        now = database.clock().now()
        with database.read() as conn:
            schedule = get_schedule(conn, name)
            last = next(iter(list_firings(conn, schedule.id, limit=1)), None)
        report = None if last is None else report_of(database, last, now=now)
    times = next_times(schedule, 3, now=now)
    closed = unreadable(schedule.spec.roots)
    if json_:
        from api_schemas.output.schedules import ScheduleDetailsOutput
        from worker.exports.output.schedules import schedule_line_output

        shown = dict(schedule_line_output(schedule, report))
        print_json(ScheduleDetailsOutput(**shown, next=times, unreadable_roots=list(closed)))
        return
    typer.echo(f"{name}, said {schedule.version} times" if schedule.version > 1 else name)
    for field, value in schedule.spec.plain.items():
        text = ", ".join(map(str, value)) if isinstance(value, list) else value
        typer.echo(f"  {field}: {text if isinstance(text, str) else json.dumps(text, ensure_ascii=False)}")
    for root in closed:
        typer.echo(f"  the root {root} cannot be read from here")
    if schedule.paused_at is not None:
        typer.echo(f"paused: {schedule.paused_reason or 'caravan schedule resume lets it fire again'}")
    for at in times:
        typer.echo(f"fires {local_time(at, schedule.spec.tz)} {schedule.spec.tz}, {time_until(at, now)}")
    if last is not None and report is not None:
        typer.echo(f"last firing {local_time(last.fire_at, schedule.spec.tz)}, {last.state}:")
        typer.echo(letter(report))


def schedule_history(
    name: ScheduleName,
    limit: Newest = None,
    json_: AsJson = False,
) -> None:
    """List the firings of a schedule, newest first: time and result.

    Example: caravan schedule history nightly --limit 7
    """
    from worker.cli.settings import opened, settings_for
    from worker.schedules.report import report_of
    from worker.storage.firings import list_firings
    from worker.storage.schedules import get_schedule

    with opened(settings_for()) as database:
        with database.read() as conn:
            schedule = get_schedule(conn, name)
            shown = limit or (ALL if json_ else NEWEST)
            read = list_firings(conn, schedule.id, limit=shown + 1)
        firings, now = read[:shown], database.clock().now()
        reports = [report_of(database, firing, now=now) for firing in firings]
    say_more(len(read), shown, "firings")
    if json_:
        from worker.exports.output.schedules import firing_output

        print_json(map(firing_output, reports))
        return
    if not firings:
        typer.echo(f"{name} has not fired yet")
    for firing, report in zip(firings, reports, strict=True):
        by = " by hand" if firing.by_hand else ""
        batch = "" if firing.batch_id is None else f" (batch {firing.batch_id})"
        typer.echo(
            f"{local_time(firing.fire_at, schedule.spec.tz)}{by}  {firing_line(firing, report, brief=True)}{batch}"
        )

"""``caravan db``: the database's schema, whether it keeps its promises, and how it is saved and moved."""

import json
import sys
from typing import Annotated

import typer

from worker.cli.settings import opened, settings_for

database = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="The database: its schema, a check of what it promises, backups, and moving it.",
)


@database.callback()
def _group() -> None:
    """The database: its schema, a check of what it promises, backups, and moving it."""


@database.command("upgrade")
def db_upgrade() -> None:
    """Bring the database to this version's schema. Safe to run by many at once.

    Example: CARAVAN_DATABASE_URL=postgresql://caravan@db/caravan caravan db upgrade
    """
    from worker.settings import masked
    from worker.storage.migrate import HEAD, revision, upgrade

    settings = settings_for()
    if not settings.database_url:
        settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
    before = revision(settings.database)
    upgrade(settings.database)
    typer.echo(f"{masked(settings.database)}: {before or 'empty'} → {HEAD}")


@database.command("check")
def db_check(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")] = False,
) -> None:
    """Prove what the database promises, while work goes on: states add up, one result a job, live leases, no orphans.

    Exit code 1 where a promise is broken. Example: caravan db check
    """
    from worker.storage.check import SHOWN, check_database

    with opened(settings_for()) as found:
        checked = check_database(found, now=found.clock().now())
    broken = [one for one in checked if one.broken]
    if as_json:
        typer.echo(
            json.dumps(
                [
                    {
                        "name": one.name,
                        "promise": one.promise,
                        "rows": one.rows,
                        "broken": one.broken,
                        "places": list(one.places),
                    }
                    for one in checked
                ]
            )
        )
        raise typer.Exit(1 if broken else 0)
    wide = max(len(one.promise) for one in checked)
    for one in checked:
        verdict = f"broken {one.broken:,} times" if one.broken else "ok"
        typer.echo(f"{one.promise:<{wide}}  {one.rows:>11,} rows  {verdict}")
        for place in one.places:
            typer.echo(f"    {place}")
        if one.broken > SHOWN:
            typer.echo(f"    … and {one.broken - SHOWN:,} more")
    if broken:
        sys.stdout.flush()
        typer.echo(f"{len(broken)} of {len(checked)} promises are broken", err=True)
        raise typer.Exit(1)

"""``caravan db``: the database's schema, whether it keeps its promises, and how it is saved and moved."""

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.json_output import AsJson, print_json
from worker.cli.outputs import outputs_of
from worker.cli.settings import opened, settings_for
from worker.cli.streams import say
from worker.clock import SystemClock
from worker.domain.numbers import count_of
from worker.domain.urls import masked
from worker.storage.engine import open_database
from worker.storage.migrate import HEAD, revision, upgrade

if TYPE_CHECKING:
    from worker.storage.check import Checked

db = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    help="Upgrade, check, back up and move the database.",
)


@db.callback()
def _group() -> None:
    """Upgrade, check, back up and move the database."""


@db.command("upgrade")
def db_upgrade() -> None:
    """Upgrade the schema of the database to this version. Several processes may run it at once.

    Example: CARAVAN_DATABASE_URL=postgresql://caravan@db/caravan caravan db upgrade
    """

    settings = settings_for()
    if not settings.database_url:
        settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
    before = revision(settings.database)
    upgrade(settings.database)
    typer.echo(f"{masked(settings.database)}: {before or 'empty'} → {HEAD}")


@db.command("check")
def db_check(
    json_: AsJson = False,
) -> None:
    """Check that the data is consistent: counts, one result a job, live leases, no broken references.

    It may run while work goes on. Exit code 1 where a check fails.

    Example: caravan db check
    """
    from worker.storage.check import MOST_EXAMPLES, check_database

    with opened(settings_for()) as database:
        checked = check_database(database, now=database.clock().now())
    broken = [one for one in checked if one.broken]
    if json_:
        from api_schemas.output.installation import PromiseOutput

        print_json(PromiseOutput(**asdict(promise)) for promise in checked)
        raise typer.Exit(1 if broken else 0)
    wide = max(len(one.promise) for one in checked)
    for one in checked:
        verdict = f"broken {count_of(one.broken, 'time')}" if one.broken else "ok"
        typer.echo(f"{one.promise:<{wide}}  {one.rows:>11,} {'row ' if one.rows == 1 else 'rows'}  {verdict}")
        for place in one.places:
            typer.echo(f"    {place}")
        if one.broken > MOST_EXAMPLES:
            typer.echo(f"    … and {one.broken - MOST_EXAMPLES:,} more")
    if broken:
        sys.stdout.flush()
        say(f"{len(broken)} of {len(checked)} checks failed")
        raise typer.Exit(1)


@db.command("backup")
def db_backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="File to write.")],
    force: Annotated[bool, typer.Option("--force", help="Replace FILE where it exists.")] = False,
) -> None:
    """Back up the database and the spool into one SQLite file. Work may go on meanwhile.

    Example: caravan db backup /backup/caravan-monday.db
    """
    from worker.storage.backup import back_up

    settings = settings_for()
    if not file.exists() or force:  # of a file that is there without --force the backup says that itself
        outputs_of(settings, force=True).check(file)
    with opened(settings) as database:
        size = back_up(database, file, spool=settings.home / "spool", force=force)
    typer.echo(f"{file}: {size:,} bytes")


@db.command("compact")
def db_compact(
    json_: AsJson = False,
) -> None:
    """Rewrite the SQLite file to give pruned space back to the disk. Nothing may serve meanwhile.

    Example: caravan db compact
    """
    from worker.maintenance.keeping import compact

    with opened(settings_for()) as database:
        freed = compact(database, clock=database.clock())
    if json_:
        from api_schemas.output.installation import CompactedOutput

        print_json(CompactedOutput(bytes=freed))
    else:
        typer.echo(f"the file is {freed:,} bytes smaller")


@db.command("restore")
def db_restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="As caravan db backup wrote it.")],
    force: Annotated[bool, typer.Option("--force", help="Replace what the database holds.")] = False,
) -> None:
    """Restore a backup into an empty SQLite or PostgreSQL database, and check it. Nothing may serve meanwhile.

    Example: CARAVAN_HOME=/srv/caravan caravan db restore /backup/caravan-monday.db
    """
    from worker.stack.home import lock_home
    from worker.storage.backup import restore
    from worker.storage.migrate import bring_up_to_date

    settings = settings_for()
    with lock_home(settings.home, command="db restore"):
        database = open_database(settings.database)
        try:
            bring_up_to_date(database, backups=settings.home / "backups", now=SystemClock().now())
            checked = restore(
                file, database, spool=settings.home / "spool", now=database.clock().now(), force=force
            )
        finally:
            database.close()
    _say_checked(checked)


@db.command("copy")
def db_copy(
    to: Annotated[
        str,
        typer.Option(
            "--to", metavar="URL", help="Database to copy into: empty, or from an interrupted copy."
        ),
    ],
) -> None:
    """Copy this SQLite database to PostgreSQL, with all ids, and compare both. An interrupted copy continues.

    Example: caravan db copy --to postgresql://caravan:secret@db.internal/caravan
    """
    from worker.stack.home import lock_home
    from worker.stack.moving import move

    settings = settings_for()
    with lock_home(settings.home, command="db copy"):
        checked = move(settings, to, report=say)
    _say_checked(checked)
    typer.echo(f"from now on: export CARAVAN_DATABASE_URL={masked(to)}")


def _say_checked(checked: "Sequence[Checked]") -> None:
    broken = [one for one in checked if one.broken]
    for one in broken:
        say(f"{one.promise}: broken {count_of(one.broken, 'time')}, {', '.join(one.places)}")
    if broken:
        raise typer.Exit(1)
    typer.echo(f"all {len(checked)} checks passed")


@db.command("retry-spool")
def db_retry_spool(
    json_: AsJson = False,
) -> None:
    """Store answers that this machine set aside because the database refused them.

    An answer whose job went on without it, or that still cannot be stored, stays in its file.

    Exit code: 0; 3 where answers are left.

    Example: caravan db retry-spool
    """
    from worker.serving.outbox import retry_rejected

    settings = settings_for()
    with opened(settings) as database:
        retried = retry_rejected(database, settings.home, clock=database.clock())
    left = retried.unwanted + retried.failed
    if json_:
        from api_schemas.output.installation import SpoolOutput

        files = [str(file) for file in retried.files]
        print_json(
            SpoolOutput(stored=retried.stored, unwanted=retried.unwanted, failed=retried.failed, files=files)
        )
    elif not left and not retried.stored:
        typer.echo("no answers were set aside here")
    else:
        typer.echo(f"{count_of(retried.stored, 'answer is', 'answers are')} stored")
        if retried.unwanted:
            typer.echo(
                f"{count_of(retried.unwanted, 'is', 'are')} no longer needed: the jobs ended, or run, without them"
            )
        if retried.failed:
            typer.echo(f"{retried.failed:,} still cannot be stored; the log says why")
        for file in retried.files:
            typer.echo(f"left in {file}; delete it if you need none of them")
    if left:
        raise typer.Exit(3)


@db.command("reader")
def db_reader(
    name: Annotated[str, typer.Argument(metavar="ROLE", help="A role of PostgreSQL: a to z, 0 to 9 and _.")],
    password: Annotated[
        str | None,
        typer.Option(
            "--password",
            metavar="REF",
            help="Reference to its password, env:NAME or file:PATH; none: no password.",
        ),
    ] = None,
    timeout: Annotated[
        int, typer.Option("--timeout", min=1, max=3600, help="Time limit of its queries, in seconds.")
    ] = 30,
) -> None:
    """Create a PostgreSQL role for reporting tools, or change it: it reads the report views and nothing else.

    Example: caravan db reader metabase --password env:METABASE_PASSWORD
    """
    from worker.ollama.secrets import resolved
    from worker.storage.reader import grant_reader

    secret = None if password is None else resolved(password)
    with opened(settings_for()) as database:
        database.transact(lambda conn: grant_reader(conn, name, password=secret, timeout_seconds=timeout))
    typer.echo(f"{name} reads the report views; a query of it ends after {timeout} s")

"""``caravan submit``: a batch into the database, for whoever serves."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.groups import with_groups
from worker.cli.json_output import AsJson, print_json
from worker.cli.options import AnyFile, Key, SubmissionOptions
from worker.cli.outputs import Force
from worker.cli.settings import opened, settings_for
from worker.domain.numbers import count_of
from worker.errors import SettingsRefused

if TYPE_CHECKING:
    from worker.cli.render import Console
    from worker.clock import Clock
    from worker.door.observer import CheckModels
    from worker.errors import Problem
    from worker.settings import Settings
    from worker.storage.engine import Database


@with_groups
def submit(
    options: SubmissionOptions,
    file: AnyFile = None,
    key: Key = None,
    json_: AsJson = False,
    force: Force = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what it takes, as `caravan quote` does, and send nothing.")
    ] = False,
) -> None:
    """Put a batch in the database for whoever serves, and wake them.

    Prints its number. The same input (or key) submitted again is the same batch: nothing is doubled.

    Example: caravan submit prompts.jsonl --model qwen3:8b
    """
    from worker.cli.entry import submit_entry
    from worker.cli.hosts_at_hand import models_named
    from worker.cli.render import error_console
    from worker.cli.submissions import entry_of
    from worker.cli.wake import is_served, not_served, wake
    from worker.quote.quote import quote_batch
    from worker.storage.counts import batch_progress

    settings = settings_for()
    entry = entry_of(settings, file, options, force=force, key=key)
    if entry is None:
        return
    if dry_run:
        from worker.cli.quote import quote_rows

        raise typer.Exit(quote_rows(settings, entry, as_json=json_))
    console = error_console()
    with opened(settings) as database:
        clock = database.clock()
        check_models = _models_checked(settings, database, clock, console, pull=entry.submission.pull_missing)
        with models_named(entry.submission, lambda: _models_known(database, clock) or ()):
            arrived = submit_entry(database, settings, entry, console, check_models)
        batch = arrived.batch
        wake(settings, database, clock)
        served = is_served(settings, database, clock)
        deadline = arrived.batch.deadline
        with database.read() as conn:
            progress = batch_progress(conn, batch.id)
            quoted = None if deadline is None else quote_batch(conn, batch.id, now=clock.now())
    created = arrived.created
    if json_:
        from api_schemas.output.batches import SubmittedOutput
        from worker.exports.output.batches import batch_output

        print_json(SubmittedOutput(**dict(batch_output(progress)), created=created, served=served))
    else:
        typer.echo(batch.id)
    note = "" if created or arrived.difference is not None else " (known already; nothing was added)"
    console.print(
        f"batch {batch.id} ({batch.name}): {count_of(batch.jobs, 'job')}{note}; caravan status {batch.id}"
    )
    if quoted is not None and deadline is not None:
        from worker.cli.quoting import warn_of_deadline

        warn_of_deadline(console, quoted, deadline)
    if not served:
        console.print(not_served(settings), style="yellow")


def _models_known(database: "Database", clock: "Clock") -> set[str] | None:
    """Models that any host was last seen to have; None: there is a host that nobody has looked at, or none at all."""
    from worker.storage.host_rows import read_hosts

    with database.read() as conn:
        views = read_hosts(conn, clock.now())
    if not views or any(not view.looked for view in views):
        return None
    return {model for view in views for model in view.models}


def _models_checked(
    settings: "Settings", database: "Database", clock: "Clock", console: "Console", *, pull: bool
) -> "CheckModels":
    """Hosts are taken to have what they were last seen to have; one that was never seen may have anything."""
    from worker.hosts.registry import models_check
    from worker.hosts.selection import permanent_hosts

    def check(models: Mapping[str, int]) -> "list[Problem]":
        have = _models_known(database, clock)
        return [] if have is None else models_check(have, pull_allowed if pull else None)(models)

    def pull_allowed(models: list[str]) -> None:
        from worker.cli.pulling import puller

        if settings.database_url and not settings.allow_pull:
            raise SettingsRefused(
                "--pull-missing: this fleet does not allow it; CARAVAN_ALLOW_PULL=true does"
            )

        hosts = [host.name for host in permanent_hosts(database)]
        puller(database, hosts, console)(models)

    return check

"""``caravan health`` and ``caravan notify``: findings, and the channels that report them."""

from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.json_output import AsJson, print_json
from worker.domain.health import Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.health.watch import Verdict
    from worker.settings import Settings

notify = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    help="Try the channels that report trouble.",
)


def health(
    only: Annotated[
        list[Kind] | None, typer.Option("--only", help="Look at this alone; repeat for more.")
    ] = None,
    json_: AsJson = False,
) -> None:
    """Say whether all is well; exit code 1 when it is not.

    Looks at processes, database, disks, hosts and at what waits too long; each finding comes with what helps. Disks and
    the spool are those of this machine; the rest is the whole installation's.

    Example: caravan health --json
    """
    from worker.cli.settings import settings_for
    from worker.health.watch import chosen

    verdict = chosen(_look(settings_for()), frozenset(only or ()))
    if json_:
        print_json(verdict.shown)
    else:
        for finding in verdict.findings:
            typer.echo(f"{'bad' if finding.bad else 'note':<5} {finding.kind:<9} {finding.message}")
            typer.echo(f"{'':<15} → {finding.remedy}")
        if verdict.well:
            typer.echo("all is well")
    raise typer.Exit(0 if verdict.well else 1)


def _look(settings: "Settings") -> "Verdict":
    from worker.health.facts import Place
    from worker.health.watch import look
    from worker.stack.home import holder

    place = Place(settings.database, settings.home, fleet=bool(settings.broker_url))
    return look(place, settings.health_limits, held=holder(settings.home) is not None)


@notify.callback()
def _group() -> None:
    """The channels that report trouble."""  # with a callback a single command stays below its group


@notify.command("test")
def notify_test() -> None:
    """Send a mail and a ping now, to those whom the settings name, and say whether they got out. Exit code 1 if not.

    CARAVAN_SMTP_URL with CARAVAN_MAIL_TO, and CARAVAN_PING_URL, set the addressees.

    Example: caravan notify test
    """
    import platform

    from worker.cli.settings import settings_for
    from worker.errors import SettingsRefused
    from worker.health.letters import Letter
    from worker.health.watch import Teller

    teller = Teller(settings_for().telling)
    if not teller.mails and not teller.pings:
        raise SettingsRefused(
            "there are no addressees: set CARAVAN_SMTP_URL and CARAVAN_MAIL_TO, or CARAVAN_PING_URL"
        )
    letter = Letter(
        f"caravan on {platform.node()}: a test", "This mail was asked for by: caravan notify test\n"
    )
    sent = True
    if teller.mails:
        sent &= _tried(f"mail to {', '.join(teller.to)}", lambda: teller.mail(letter))
    if teller.pings:
        sent &= _tried("ping", lambda: teller.ping(well=True))
    raise typer.Exit(0 if sent else 1)


def _tried(what: str, send: "Callable[[], None]") -> bool:
    from worker.notify.bounded import DeliveryError

    try:
        send()
    except DeliveryError as error:
        typer.echo(f"{what}: not sent: {error}", err=True)
        return False
    typer.echo(f"{what}: sent")
    return True


@notify.command("list")
def notify_list(
    batch: Annotated[str, typer.Argument(metavar="BATCH", help="Its number, key, name, or @last.")],
    json_: AsJson = False,
) -> None:
    """List the addressees of a batch, and whether their messages were delivered.

    Example: caravan notify list @last
    """
    from worker.cli.settings import opened, settings_for
    from worker.storage.batches import find_batch
    from worker.storage.notices import list_notices

    with opened(settings_for()) as database, database.read() as conn:
        found = list_notices(conn, find_batch(conn, batch).id)
    if json_:
        from worker.exports.shown.batches import notices_shown

        print_json(notices_shown(found))
        return
    for one in found:
        tried = f", {one.tries} tries" if one.tries > 1 else ""
        why = f": {one.error}" if one.error else ""
        typer.echo(f"{one.state}{tried}: {one.to.channel} to {one.to.target}{why}")
    if not found:
        typer.echo("there are no addressees")

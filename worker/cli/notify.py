"""``caravan notify``: the channels that report trouble, and the addressees of a batch."""

from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.groups import BATCH_IN_WORDS
from worker.cli.json_output import AsJson, print_json
from worker.cli.streams import say

if TYPE_CHECKING:
    from collections.abc import Callable

notify = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    help="Try the channels that report trouble.",
)


@notify.callback()
def _group() -> None:
    """The channels that report trouble."""  # with a callback a single command stays below its group


@notify.command("test")
def notify_test() -> None:
    """Send a mail and a ping now to the addresses in the settings, and say whether they were sent. Exit code 1 if not.

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
        say(f"{what}: not sent: {error}")
        return False
    typer.echo(f"{what}: sent")
    return True


@notify.command("list")
def notify_list(
    batch: Annotated[str, typer.Argument(metavar="BATCH", help=f"{BATCH_IN_WORDS}.")],
    json_: AsJson = False,
) -> None:
    """List the addressees of a batch, and whether their messages were delivered.

    Example: caravan notify list @last
    """
    from worker.cli.settings import opened, settings_for
    from worker.storage.batches import find_batch
    from worker.storage.notices import list_notices

    with opened(settings_for()) as database, database.read() as conn:
        notices = list_notices(conn, find_batch(conn, batch).id)
    if json_:
        from worker.exports.output.batches import notices_output

        print_json(notices_output(notices))
        return
    for notice in notices:
        tried = f", {notice.tries} tries" if notice.tries > 1 else ""
        why = f": {notice.error}" if notice.error else ""
        typer.echo(f"{notice.state}{tried}: {notice.to.channel} to {notice.to.target}{why}")
    if not notices:
        typer.echo("there are no addressees")

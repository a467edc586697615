"""``caravan health``: what is wrong, and what helps."""

from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.json_output import AsJson, print_json
from worker.domain.health import Kind

if TYPE_CHECKING:
    from worker.health.watch import Verdict
    from worker.settings import Settings


def health(
    only: Annotated[
        list[Kind] | None, typer.Option("--only", help="Check only this; repeat for more.")
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
        print_json(verdict.output)
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

"""The options that all commands share which change the models of hosts."""

from typing import Annotated

import typer

from worker.records import record


@record
class Carrying:
    """On which hosts an operation is carried out, when, and how it is looked on."""

    host: Annotated[
        list[str] | None,
        typer.Option(
            "--host",
            metavar="NAME|URL",
            help="Only this host; repeat for more. Default: all that were added.",
        ),
    ] = None
    now: Annotated[bool, typer.Option("--now", help="Do not wait for the hours of a host.")] = False
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="Return at once; whoever serves the hosts does the work.")
    ] = False
    wait_hosts: Annotated[
        float,
        typer.Option(
            "--wait-hosts", min=0, metavar="SECONDS", help="Time to wait for hosts that are all away."
        ),
    ] = 120.0
    json_: Annotated[bool, typer.Option("--json", help="Print the operation as JSON in the end.")] = False

"""The options that all commands share which change the models of hosts."""

from typing import Annotated

from worker.cli.groups import option
from worker.records import record


@record
class Carrying:
    """On which hosts an operation is carried out, when, and how it is looked on."""

    host: Annotated[
        list[str] | None,
        option(
            "--host", "Only this host; repeat for more. Default: all that were added.", metavar="NAME|URL"
        ),
    ] = None
    now: Annotated[bool, option("--now", "Do not wait for the hours of a host.")] = False
    no_wait: Annotated[
        bool, option("--no-wait", "Return at once; whoever serves the hosts does the work.")
    ] = False
    wait_hosts: Annotated[
        float, option("--wait-hosts", "Time to wait for hosts that are all away.", min=0, metavar="SECONDS")
    ] = 120.0
    json_: Annotated[bool, option("--json", "Print the operation as JSON in the end.")] = False

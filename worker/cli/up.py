"""``caravan up``: the whole of Caravan on one machine, until it is stopped."""

import signal
from typing import Annotated

import typer

from worker.cli.settings import settings_for
from worker.cli.signals import ENDING, on_signals

LOOK_SECONDS = 0.25
"""Between two looks whether a signal came."""


def up(
    host: Annotated[
        list[str] | None, typer.Option("--host", metavar="URL", help="Add this host first; repeat for more.")
    ] = None,
    slots: Annotated[
        int | None, typer.Option("--slots", min=1, help="Requests those hosts serve at a time.")
    ] = None,
) -> None:
    """Serve all hosts and whatever is submitted, until stopped.

    Hosts that are added later are served too.

    Example: caravan up --host http://gpu-1:11434
    """
    from worker.cli.hosts_at_hand import say_unreachable
    from worker.cli.memory import limit_arenas
    from worker.cli.render import error_console
    from worker.hosts.registry import register
    from worker.hosts.selection import permanent_hosts, select_hosts
    from worker.observability.logging import configure
    from worker.stack.embedded import embedded

    limit_arenas()
    settings = settings_for()
    configure(settings.log_level, style=settings.log_style, repeats=settings.log_level == "debug")
    console = error_console()
    received: list[int] = []
    on_signals((signal.SIGINT, *ENDING), lambda number, _: received.append(number))
    with embedded(settings, command="up") as stack:
        stack.watch_health()
        if host:
            say_unreachable(
                console,
                [
                    register(stack.database, entry, open_host=stack.open_host, clock=stack.clock)
                    for entry in select_hosts(stack.database, host, slots)
                ],
            )
        hosts = permanent_hosts(stack.database)
        names = ", ".join(entry.name for entry in hosts)
        console.print(
            f"caravan up: serving {names or 'no host yet (caravan hosts add NAME URL)'}; "
            f"home {settings.home}. Ctrl-C stops: running calls may end.",
        )
        stack.serve(hosts, follow=lambda report: report.kept)
        # in slices: a signal that comes as a wait begins is seen when the wait ends
        while not received and not stack.stop.wait(LOOK_SECONDS):
            pass
        console.print("Stopping: running calls may end; stop again to cut them.")
        stack.ask_to_stop()
        on_signals((signal.SIGINT, *ENDING), lambda *_: stack.abort())
        if len(received) > 1:
            stack.abort()
        stack.join(settings.stop_grace_seconds)

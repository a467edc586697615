"""``caravan demo``: the main job in under a minute, on simulated hosts or a real one."""

import tempfile
from contextlib import ExitStack
from datetime import UTC
from pathlib import Path
from typing import Annotated

import typer

from worker.cli.settings import quiet_log, settings_for

AsJson = Annotated[bool, typer.Option("--json", help="Print the summary as JSON on standard output.")]


def demo(
    real: Annotated[
        bool, typer.Option("--real", help="Use the Ollama at OLLAMA_HOST and its smallest local models.")
    ] = False,
    json_: AsJson = False,
) -> None:
    """Show Caravan at work on two simulated hosts, in a minute.

    Asks mixed prompts of three models, with few model loads.

    Example: caravan demo
    """
    from api_schemas.submissions import Submission
    from worker.cli.entry import submit_entry
    from worker.cli.hosts_at_hand import models_checked
    from worker.cli.render import error_console
    from worker.cli.submissions import Entry
    from worker.cli.summary import RunView, show_to_the_end, sum_up
    from worker.domain.address import host_address, host_name
    from worker.domain.hosts import Host
    from worker.door.rows import RowFile
    from worker.hosts.selection import ollama_host
    from worker.stack.demo import demo_file, real_lines, simulated_hosts
    from worker.stack.embedded import embedded
    from worker.stack.main_job import workplace_of

    settings = settings_for()
    settings = settings.model_copy(update={"home": settings.home / "demo", "database_url": ""})
    quiet_log(settings)
    console = error_console()
    with ExitStack() as exits:
        stack = exits.enter_context(embedded(settings, command="demo"))
        path = demo_file()
        simulated = None
        if real:
            address = host_address(ollama_host())
            console.print(f"Demo on the real Ollama at {address}: its smallest local models, a few jobs.")
            place = workplace_of(stack, [Host(host_name(address), address)])
            lines = real_lines(path, place.looks[0].models)
            scratch = exits.enter_context(tempfile.NamedTemporaryFile("w", suffix=".jsonl", encoding="utf-8"))
            scratch.writelines(lines)
            scratch.flush()
            path = Path(scratch.name)
        else:
            simulated = exits.enter_context(simulated_hosts())
            console.print(
                "Demo: two simulated Ollama hosts on this machine, each holding one model at a time. "
                "The answers are made up; the queue, the database and the loads are real."
            )
            place = workplace_of(stack, simulated.hosts)
        key = f"demo-{stack.clock.now().astimezone(UTC):%Y%m%dT%H%M%S.%f}"
        submission = Submission(name="demo", key=key, max_attempts=settings.max_attempts)
        check = models_checked(place, console)
        shown = RunView(
            place, submit_entry(stack.database, settings, Entry(submission, RowFile(path)), console, check)
        )
        try:
            look = show_to_the_end(shown, console, wait_hosts=30)
        except KeyboardInterrupt:
            console.print("Interrupted.")
            raise typer.Exit(130) from None
        counted = None if simulated is None else simulated.loads()
        code = sum_up(shown, look, console, as_json=json_, counted=counted, show_answer=True)
    raise typer.Exit(code)

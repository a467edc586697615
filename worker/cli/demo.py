"""``caravan demo``: the main job in under a minute, on simulated hosts or a real one."""

import tempfile
from contextlib import ExitStack
from datetime import UTC
from pathlib import Path
from typing import Annotated

import typer

from worker.cli.settings import settings_for

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
    from worker.cli.main_job import Watched, sum_up, watch_to_the_end
    from worker.cli.render import error_console
    from worker.cli.run import models_checked
    from worker.cli.settings import quiet_log
    from worker.cli.submissions import Entry
    from worker.cli.take_in import take_in
    from worker.domain.address import host_address, host_name
    from worker.domain.hosts import Host
    from worker.door.rows import RowFile
    from worker.hosts.wanted import ollama_host
    from worker.stack.demo import demo_file, real_lines, simulated_hosts
    from worker.stack.embedded import embedded, join_hosts

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
            seen = join_hosts(stack, [Host(host_name(address), address)])
            lines = real_lines(path, seen[0].models)
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
            seen = join_hosts(stack, simulated.hosts)
        key = f"demo-{stack.clock.now().astimezone(UTC):%Y%m%dT%H%M%S.%f}"
        batch = take_in(
            stack.database,
            stack.clock,
            settings,
            Entry(Submission(name="demo", key=key, max_attempts=settings.max_attempts), RowFile(path)),
            console=console,
            check_models=models_checked(stack.database, stack.open_host, seen, console, pull=False),
        ).batch
        watched = Watched(
            stack.database, stack.clock, settings, batch, lambda: stack.hosts, lambda: stack.output_tokens
        )
        stack.serve([look.host for look in seen], batch_id=batch.id)
        try:
            watching = watch_to_the_end(watched, console, wait_hosts=30)
        except KeyboardInterrupt:
            console.print("Interrupted.")
            raise typer.Exit(130) from None
        code = sum_up(
            watched,
            watching,
            console,
            as_json=json_,
            hosts=len(seen),
            counted=None if simulated is None else simulated.loads(),
            show_answer=True,
        )
    raise typer.Exit(code)

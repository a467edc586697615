"""``caravan run`` and ``caravan demo``: the main job, in one process."""

import os
import shlex
import sys
import tempfile
import time
from contextlib import ExitStack
from datetime import UTC
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from api_schemas.jobs import JobDefaults
from worker.cli.exits import finished_code
from worker.cli.render import batch_progress_shown, error_console, progress_line, rates, summary_tables
from worker.cli.settings import settings_for
from worker.domain.batches import Batch, BatchProgress, BatchState
from worker.domain.hosts import Host
from worker.errors import DatabaseUnavailable
from worker.observability.logging import configure
from worker.policy.first_come import first_come_loads
from worker.services.hosts import Seen, missing_models
from worker.services.inputs import content_key, keep_standard_input, read_lines
from worker.services.results import write_results, write_results_file
from worker.services.submit import submit_lines
from worker.services.tick import tidy
from worker.settings import Settings, masked
from worker.stack.demo import DemoHosts, demo_file, real_lines, simulated_hosts
from worker.stack.embedded import Embedded, embedded, join_hosts
from worker.storage.counts import batch_progress
from worker.storage.reports import runner_keys_in_order
from worker.storage.results import model_figures
from worker.storage.runs import count_loads

DEFAULT_HOST = "http://127.0.0.1:11434"
LOOK_SECONDS = 0.25

Hosts = Annotated[
    list[str] | None, typer.Option("--host", metavar="URL", help="An Ollama host; repeat for more.")
]
Slots = Annotated[
    int, typer.Option("--slots", min=1, help="Requests a host serves at a time (OLLAMA_NUM_PARALLEL).")
]
Model = Annotated[str | None, typer.Option("--model", help="For lines that name no model.")]
Out = Annotated[
    Path | None,
    typer.Option("-o", "--output", help="Write the results there as JSON lines; - is standard output."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the summary as JSON on standard output.")]


def add_to(app: typer.Typer) -> None:
    """Give ``app`` these commands."""
    app.command("run")(run)
    app.command("demo")(demo)


def run(
    file: Annotated[Path, typer.Argument(help="JSON lines, one job each; - reads standard input.")],
    host: Hosts = None,
    model: Model = None,
    output: Out = None,
    slots: Slots = 1,
    fail_on_cut: Annotated[bool, typer.Option("--fail-on-cut", help="A cut answer is a failure.")] = False,
    json_: AsJson = False,
) -> None:
    """Answer every prompt in FILE on these hosts and keep the answers in the database.

    Interrupted and started again with the same file it goes on where it stopped; no finished job runs twice.

    Example: caravan run prompts.jsonl --host http://gpu-1:11434 --model qwen3:8b -o answers.jsonl
    """
    settings = settings_for(fail_on_cut=True if fail_on_cut else None)
    _log(settings)
    with embedded(settings) as stack:
        path = keep_standard_input(sys.stdin.buffer, settings.home / "input") if str(file) == "-" else file
        key = content_key(path, {"model": model})
        hosts = [_host(url, slots) for url in host or [_default_host()]]
        defaults = JobDefaults(model=model)
        name = "stdin" if str(file) == "-" else file.name
        console = error_console()
        seen = join_hosts(stack, hosts)
        code = _main_job(
            stack, console, path, key=key, name=name, defaults=defaults, seen=seen, output=output, json_=json_
        )
    raise typer.Exit(code)


def demo(
    real: Annotated[
        bool, typer.Option("--real", help="Use the Ollama at OLLAMA_HOST and its smallest local models.")
    ] = False,
    json_: AsJson = False,
) -> None:
    """Show the main job in under a minute: mixed prompts, three models, two simulated hosts, few model loads.

    Example: caravan demo
    """
    settings = settings_for()
    settings = settings.model_copy(update={"home": settings.home / "demo", "database_url": ""})
    _log(settings)
    console = error_console()
    with ExitStack() as exits:
        stack = exits.enter_context(embedded(settings))
        path = demo_file()
        if real:
            url = _default_host()
            console.print(f"Demo on the real Ollama at {url}: its smallest local models, a few jobs.")
            seen = join_hosts(stack, [_host(url, 1)])
            lines = real_lines(path, seen[0].models)
            scratch = exits.enter_context(tempfile.NamedTemporaryFile("w", suffix=".jsonl", encoding="utf-8"))
            scratch.writelines(lines)
            scratch.flush()
            path, simulated = Path(scratch.name), None
        else:
            simulated = exits.enter_context(simulated_hosts())
            console.print(
                "Demo: two [bold]simulated[/bold] Ollama hosts on this machine, each holding one model at a time. "
                "The answers are made up; the queue, the database and the loads are real."
            )
            seen = join_hosts(stack, simulated.hosts)
        key = f"demo-{stack.clock.now().astimezone(UTC):%Y%m%dT%H%M%S.%f}"
        code = _main_job(
            stack,
            console,
            path,
            key=key,
            name="demo",
            defaults=JobDefaults(),
            seen=seen,
            output=None,
            json_=json_,
            simulated=simulated,
            show_answer=True,
        )
    raise typer.Exit(code)


def _log(settings: Settings) -> None:
    """One process that a person looks at: only what is wrong, unless they asked for more."""
    asked = "log_level" in settings.model_fields_set
    configure(settings.log_level if asked else "warning", style=settings.log_style)


def _host(url: str, slots: int) -> Host:
    """A host by its URL; its name is the place it stands at."""
    url = url if "://" in url else f"http://{url}"
    return Host(
        url.partition("://")[2].rstrip("/").rpartition("@")[2].replace("/", "_"), url.rstrip("/"), slots
    )


def _default_host() -> str:
    """OLLAMA_HOST as Ollama's own client reads it; a listening address of all interfaces is this machine."""
    url = os.environ.get("OLLAMA_HOST", "").strip() or DEFAULT_HOST  # noqa: TID251 - Ollama's variable, not a setting
    scheme, found, place = url.partition("://")
    if not found:
        scheme, place = "http", url
    place = place.replace("0.0.0.0", "127.0.0.1")  # noqa: S104 - replaced, not bound
    if ":" not in place.rpartition("]")[2]:
        place += ":11434"
    return f"{scheme}://{place}"


def _main_job(
    stack: Embedded,
    console: Console,
    path: Path,
    *,
    key: str,
    name: str,
    defaults: JobDefaults,
    seen: list[Seen],
    output: Path | None,
    json_: bool,
    simulated: DemoHosts | None = None,
    show_answer: bool = False,
) -> int:
    """Submit, serve, show progress, write results. Returns the exit code."""
    for look in seen:
        if look.error is not None:
            console.print(
                f"[yellow]{look.host.name} cannot be reached and is left out for now: {look.error}[/yellow]"
            )
    have = {model.name for look in seen for model in look.models}
    submitted = submit_lines(
        stack.database,
        read_lines(path),
        key=key,
        name=name,
        source=str(path),
        defaults=defaults,
        clock=stack.clock,
        max_attempts=stack.settings.max_attempts,
        check_models=lambda wanted: missing_models(wanted, have),
    )
    batch = submitted.batch
    for note in submitted.notes:
        console.print(f"[yellow]{note}[/yellow]")
    if submitted.noted > len(submitted.notes):
        console.print(f"[yellow]… {submitted.noted:,} such lines in all[/yellow]")
    began = time.monotonic()
    progress = _serve(stack, console, batch, seen)
    seconds = time.monotonic() - began
    tidy(stack.database, clock=stack.clock, among={look.host.name for look in seen}, batch_id=batch.id)
    if output is not None and not stack.stop.is_set():
        _write(stack, batch, output, console)
    interrupted = stack.stop.is_set()
    if json_:
        _print_json(stack, progress, seconds)
    else:
        _summarise(
            stack, console, progress, seconds, hosts=len(seen), simulated=simulated, show_answer=show_answer
        )
    if interrupted:
        console.print("Interrupted. The same command goes on where it stopped.")
        return 130
    return finished_code(progress)


def _serve(stack: Embedded, console: Console, batch: Batch, seen: list[Seen]) -> BatchProgress:
    """Serve until nothing of the batch can change by itself any more, or Ctrl-C."""
    progress = _progress(stack, batch)
    if batch.state is BatchState.FINISHED or not progress.open:
        return progress
    if progress.done:
        console.print(f"Going on where it stopped: {progress_line(progress)}")
    stack.serve([look.host for look in seen], batch_id=batch.id)
    began, first = time.monotonic(), progress.done
    try:
        with batch_progress_shown(console, progress) as show:
            while progress.open:
                time.sleep(LOOK_SECONDS)  # noqa: TID251 - people look at this
                try:
                    progress = _progress(stack, batch)
                except DatabaseUnavailable:
                    continue  # the workers ride it out and say so; so does the bar
                rate = rates(
                    done=progress.done - first,
                    left=progress.open,
                    tokens=stack.output_tokens,
                    seconds=time.monotonic() - began,
                )
                show(progress, rate)
    except KeyboardInterrupt:
        stack.stop.set()
        stack.wake()
        console.print("Stopping: running calls may end; Ctrl-C again stops now.")
        try:
            for thread in stack.threads:
                thread.join(timeout=stack.settings.stop_grace_seconds)
        except KeyboardInterrupt:
            stack.abort()
        progress = _progress(stack, batch)
    return progress


def _progress(stack: Embedded, batch: Batch) -> BatchProgress:
    with stack.database.read() as conn:
        return batch_progress(conn, batch.id)


def _write(stack: Embedded, batch: Batch, output: Path, console: Console) -> None:
    if str(output) == "-":
        write_results(stack.database, batch.id, sys.stdout)
        return
    lines = write_results_file(stack.database, batch.id, output)
    console.print(f"{lines:,} results in {output}")


def _print_json(stack: Embedded, progress: BatchProgress, seconds: float) -> None:
    import json

    with stack.database.read() as conn:
        loads = count_loads(conn, since=progress.batch.created_at)
    plain: dict[str, Any] = {
        "batch": progress.batch.id,
        "key": progress.batch.key,
        "name": progress.batch.name,
        "counts": {str(state): n for state, n in progress.counts.items()},
        "total": progress.total,
        "seconds": round(seconds, 3),
        "loads": loads,
        "database": masked(stack.settings.database),
    }
    typer.echo(json.dumps(plain))


def _summarise(
    stack: Embedded,
    console: Console,
    progress: BatchProgress,
    seconds: float,
    *,
    hosts: int,
    simulated: DemoHosts | None,
    show_answer: bool,
) -> None:
    batch = progress.batch
    with stack.database.read() as conn:
        figures = model_figures(conn, batch.id)
        loads = count_loads(conn, since=batch.created_at)
        naive = first_come_loads(runner_keys_in_order(conn, batch.id), hosts=hosts)
    for table in summary_tables(progress, figures, seconds, plain=not console.is_terminal):
        console.print(table)
    by_hosts = "" if simulated is None else f" (the simulated hosts counted {simulated.loads()})"
    console.print(f"Model loads: {loads}{by_hosts}; first-come-first-served would have done {naive}.")
    if show_answer:
        _show_one(stack, console, batch)
    _where(stack.settings, console, batch)


def _show_one(stack: Embedded, console: Console, batch: Batch) -> None:
    """One answer, its reasoning folded to a line."""
    from worker.services.results import result_lines

    best: dict[str, Any] | None = None
    for line in result_lines(stack.database, batch.id):
        if line["answer"] and (best is None or (line["reasoning"] and not best["reasoning"])):
            best = line
            if line["reasoning"]:
                break
    if best is None:
        return
    console.print(f"\n[bold]{best['custom_id']}[/bold] by {best['model']} on {best['host']}:")
    if best["reasoning"]:
        words = " ".join(best["reasoning"].split())
        console.print(
            f"  [dim]▸ reasoning ({len(best['reasoning']):,} characters): {words[:60]}…[/dim]", markup=True
        )
    console.print(f"  {best['answer'].strip()}", markup=False)


def _where(settings: Settings, console: Console, batch: Batch) -> None:
    query = (
        f"SELECT model, count(*), sum(output_tokens) FROM results WHERE batch_id = {batch.id} GROUP BY model"
    )
    if settings.database.startswith("sqlite:///"):
        place = settings.database.removeprefix("sqlite:///")
        console.print(f"\nDatabase: {place}", soft_wrap=True, markup=False)
        console.print(f'Try: sqlite3 {shlex.quote(place)} "{query}"', soft_wrap=True, markup=False)
    else:
        console.print(f"\nDatabase: {masked(settings.database)}", soft_wrap=True, markup=False)
        console.print(f"Try: {query}", soft_wrap=True, markup=False)

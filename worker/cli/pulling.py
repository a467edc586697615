"""Pulls models onto hosts while a person looks on."""

from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from worker.domain.hosts import Host
from worker.errors import CODES, HostError, NoHost
from worker.observability.events import emit
from worker.services.hosts import OpenHost


def pull_models(
    models: Sequence[str], hosts: Sequence[Host], *, open_host: OpenHost, console: Console
) -> None:
    """Pull each model onto every host. Raises NoHost where none of them has it in the end."""
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    ) as bars:
        for model in models:
            failed = [why for host in hosts if (why := _pull(model, host, open_host, bars, console))]
            if len(failed) == len(hosts):
                raise NoHost(f"{model} could not be pulled onto any host: {'; '.join(failed)}")


def _pull(model: str, host: Host, open_host: OpenHost, bars: Progress, console: Console) -> str | None:
    """Why it could not be pulled there, or None."""
    if not console.is_terminal:
        console.print(f"pulling {model} onto {host.name}", markup=False)
    task = bars.add_task(f"{model} → {host.name}", total=None)

    def progress(status: str, completed: int, total: int) -> None:
        bars.update(task, total=total or None, completed=completed)

    gpu = open_host(host)
    try:
        gpu.pull(model, progress=progress)
    except HostError as error:
        why = f"{host.name}: {error.message or CODES[error.code].meaning}"
        console.print(why, style="yellow", markup=False)
        return why
    finally:
        gpu.close()
    emit("model.pulled", host=host.name, model=model)
    return None

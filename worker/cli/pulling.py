"""Pulls models onto hosts while a person looks on."""

from collections.abc import Callable, Sequence

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from worker.domain.hosts import Host
from worker.errors import CODES, HostError, NoHost
from worker.hosts.registry import OpenHost, Pull, look_again
from worker.observability.events import emit
from worker.ollama.models import pull
from worker.replies.registries import verdict
from worker.replies.transfers import Transfer
from worker.storage.engine import Database


def puller(database: Database, open_host: OpenHost, hosts: Sequence[Host], console: Console) -> Pull:
    """Pulls models onto these hosts."""

    def look(host: Host) -> object:
        return look_again(database, host, open_host=open_host, clock=database.clock())

    return lambda models: pull_models(models, hosts, open_host=open_host, look=look, console=console)


def pull_models(
    models: Sequence[str],
    hosts: Sequence[Host],
    *,
    open_host: OpenHost,
    look: Callable[[Host], object],
    console: Console,
) -> None:
    """Pull each model onto every host, and ``look`` at each that took one: its jobs are parked as long as nobody
    knows that it has the model. Raises NoHost where none of them has it in the end.
    """
    took: dict[str, Host] = {}
    with Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    ) as bars:
        nowhere = []
        for model in models:
            failed = []
            for host in hosts:
                why = _pull(model, host, open_host, bars, console)
                if why is None:
                    took[host.name] = host
                else:
                    failed.append(why)
            if len(failed) == len(hosts):
                nowhere.append(
                    f"{model} could not be pulled onto any host: {'; '.join(failed) or 'there is none'}"
                )
    for host in took.values():
        look(host)
    if nowhere:
        raise NoHost(". ".join(nowhere))


def _pull(model: str, host: Host, open_host: OpenHost, bars: Progress, console: Console) -> str | None:
    """Why it could not be pulled there, or None."""
    if not console.is_terminal:
        console.print(f"pulling {model} onto {host.name}")
    task = bars.add_task(f"{model} → {host.name}", total=None)

    def hear(progress: Transfer) -> None:
        bars.update(task, total=progress.total or None, completed=progress.completed)

    gpu = open_host(host)
    try:
        pull(gpu, model, hear=hear)
    except HostError as error:
        advice = verdict(error.message).advice
        why = f"{host.name}: {error.message or CODES[error.code].meaning}{f' ({advice})' if advice else ''}"
        console.print(why, style="yellow")
        return why
    finally:
        gpu.close()
    emit("model.pulled", host=host.name, model=model)
    return None

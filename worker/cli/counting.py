"""How far is a file that is being written? A bar on a terminal, nothing elsewhere."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def telling(path: Path, total: int | None) -> Iterator[Callable[[int], None]]:
    """Shows on standard error how many rows are in ``path``, of ``total`` where that is known."""
    from worker.cli.render import error_console

    console: Any = error_console()
    if not console.is_terminal or console.quiet:
        yield lambda _: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as shown:
        task = shown.add_task(path.name, total=total)
        yield lambda rows: shown.update(task, completed=rows)

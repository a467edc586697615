"""What a person sees: progress while it runs, the summary when it is done. Plain lines where there is no terminal."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn
from rich.table import Table
from rich.text import Text

from worker.domain.batches import BatchProgress
from worker.domain.jobs import JobState
from worker.storage.results import ModelFigures

QUIET_SECONDS = 10.0
"""Without a terminal a line of progress appears this often."""


def error_console() -> Console:
    """Standard error: progress and summaries go there, so that standard output stays for what a script reads."""
    return Console(stderr=True, highlight=False)


@dataclass(frozen=True, slots=True)
class Rates:
    """Since the start: finished jobs and generated tokens per second, and the seconds the rest will take."""

    jobs_per_second: float
    tokens_per_second: float
    eta_seconds: float | None


def rates(*, done: int, left: int, tokens: int, seconds: float) -> Rates:
    """Rates over ``seconds``; no ETA before anything is done.

    >>> rates(done=10, left=30, tokens=500, seconds=5)
    Rates(jobs_per_second=2.0, tokens_per_second=100.0, eta_seconds=15.0)
    """
    if seconds <= 0:
        return Rates(0.0, 0.0, None)
    return Rates(done / seconds, tokens / seconds, left * seconds / done if done else None)


def duration(seconds: float | None) -> str:
    """A span for people.

    >>> [duration(s) for s in (None, 0.4, 42, 90, 3700, 200000)]
    ['–', '0 s', '42 s', '1 min 30 s', '1 h 1 min', '2 d 7 h']
    """
    if seconds is None:
        return "–"
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        rate: Rates | None = task.fields.get("rates")
        if rate is None:
            return Text("")
        return Text(
            f"{rate.jobs_per_second:.1f} jobs/s  {rate.tokens_per_second:,.0f} tok/s  ETA {duration(rate.eta_seconds)}",
            no_wrap=True,
        )


Show = Callable[[BatchProgress, Rates], None]


@contextmanager
def batch_progress_shown(console: Console, progress: BatchProgress) -> Iterator[Show]:
    """A bar on a terminal, else a line every ten seconds."""
    if not console.is_terminal:
        last = [time.monotonic()]

        def say(progress: BatchProgress, rate: Rates) -> None:
            if time.monotonic() - last[0] >= QUIET_SECONDS:
                last[0] = time.monotonic()
                console.print(progress_line(progress, rate), soft_wrap=True)

        yield say
        return
    with Progress(
        SpinnerColumn(),
        BarColumn(bar_width=None),
        TextColumn("{task.completed:,.0f}/{task.total:,.0f}"),
        _Rate(),
        console=console,
        expand=True,
    ) as bar:
        task = bar.add_task("", total=progress.total, completed=progress.done)

        def show(progress: BatchProgress, rate: Rates) -> None:
            bar.update(task, total=progress.total, completed=progress.done, rates=rate)

        yield show


def progress_line(progress: BatchProgress, rate: Rates | None = None) -> str:
    """``batch 7 (prompts.jsonl): 912 of 1,000 done, 3 failed, about 6 min left``"""
    counts, batch = progress.counts, progress.batch
    parts = [f"{progress.done:,} of {progress.total:,} done"]
    parts += [f"{counts[state]:,} {state}" for state in _NOTEWORTHY if counts.get(state)]
    if rate is not None and rate.eta_seconds is not None and progress.open:
        parts.append(f"{rate.jobs_per_second:.1f} jobs/s, about {duration(rate.eta_seconds)} left")
    return f"batch {batch.id} ({batch.name}): {', '.join(parts)}"


_NOTEWORTHY = (JobState.RUNNING, JobState.FAILED, JobState.HELD, JobState.CANCELLED, JobState.EXPIRED)


def _box(plain: bool) -> box.Box | None:
    return None if plain else box.SIMPLE_HEAD


def summary_tables(
    progress: BatchProgress, figures: Sequence[ModelFigures], seconds: float | None, *, plain: bool
) -> list[Table]:
    """Jobs per state, and what each model did; without lines where ``plain``."""
    states = Table(
        box=_box(plain), title=f"batch {progress.batch.id} ({progress.batch.name})", title_justify="left"
    )
    states.add_column("state")
    states.add_column("jobs", justify="right")
    for state in JobState:
        if progress.counts.get(state):
            states.add_row(str(state), f"{progress.counts[state]:,}")
    if seconds is not None:
        states.caption = f"in {duration(seconds)}"
    models = Table(box=_box(plain), title="models", title_justify="left")
    models.add_column("model", overflow="fold")
    for name in ("jobs", "failed", "cut", "prompt tok", "output tok", "tok/s"):
        models.add_column(name, justify="right")
    for row in figures:
        speed = row.output_tokens / row.eval_seconds if row.eval_seconds else None
        models.add_row(
            row.model,
            f"{row.jobs:,}",
            f"{row.failed:,}",
            f"{row.cut:,}",
            f"{row.prompt_tokens:,}",
            f"{row.output_tokens:,}",
            "–" if speed is None else f"{speed:,.1f}",
        )
    return [states, models]

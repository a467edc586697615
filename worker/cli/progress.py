"""How far a batch is: the bar and lines while it runs, and the tables of its summary."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Protocol

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from worker.cli.block import Block, block_drawn
from worker.cli.plain import cells, without_spans
from worker.cli.render import Rates, duration, eta, one_line, plain_table, without_eta
from worker.domain.batches import BatchProgress
from worker.domain.jobs import JobState
from worker.explain.situation import ModelNow, Situation
from worker.storage.host_rows import HostRow
from worker.storage.results import ModelFigures

SHORTEST_BAR = 6
"""Columns; a bar that would be shorter is left out."""

QUIET_SECONDS = 10.0
"""Without a terminal a line of progress appears this often."""


class Show(Protocol):
    """Shows how far the batch is: on a terminal what hosts do beneath the bar, and why nothing moves."""

    def __call__(
        self,
        progress: BatchProgress,
        rates: Rates,
        *,
        situation: Situation | None = None,
        reasons: Sequence[str] = (),
    ) -> None: ...


@contextmanager
def batch_progress_bar(console: Console, progress: BatchProgress) -> Iterator[Show]:
    """A bar on a terminal, with what hosts do and the reasons beneath it; else a line every ten seconds, and one each
    time the reasons change. On a quiet console nothing is shown."""
    if console.quiet:
        yield lambda progress, rates, *, situation=None, reasons=(): None
    elif console.is_terminal:
        with block_drawn(console) as block:
            yield _Live(block).show
    else:
        yield _Lines(console).show


class _Lines:
    """Progress where nobody looks at it now: few lines, each complete."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._last_at = time.monotonic()
        self._done: int | None = None
        self._reasons: list[str] = []

    def show(
        self,
        progress: BatchProgress,
        rates: Rates,
        *,
        situation: Situation | None = None,
        reasons: Sequence[str] = (),
    ) -> None:
        waits = bool(reasons) and progress.done == self._done
        if time.monotonic() - self._last_at >= QUIET_SECONDS and not waits:
            self._last_at, self._done = time.monotonic(), progress.done
            hosts = () if situation is None else situation.hosts
            self._print(progress_line(progress, without_eta(rates) if reasons else rates, hosts=hosts))
        lasting = [without_spans(reason) for reason in reasons]
        if lasting != self._reasons:
            self._reasons = lasting
            for reason in reasons:
                self._print(f"waiting: {reason}")

    def _print(self, line: str) -> None:
        self._console.print(line, soft_wrap=True)


class _Live:
    """The bar, and lines beneath it."""

    def __init__(self, block: Block) -> None:
        self._block = block
        self._situation: Situation | None = None

    def show(
        self,
        progress: BatchProgress,
        rates: Rates,
        *,
        situation: Situation | None = None,
        reasons: Sequence[str] = (),
    ) -> None:
        self._situation = situation or self._situation  # read less often than the counts
        if reasons:
            rates = without_eta(rates)
        self._block.draw(Group(_Bar(progress, rates), *beneath(self._situation, reasons)))


class _Bar:
    """``━━━━━━━── 912/1,000  15.2 jobs/s  1,520 tok/s  ETA 5 s``: on a narrow terminal the bar is short, and speeds are left
    out, the time that is left never."""

    def __init__(self, progress: BatchProgress, rates: Rates) -> None:
        self._done, self._total = progress.done, max(1, progress.total - progress.outside)
        speeds = (f"{rates.jobs_per_second:.1f} jobs/s", f"{rates.tokens_per_second:,.0f} tok/s")
        self._parts = [f"{self._done:,}/{self._total:,}", *speeds, f"ETA {eta(rates)}"]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        parts = self._parts
        while len(parts) > 2 and cells("  ".join(parts)) > options.max_width:
            parts = [*parts[:-2], parts[-1]]
        text = "  ".join(parts)
        room = options.max_width - cells(text) - 1
        filled = room * min(self._done, self._total) // self._total
        bar = (("━" * filled, "green"), ("─" * (room - filled), "dim"), " ") if room >= SHORTEST_BAR else ()
        yield Text.assemble(*bar, text, no_wrap=True, overflow="ellipsis")


MOST_HOSTS = 8

MOST_REASONS = 6


def beneath(situation: Situation | None, reasons: Sequence[str] = ()) -> list[RenderableType]:
    """What stands under a bar: a line per host, the failures by code, the reasons."""
    lines: list[RenderableType] = []
    if situation is not None:
        if situation.hosts:
            lines.append(hosts_grid(situation.hosts, most=MOST_HOSTS, now=situation.at))
        failed = failures_line(situation)
        if failed:
            lines.append(Text(failed, style="red", overflow="ellipsis", no_wrap=True))
        lines += [Text(f"  {part.progress}") for part in situation.parts[:MOST_HOSTS]]
    for reason in reasons[:MOST_REASONS]:
        lines.append(Text(f"  {reason}", style="yellow"))
    if len(reasons) > MOST_REASONS:
        lines.append(Text(f"  … and {len(reasons) - MOST_REASONS} more reasons", style="yellow"))
    return lines


def hosts_grid(hosts: Sequence[HostRow], *, most: int, now: datetime) -> Group:
    """``gpu-1  qwen3:8b  42 tok/s  3 running``: at most ``most``, those that do something first."""
    grid = plain_table("host", "does", "tokens", "jobs", right=("tokens", "jobs"), cut=("host", "does"))
    grid.show_header = False
    shown = hosts if len(hosts) <= most else sorted(hosts, key=lambda host: (not host.running, host.name))
    for host in shown[:most]:
        grid.add_row(
            one_line(host.name),
            one_line(host_does(host, now)),
            f"{host.tokens_per_second:,.0f} tok/s"
            if host.tokens_per_second and host.unreachable_since is None
            else "",
            _at_work(host),
        )
    more = [Text(f"  … and {len(hosts) - most:,} more")] if len(hosts) > most else []
    return Group(Padding(grid, (0, 0, 0, 2)), *more)


def _at_work(host: HostRow) -> str:
    """Jobs that are being answered, and those that were claimed ahead.

    >>> from worker.domain.hosts import Host
    >>> _at_work(HostRow(Host("gpu-1", "http://gpu-1:11434", slots=4), running=95))
    '4 running, 91 claimed'
    """
    running = min(host.running, host.slots)
    claimed = f", {host.running - running:,} claimed" if host.running > running else ""
    return f"{running:,} running{claimed}" if running else ""


def host_does(host: HostRow, now: datetime) -> str:
    """What a host does, in a few words."""
    if host.unreachable_since is not None:
        return "cannot be reached"
    if host.intent is not None:
        busy = host.resident is not None and host.running > 0
        return f"{host.resident}, then {host.intent}" if busy else f"loading {host.intent}"
    if host.quarantined_until is not None and host.quarantined_until > now:
        return f"in quarantine: {host.quarantine_reason}"
    if host.closed and not host.draining:
        opens = "" if host.opens_at is None else f" until {host.opens_at.astimezone():%a %H:%M}"
        return f"closed{opens}"
    mark = " (drained)" if host.draining else " (slow)" if host.slow_reason is not None else ""
    return (host.resident or "nothing loaded") + mark


def models_grid(models: Sequence[ModelNow]) -> Padding:
    """A line per model: jobs by where they stand (claimed: a host has taken them, and answers some of them), and the speed
    of the last minute."""
    numbers = ("waiting", "claimed", "held", "done", "failed", "jobs/s", "tok/s")
    table = plain_table("model", *numbers, right=numbers, cut=("model",))
    for model in models:
        speeds = (model.jobs_per_second, model.tokens_per_second)
        counts = (model.waiting, model.running, model.held, model.done, model.failed)
        table.add_row(
            one_line(model.model),
            *(f"{n:,}" if n else "–" for n in counts),
            f"{speeds[0]:,.1f}" if speeds[0] else "–",
            f"{speeds[1]:,.0f}" if speeds[1] else "–",
        )
    return Padding(table, (0, 0, 0, 2))


def failures_line(situation: Situation) -> str:
    """``  failed: 12 context_overflow, 3 cut``; empty where none did."""
    failed = situation.counts.get(JobState.FAILED, 0)
    if not failed:
        return ""
    parts = [f"{n:,} {code}" for code, n in situation.failures.items()]
    rest = failed - sum(situation.failures.values())
    if rest > 0:
        parts.append(f"{rest:,} more" if parts else f"{rest:,}")
    return f"  failed: {', '.join(parts)}"


def progress_line(
    progress: BatchProgress, rate: Rates | None = None, *, hosts: Sequence[HostRow] = ()
) -> str:
    """``batch 7 (prompts.jsonl): 912 of 1,000 done, 3 failed, about 6 min left``. With ``hosts`` it counts
    the jobs that are claimed ahead apart from those that are being answered."""
    counts, batch = dict(progress.counts), progress.batch
    parts = [f"{progress.done:,} of {progress.total:,} done"]
    taken, at_work = counts.get(JobState.RUNNING, 0), sum(min(host.running, host.slots) for host in hosts)
    if hosts and at_work < taken:
        del counts[JobState.RUNNING]
        parts += [f"{at_work:,} running"] if at_work else []
        parts.append(f"{taken - at_work:,} claimed")
    parts += [f"{counts[state]:,} {state}" for state in _NOTEWORTHY if counts.get(state)]
    if rate is not None and rate.eta_seconds is not None and progress.open:
        parts.append(f"{rate.jobs_per_second:.1f} jobs/s, about {eta(rate)} left")
    return f"batch {batch.id} ({batch.name}): {', '.join(parts)}"


_NOTEWORTHY = (
    JobState.RUNNING,
    JobState.WAITING,
    JobState.FAILED,
    JobState.HELD,
    JobState.CANCELLED,
    JobState.EXPIRED,
)


def _box(plain: bool) -> box.Box | None:
    return None if plain else box.SIMPLE_HEAD


def summary_tables(
    progress: BatchProgress, figures: Sequence[ModelFigures], seconds: float | None, *, plain: bool
) -> list[RenderableType]:
    """Jobs per state, and what each model did; without lines where ``plain``."""
    # a title of its own: a table's would be folded to the width of the table
    title = Text(f"batch {progress.batch.id} ({progress.batch.name})", style="italic")
    states = Table(box=_box(plain))
    states.add_column("state")
    states.add_column("jobs", justify="right")
    for state in JobState:
        if progress.counts.get(state):
            states.add_row(str(state), f"{progress.counts[state]:,}")
    if seconds is not None:
        states.caption, states.caption_justify = f"in {duration(seconds)}", "left"
    models = Table(box=_box(plain))
    models.add_column("model", overflow="fold")
    rare = [name for name in ("empty", "unfit") if any(getattr(row.answers, name) for row in figures)]
    for name in ("jobs", "failed", "cut", *rare, "prompt tok", "output tok", "tok/s each"):
        models.add_column(name, justify="right", no_wrap=True)
    for row in figures:
        speed = row.output_tokens / row.eval_seconds if row.eval_seconds else None
        models.add_row(
            row.model if plain else one_line(row.model),
            f"{row.jobs:,}",
            f"{row.failed:,}",
            f"{row.answers.cut:,}",
            *(f"{getattr(row.answers, name):,}" for name in rare),
            f"{row.prompt_tokens:,}",
            f"{row.output_tokens:,}",
            "–" if speed is None else f"{speed:,.1f}",
        )
    return [title, states, models]

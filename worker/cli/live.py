"""How far a batch is, drawn on a terminal: the bar, and what hosts and models do beneath it."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from worker.cli.block import Block
from worker.cli.plain import cells
from worker.cli.progress import failures_line
from worker.cli.render import Rates, eta, one_line, plain_table, without_eta
from worker.domain.batches import BatchProgress
from worker.explain.situation import ModelNow, Situation
from worker.storage.host_rows import HostRow

SHORTEST_BAR = 6
"""Columns; a bar that would be shorter is left out."""


class LiveProgress:
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
        lines.append(Padding(Text(reason, style="yellow"), (0, 0, 0, 2)))
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
    >>> _at_work(HostRow(Host("gpu-1", "http://gpu-1:11434"), running=95, claimed=91))
    '4 running, 91 claimed'
    """
    running = host.running - host.claimed
    parts = [f"{running:,} running"] if running else []
    return ", ".join([*parts, f"{host.claimed:,} claimed"] if host.claimed else parts)


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
    if host.rests_after is not None:
        return f"rests after {host.rests_after.code}"
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

"""How far a batch is: the bar and lines while it runs, and the tables of its summary."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from worker.cli.plain import without_spans
from worker.cli.render import Console, PlainTable, Rates, duration, eta, one_line, without_eta
from worker.domain.batches import BatchProgress
from worker.domain.jobs import JobState
from worker.explain.situation import Situation
from worker.storage.results import ModelFigures

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
        from worker.cli.block import block_drawn
        from worker.cli.live import LiveProgress

        with block_drawn(console) as block:
            yield LiveProgress(block).show
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
            self._print(progress_line(progress, without_eta(rates) if reasons else rates))
        lasting = [without_spans(reason) for reason in reasons]
        if lasting != self._reasons:
            self._reasons = lasting
            for reason in reasons:
                self._print(f"waiting: {reason}")

    def _print(self, line: str) -> None:
        self._console.print(line)


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


def progress_line(progress: BatchProgress, rate: Rates | None = None) -> str:
    """``batch 7 (prompts.jsonl): 912 of 1,000 done, 4 running, 91 claimed, 3 failed, ETA 6 min``."""
    counts, batch = dict(progress.counts), progress.batch
    parts = [f"{progress.done:,} of {progress.total:,} done"]
    if progress.claimed:
        at_work = counts.pop(JobState.RUNNING) - progress.claimed
        parts += [f"{at_work:,} running"] if at_work else []
        parts.append(f"{progress.claimed:,} claimed")
    parts += [f"{counts[state]:,} {state}" for state in _NOTEWORTHY if counts.get(state)]
    if rate is not None and rate.eta_seconds is not None and progress.open:
        if rate.jobs_per_second >= 0.05:  # one that has just begun to look knows none
            parts.append(f"{rate.jobs_per_second:.1f} jobs/s")
        parts.append(f"ETA {eta(rate)}")
    return f"batch {batch.id} ({batch.name}): {', '.join(parts)}"


_NOTEWORTHY = (
    JobState.RUNNING,
    JobState.WAITING,
    JobState.FAILED,
    JobState.HELD,
    JobState.CANCELLED,
    JobState.EXPIRED,
)


def summary_tables(
    progress: BatchProgress, figures: Sequence[ModelFigures], seconds: float | None, *, ruled: bool
) -> Iterator[str | PlainTable]:
    """Jobs per state, and what each model did; with lines beneath the heads where ``ruled``."""
    lasted = "" if seconds is None else f", in {duration(seconds)}"
    yield f"batch {progress.batch.id} ({progress.batch.name}){lasted}"
    states = PlainTable(("state", "jobs"), right=("jobs",), ruled=ruled)
    for state in JobState:
        if progress.counts.get(state):
            states.add_row(str(state), f"{progress.counts[state]:,}")
    yield states
    rare = [name for name in ("empty", "unfit") if any(getattr(row.answers, name) for row in figures)]
    numbers = ("jobs", "failed", "cut", *rare, "prompt tok", "output tok", "tok/s each")
    models = PlainTable(("model", *numbers), right=numbers, cut=("model",), ruled=ruled)
    for row in figures:
        speed = row.output_tokens / row.eval_seconds if row.eval_seconds else None
        models.add_row(
            one_line(row.model),
            f"{row.jobs:,}",
            f"{row.failed:,}",
            f"{row.answers.cut:,}",
            *(f"{getattr(row.answers, name):,}" for name in rare),
            f"{row.prompt_tokens:,}",
            f"{row.output_tokens:,}",
            "–" if speed is None else f"{speed:,.1f}",
        )
    if figures:
        yield models

"""``caravan watch``: progress, from one look to the next."""

import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.progress_bar import ProgressBar
from rich.text import Text

from worker.cli.block import block_drawn
from worker.cli.eta import Eta
from worker.cli.exits import finished_code
from worker.cli.groups import BATCH_IN_WORDS
from worker.cli.json_output import print_json
from worker.cli.live import beneath, hosts_grid, models_grid
from worker.cli.plain import without_spans
from worker.cli.progress import progress_line
from worker.cli.render import Console, Rates, output_console, rates, without_eta
from worker.cli.settings import opened, settings_for
from worker.cli.streams import reader_gone
from worker.clock import Clock
from worker.domain.batches import BatchProgress, BatchState
from worker.domain.jobs import JobState
from worker.errors import DatabaseFailure
from worker.explain.reasons import why_nothing_moves
from worker.explain.situation import Situation, situation
from worker.quote.quote import Quoted, quote_batch
from worker.stack.home import server_of
from worker.storage.batches import find_batch
from worker.storage.engine import Database

RATE_SECONDS = 60.0
"""Jobs per second are said over this long."""


def watch(
    batch: Annotated[
        str | None, typer.Argument(metavar="[BATCH]", help=f"{BATCH_IN_WORDS}; none: all jobs.")
    ] = None,
    interval: Annotated[float, typer.Option(min=0.2, help="Seconds between updates.")] = 1.0,
    json_: Annotated[bool, typer.Option("--json", help="Print a JSON line for each update.")] = False,
) -> None:
    """Watch a batch until it is done, or all work.

    Shows models, hosts, speeds, failures, and what it waits for. Off a terminal it prints a line for each change.
    Exit code: 0; 2 where it was refused; 3 where jobs failed or are held; 130 after Ctrl-C.

    Example: caravan watch @last
    """
    settings = settings_for()
    console = output_console()
    with opened(settings) as database:
        clock = database.clock()
        with database.read() as conn:
            batch_id = None if batch is None else find_batch(conn, batch).id
        pace = _Pace()
        eta = Eta(_rest(database, clock, batch_id))
        try:
            screen = _JsonLines(console) if json_ else _screen(console)
            with screen:
                while True:
                    try:
                        now = situation(database, batch_id, clock=clock, server=server_of(settings))
                    except DatabaseFailure as error:
                        screen.away(str(error))
                    else:
                        rate = eta.into(pace.rates(now))
                        reasons = [] if _moves(now) else why_nothing_moves(now, now.at)
                        screen.show(now, without_eta(rate) if reasons else rate, reasons)
                        if now.progress is not None and _is_over(now.progress):
                            break
                    if reader_gone():
                        raise BrokenPipeError
                    time.sleep(interval)  # noqa: TID251 - people look at this
        except KeyboardInterrupt:
            raise typer.Exit(130) from None
    assert now.progress is not None
    raise typer.Exit(finished_code(now.progress))


def _rest(database: Database, clock: Clock, batch_id: int | None) -> Callable[[], Quoted]:
    def read() -> Quoted:
        with database.read() as conn:
            return quote_batch(conn, batch_id, now=clock.now())

    return read


def _is_over(progress: BatchProgress) -> bool:
    return progress.batch.state is BatchState.REFUSED or bool(progress.total and not progress.open)


def _moves(now: Situation) -> bool:
    return now.counts.get(JobState.RUNNING, 0) > 0


class _Pace:
    """Jobs per second over the last minute, from one look to the next."""

    def __init__(self) -> None:
        self._looks: deque[tuple[datetime, int]] = deque()

    def rates(self, now: Situation) -> Rates:
        total = sum(now.counts.values())
        done = sum(model.done for model in now.models)
        self._looks.append((now.at, done))
        while len(self._looks) > 2 and (now.at - self._looks[0][0]).total_seconds() > RATE_SECONDS:
            self._looks.popleft()
        since, first = self._looks[0]
        left = total - done - now.counts.get(JobState.HELD, 0)
        pace = rates(ended=done - first, unfinished=left, tokens=0, seconds=(now.at - since).total_seconds())
        return Rates(pace.jobs_per_second, now.tokens_per_second, pace.eta_seconds)


class _Screen:
    """The picture on a terminal; the last one stays."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._drawing = block_drawn(console)
        self._picture: Group | Text = Text()

    def __enter__(self) -> "_Screen":
        self._block = self._drawing.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._drawing.__exit__(None, None, None)
        self._console.print(self._picture)

    def show(self, now: Situation, rate: Rates, reasons: Sequence[str]) -> None:
        self._draw(picture(now, rate, reasons))

    def away(self, message: str) -> None:
        self._draw(Text(f"the database is away: {message}", style="yellow"))

    def _draw(self, picture: Group | Text) -> None:
        self._picture = picture
        self._block.draw(picture)


class _Lines(_Screen):
    """A line for each change, where nobody looks at it now."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._said: tuple[object, ...] = ()
        self._reasons: list[str] = []

    def __enter__(self) -> "_Screen":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, now: Situation, rate: Rates, reasons: Sequence[str]) -> None:
        state = now.progress.batch.state if now.progress else None
        counts = (state, *sorted(now.counts.items()))
        if counts != self._said:
            self._said = counts
            self._console.print(headline(now, rate))
        lasting = [without_spans(reason) for reason in reasons]
        if lasting != self._reasons:
            self._reasons = lasting
            for reason in reasons:
                self._console.print(f"waiting: {reason}")

    def away(self, message: str) -> None:
        if self._said != (message,):
            self._said = (message,)
            self._console.print(f"the database is away: {message}")


class _JsonLines(_Lines):
    """A JSON line for each look."""

    def show(self, now: Situation, rate: Rates, reasons: Sequence[str]) -> None:
        from worker.exports.output.situation import situation_output

        print_json(situation_output(now, list(reasons)))
        sys.stdout.flush()

    def away(self, message: str) -> None:
        from api_schemas.output.situation import AwayOutput

        print_json(AwayOutput(away=message))
        sys.stdout.flush()


def _screen(console: Console) -> _Screen:
    return _Screen(console) if console.is_terminal else _Lines(console)


def headline(now: Situation, rate: Rates) -> str:
    """How far it is, in a line."""
    if now.progress is not None:
        return progress_line(now.progress, rate)
    counts: dict[str, int] = {str(state): n for state, n in sorted(now.counts.items())}
    claimed = sum(host.claimed for host in now.hosts)
    if claimed:
        counts[JobState.RUNNING] = max(0, counts.get(JobState.RUNNING, 0) - claimed)
        counts["claimed"] = claimed
    words = ", ".join(f"{n:,} {state}" for state, n in counts.items() if n)
    return f"all batches: {words or 'no jobs'}"


def picture(now: Situation, rate: Rates, reasons: Sequence[str]) -> Group:
    """What ``watch`` shows on a terminal."""
    parts: list[Any] = [Text(headline(now, rate), style="bold")]
    if now.progress is not None and now.progress.total:
        total, done = now.progress.total, now.progress.done
        parts.append(ProgressBar(total=total, completed=done, complete_style="green", finished_style="green"))
    if now.models:
        parts += [Text(""), models_grid(now.models[:20])]
        if len(now.models) > 20:
            parts.append(Text(f"  … and {len(now.models) - 20} more models"))
    parts.append(Text(""))
    if len(now.hosts) > 8:
        parts += [hosts_grid(now.hosts, most=24, now=now.at), *beneath(replace(now, hosts=()), reasons)]
    else:
        parts += beneath(now, reasons)
    return Group(*parts)

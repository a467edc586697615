"""The main job while a person looks on: serve, show, end when nothing can move any more, sum up."""

import shlex
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import typer
from rich.console import Console
from rich.text import Text

from worker.cli.eta import Eta
from worker.cli.exits import finished_code
from worker.cli.outputs import outputs_of, written
from worker.cli.render import batch_progress_shown, duration, progress_line, rates, summary_tables
from worker.cli.streams import machine_output, print_json
from worker.cli.submissions import Wanted
from worker.clock import Clock
from worker.domain.batches import Batch, BatchProgress
from worker.domain.jobs import JobState
from worker.domain.runners import without_window
from worker.domain.selection import Selection
from worker.domain.urls import masked
from worker.door.submit import Receipt
from worker.errors import DatabaseFailure, DatabaseUnavailable, InputRefused
from worker.explain import why_nothing_moves
from worker.explain.situation import Server, Situation, situation
from worker.exports.results import write_results, write_results_file
from worker.policy.answers import advice, unproved
from worker.policy.first_come import first_come_loads
from worker.policy.outlook import Outlook, outlook
from worker.quote.quote import Quoted
from worker.settings import Settings
from worker.stack.home import server_of
from worker.storage.answers import answer_counts
from worker.storage.changes import Changes
from worker.storage.counts import batch_progress
from worker.storage.engine import Connection, Database, sqlite_file
from worker.storage.pauses import first_failure
from worker.storage.reports import failures_by_code, runner_keys_in_order
from worker.storage.results import model_figures
from worker.storage.runs import loads_since

LOOK_SECONDS = 0.25
SITUATION_SECONDS = 1.0
PATIENT = 400
"""Times the CPU of the last read passes until the next: looking on takes a four-hundredth of the time, and no more."""
MOST_SECONDS = 3.0
"""What is shown is never older."""
FEW = 8
"""Jobs; with fewer that are open the end is near, and is not to be missed."""
SAY_AFTER = 3.0
"""Seconds without a running job after which it is said why."""
MOST_COMPARED = 10_000
"""Jobs of a batch whose loads are compared with those of first-come-first-served."""
DATABASE_SECONDS = 30.0
"""How long the summary waits for a database that is away."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Watched:
    """A batch, and where it is looked at."""

    database: Database
    clock: Clock
    settings: Settings
    batch: Batch
    hosts: Callable[[], Collection[str]]
    """Names of the hosts that count."""
    output_tokens: Callable[[], int] | None = None
    """Generated since the start; None where another process serves, and the results tell how fast."""
    rest: Callable[[], Quoted] | None = None
    """What the rest of it takes."""
    served: Callable[[], bool] | None = None
    """Whether the process that serves the batch is still there; None where it is this one."""
    pilot: str = ""
    """What the same command does without ``--sample`` or ``--limit``."""
    bound: Callable[[], int] | None = None
    """Holds what came back to the queue and lies outside of ``--limit``; how many such jobs run still."""


@dataclass(frozen=True, slots=True)
class Watching:
    """How it went."""

    progress: BatchProgress
    outlook: Outlook
    reasons: Sequence[str]
    seconds: float


class _Pace:
    """When something is read again: the next time after a multiple of what the last time took."""

    def __init__(self, least: float) -> None:
        self._least = least
        self._read_at = float("-inf")
        self._rest = least

    def is_due(self, now: float, *, changed: bool = True, soon: bool = False) -> bool:
        """``changed``: there may be something new; ``soon``: it is worth its time."""
        since = now - self._read_at
        if soon and changed:
            return since >= self._least
        return since >= (self._rest if changed else MOST_SECONDS)

    @contextmanager
    def reading(self) -> Iterator[None]:
        began = time.thread_time()
        try:
            yield
        finally:
            self._read_at = time.monotonic()
            self._rest = min(MOST_SECONDS, max(self._least, PATIENT * (time.thread_time() - began)))


def watch_to_the_end(watched: Watched, console: Console, *, wait_hosts: float) -> Watching:
    """Show progress until nothing of the batch can change by itself any more. Raises KeyboardInterrupt."""
    progress = read_progress(watched)
    began = moved_at = read_at = served_at = time.monotonic()
    first = progress.done
    outlooked = Outlook.GOING if progress.open else Outlook.DONE
    reasons: list[str] = []
    changed = True
    seen: Situation | None = None
    if not progress.open:
        return Watching(progress, outlooked, reasons, 0.0)
    eta = None if watched.rest is None else Eta(watched.rest)
    bound = watched.bound
    # where another process serves, it is a caravan up, or the workers of a fleet
    server = Server.SELF if watched.served is None else server_of(watched.settings)
    if progress.done:
        console.print(f"Going on where it stopped: {progress_line(progress)}")
    paces = {"progress": _Pace(0.0), "situation": _Pace(SITUATION_SECONDS)}
    with (
        closing(Changes(watched.database)) as changes,
        batch_progress_shown(console, progress) as show,
    ):
        while outlooked is Outlook.GOING:
            time.sleep(LOOK_SECONDS)  # noqa: TID251 - people look at this
            now = time.monotonic()
            changed = changes.any() or changed
            try:
                if paces["progress"].is_due(now, changed=changed, soon=progress.open <= FEW):
                    with paces["progress"].reading():
                        progress = _progress(watched)
                    changed, read_at = False, now
                if seen is None or paces["situation"].is_due(now, soon=not progress.open):
                    if bound is not None and not bound():
                        bound = None
                    with paces["situation"].reading():
                        seen = situation(
                            watched.database,
                            watched.batch.id,
                            clock=watched.clock,
                            among=watched.hosts(),
                            server=server,
                        )
                    if any(model.running for model in seen.models):
                        moved_at = now
                    reasons = []
                    if now - moved_at >= SAY_AFTER:
                        reasons = why_nothing_moves(seen, seen.at)
                    if watched.served is None or watched.served():
                        served_at = now
                    outlooked = outlook(
                        progress,
                        running=sum(model.running for model in seen.models),
                        unreachable_since=[host.unreachable_since for host in seen.hosts],
                        now=seen.at,
                        wait_hosts=timedelta(seconds=wait_hosts),
                    )
                    if outlooked is Outlook.GOING and now - served_at >= wait_hosts:
                        outlooked = Outlook.NO_HOST
                elif not progress.open:
                    outlooked = Outlook.DONE
            except DatabaseUnavailable as error:  # the workers ride it out, and so does the bar
                still = rates(done=0, left=0, tokens=0, seconds=0)
                show(
                    progress,
                    still,
                    reasons=[f"the database is away or its disk is full; work waits: {error}"],
                )
                continue
            except DatabaseFailure:
                if now - read_at > DATABASE_SECONDS:  # it is there and refuses: waiting longer does not help
                    raise
                continue
            rate = rates(
                done=progress.done - first,
                left=progress.open,
                tokens=0 if watched.output_tokens is None else watched.output_tokens(),
                seconds=now - began,
            )
            if watched.output_tokens is None and seen is not None:
                rate = replace(rate, tokens_per_second=seen.tokens_per_second)
            if eta is not None and progress.open:
                rate = eta.into(rate)
            show(progress, rate, situation=seen, reasons=reasons)
    if outlooked is not Outlook.DONE and seen is not None:
        reasons = why_nothing_moves(seen, seen.at)
        if watched.served is not None and not watched.served():
            reasons = ["the caravan up that served it has ended"]
    return Watching(progress, outlooked, reasons, time.monotonic() - began)


def _progress(watched: Watched) -> BatchProgress:
    with watched.database.read() as conn:
        return batch_progress(conn, watched.batch.id)


def read_progress(watched: Watched) -> BatchProgress:
    """How far the batch is, though the database may be away for a while."""
    return patiently(lambda: _progress(watched))


def patiently(read: Callable[[], T]) -> T:
    """What ``read`` gives, tried for ``DATABASE_SECONDS``. Raises DatabaseFailure after that."""
    until = time.monotonic() + DATABASE_SECONDS
    while True:
        try:
            return read()
        except DatabaseFailure:
            if time.monotonic() > until:
                raise
            time.sleep(LOOK_SECONDS)  # noqa: TID251 - a person waits for the summary


def write_output(
    watched: Watched, watching: Watching, wanted: Wanted, console: Console, arrived: Receipt
) -> bool:
    """Write the results where they were asked for, once the batch has come to its end; whether that was done.

    A file is there only when it is complete: after an interruption, and where no host can serve the rest, the command
    that writes it is printed.
    """
    output = wanted.output
    if output is None:
        return True
    later = f"caravan results {watched.batch.id} -o {shlex.quote(str(output))}"
    chosen = None if arrived.only is None else Selection(watched.batch.id, job_ids=arrived.only)
    if watching.outlook is not Outlook.DONE:
        progress = watching.progress
        console.print(
            f"{progress.done:,} of {progress.total - progress.outside:,} are answered; {output} is written when all "
            f"{'within the limit ' if arrived.only is not None else ''}are. "
            f"To write it as it is now: {later}",
            soft_wrap=True,
        )
        return True
    if str(output) == "-":
        with suppress(BrokenPipeError), machine_output() as out:
            patiently(lambda: write_results(watched.database, watched.batch.id, out, chosen=chosen))
        return True
    try:
        with written(wanted.outputs or outputs_of(watched.settings), output, later=later):
            lines = patiently(
                lambda: write_results_file(
                    watched.database,
                    watched.batch.id,
                    output,
                    columns=arrived.columns,
                    bom=wanted.bom,
                    safe=not wanted.raw,
                    chosen=chosen,
                )
            )
    except (OSError, InputRefused) as error:
        _say_unwritten(output, error, later)
        return False
    console.print(f"{lines:,} results in {output}")
    return True


def _say_unwritten(output: Path, error: OSError | InputRefused, later: str) -> None:
    """On standard error, also under -q: all work was done, and the file that was asked for is not there."""
    if isinstance(error, OSError):
        typer.echo(f"caravan: {output}: {error.strerror}", err=True)
        return
    for problem in error.problems:
        typer.echo(f"caravan: {problem}", err=True)
    typer.echo(f"caravan: the answers are stored; write them with: {later}", err=True)


def sum_up(
    watched: Watched,
    watching: Watching,
    console: Console,
    *,
    as_json: bool,
    hosts: int,
    counted: int | None = None,
    show_answer: bool = False,
    written: bool = False,
) -> int:
    """Print the summary and return the exit code. ``counted``: loads as simulated hosts counted them; ``written``: the
    results are where they were asked for."""
    if as_json:
        patiently(lambda: _print_json(watched, watching))
    else:
        patiently(lambda: _summarise(watched, watching, console, hosts, counted, show_answer, written))
    match watching.outlook:
        case Outlook.NO_HOST:
            _say(console, "No host can serve the rest:", watching.reasons)
            console.print("The same command goes on where it stopped.")
            return 4
        case Outlook.PAUSED:
            _say(console, "The rest waits:", watching.reasons)
            return 3
        case _:
            if watching.reasons and watching.progress.total != watching.progress.done:
                _say(console, "The rest waits:", watching.reasons)
            return finished_code(watching.progress)


def _say(console: Console, what: str, reasons: Sequence[str]) -> None:
    console.print(what, style="yellow")
    for reason in reasons:
        console.print(f"  {reason}", style="yellow", soft_wrap=True)


def _print_json(watched: Watched, watching: Watching) -> None:
    progress = watching.progress
    with watched.database.read() as conn:
        loads, load_seconds = loads_since(conn, progress.batch.created_at)
        flaws = answer_counts(conn, progress.batch.id)
    plain: dict[str, Any] = {
        "batch": progress.batch.id,
        "key": progress.batch.key,
        "name": progress.batch.name,
        "state": progress.batch.state,
        "counts": {str(state): n for state, n in progress.counts.items()},
        "total": progress.total,
        "answers": asdict(flaws),
        "seconds": round(watching.seconds, 3),
        "loads": loads,
        "load_seconds": round(load_seconds, 3),
        "ended": watching.outlook,
        "reasons": list(watching.reasons),
        "database": masked(watched.settings.database),
    }
    print_json(plain)


def _first_come(conn: Connection, batch: Batch, hosts: int, loads: int) -> str:
    """What the loads compare with where that would have been more; nothing for a large batch, of which every job would be
    read for it."""
    if batch.jobs > MOST_COMPARED:
        return ""
    keys = map(without_window, runner_keys_in_order(conn, batch.id))
    naive = first_come_loads(keys, hosts=max(1, hosts))
    return f"; first-come-first-served would have done {naive}" if naive > loads else ""


def _summarise(
    watched: Watched,
    watching: Watching,
    console: Console,
    hosts: int,
    counted: int | None,
    show_answer: bool,
    written: bool,
) -> None:
    batch = watching.progress.batch
    with watched.database.read() as conn:
        figures = model_figures(conn, batch.id)
        flaws = answer_counts(conn, batch.id)
        loads, load_seconds = loads_since(conn, batch.created_at)
        naive = _first_come(conn, batch, hosts, loads)
        failures = failures_by_code(conn, batch.id) if any(row.failed for row in figures) else {}
        messages = {code: first_failure(conn, batch.id, code) or "" for code in failures}
    for table in summary_tables(watching.progress, figures, watching.seconds, plain=not console.is_terminal):
        console.print(table)
    by_hosts = "" if counted is None else f" (the simulated hosts counted {counted})"
    lost = f" in {duration(load_seconds)}" if load_seconds >= 1 else ""
    console.print(f"Model loads: {loads}{lost}{by_hosts}{naive}.")
    for code, jobs in failures.items():
        why = " ".join(messages[code].split())[:200]
        console.print(f"{jobs:,} failed with {code}: {why}", style="red", soft_wrap=True)
    reused = sum(row.reused for row in figures)
    if reused:
        console.print(f"{reused:,} answers were stored before and taken again.")
    for line in (*advice(flaws, batch.id), *unproved(sum(row.unproved for row in figures), batch.id)):
        console.print(line, style="yellow", markup=False, soft_wrap=True)
    if show_answer:
        _show_one(watched, console)
        _where(watched.settings, console, batch)
        return
    for step in next_steps(watching.progress, failures, stored=written, pilot=watched.pilot):
        console.print(step, soft_wrap=True)


def next_steps(
    progress: BatchProgress, failures: Mapping[str, int], *, stored: bool, pilot: str = ""
) -> Iterator[str]:
    """The commands that help after a run. ``stored``: its results are in a file, or were printed; ``pilot``: what the same
    command does without the option that makes it one."""
    batch, remedy = progress.batch.id, " --set num_ctx=…" if "context_overflow" in failures else ""
    if failures:
        yield f"Show them: caravan jobs {batch} --state failed"
        yield f"Ask them again: caravan retry {batch}{remedy}, then the same command"
    if progress.counts.get(JobState.HELD, 0) > progress.outside:
        yield f"Say why jobs are held: caravan explain {batch}"
    if not stored and progress.counts.get(JobState.SUCCEEDED):
        yield f"Write the answers: caravan results {batch} -o answers.csv"
    if pilot:
        yield pilot


def _show_one(watched: Watched, console: Console) -> None:
    """One answer, its reasoning folded to a line."""
    from worker.exports.results import result_lines

    best: dict[str, Any] | None = None
    for line in result_lines(watched.database, watched.batch.id):
        if line["answer"] and (best is None or (line["reasoning"] and not best["reasoning"])):
            best = line
            if line["reasoning"]:
                break
    if best is None:
        return
    console.print()
    console.print(Text.assemble((best["custom_id"], "bold"), f" by {best['model']} on {best['host']}:"))
    if best["reasoning"]:
        words = " ".join(best["reasoning"].split())
        console.print(f"  ▸ reasoning ({len(best['reasoning']):,} characters): {words[:60]}…", style="dim")
    console.print(f"  {best['answer'].strip()}")


def first_query(batch_id: int) -> str:
    """A query to begin with, on a view that is promised."""
    return (
        "SELECT model, count(*), sum(output_tokens) FROM report_results "
        f"WHERE batch = {batch_id} GROUP BY model"
    )


def _where(settings: Settings, console: Console, batch: Batch) -> None:
    query = first_query(batch.id)
    if file := sqlite_file(settings.database):
        place = str(file)
        console.print(f"\nDatabase: {place}", soft_wrap=True)
        console.print(f'Try: sqlite3 {shlex.quote(place)} "{query}"', soft_wrap=True)
    else:
        console.print(f"\nDatabase: {masked(settings.database)}", soft_wrap=True)
        console.print(f"Try: {query}", soft_wrap=True)

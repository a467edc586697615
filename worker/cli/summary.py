"""A batch that is worked on while a person looks on: a bar until nothing can move any more, then the summary."""

import shlex
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing, nullcontext, suppress
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from worker.cli.eta import Eta
from worker.cli.exits import FAILED_OR_HELD, finished_code
from worker.cli.json_output import print_json
from worker.cli.outputs import outputs_of, written
from worker.cli.progress import batch_progress_bar, progress_line, summary_tables
from worker.cli.render import Console, duration, rates
from worker.cli.streams import machine_output, say
from worker.cli.submissions import RunTerms
from worker.domain.batches import Batch, BatchProgress
from worker.domain.jobs import JobState
from worker.domain.numbers import count_of
from worker.domain.runners import without_window
from worker.domain.selection import Selection
from worker.domain.urls import masked
from worker.door.submit import Receipt
from worker.errors import Code, InputRefused
from worker.policy.answers import Room, advice, drifted, on_the_way, truncating, unproved
from worker.policy.first_come import first_come_loads
from worker.policy.outlook import Outlook
from worker.records import record
from worker.settings import Settings
from worker.stack.main_job import Look, Workplace, patiently, work
from worker.storage.answers import answer_counts, room_needed, stored_flaws
from worker.storage.engine import Connection, sqlite_file
from worker.storage.pauses import first_failure
from worker.storage.reports import failures_by_code, held_reasons, runner_keys_in_order
from worker.storage.results import model_figures
from worker.storage.runs import loads_since

if TYPE_CHECKING:
    from worker.quote.quote import Quoted

MOST_COMPARED = 10_000
"""Jobs of a batch whose loads are compared with those of first-come-first-served."""

ETA_AFTER = 1.0
"""Seconds; an estimate costs more than a short run has left."""
DRAW_SECONDS = 1.0
"""Between two pictures of the same figures, in which only the time that is left changes."""


@record
class RunView:
    """A batch that is worked on while a person looks on."""

    place: Workplace
    receipt: Receipt
    rest: "Callable[[], Quoted] | None" = None
    """What the rest of it takes."""
    pilot: str = ""
    """What the same command does without ``--sample`` or ``--limit``."""

    @property
    def batch(self) -> Batch:
        return self.receipt.batch

    @property
    def output_tokens(self) -> int:
        """Generated since the start; none where another process serves, and the results tell how fast."""
        return 0 if self.place.stack is None else self.place.stack.output_tokens


def show_to_the_end(view: RunView, console: Console, *, wait_hosts: float) -> Look:
    """Work on the batch and show how far it is, until nothing of it can change by itself any more; the last look at it.
    Raises KeyboardInterrupt."""
    with closing(work(view.place, view.receipt, wait_hosts=wait_hosts)) as looks:
        return _show(view, looks, console)


def _show(view: RunView, looks: Iterator[Look], console: Console) -> Look:
    look = next(looks)
    first = look.progress
    if first.open and first.done:
        console.print(f"Going on where it stopped: {progress_line(first)}")
    eta = None if view.rest is None else Eta(view.rest)
    drawn: Look | None = None
    with batch_progress_bar(console, first) if first.open else nullcontext() as show:
        for look in looks:
            if show is None or not is_news(look, drawn):
                continue
            drawn = look
            if look.away is not None:  # the workers ride it out, and so does the bar
                why = f"work waits for the database: {look.away}"
                show(look.progress, rates(ended=0, unfinished=0, tokens=0, seconds=0), reasons=[why])
                continue
            rate = rates(
                ended=look.progress.done - first.done,
                unfinished=look.progress.open,
                tokens=view.output_tokens,
                seconds=look.seconds,
            )
            if view.place.stack is None and look.situation is not None:
                rate = replace(rate, tokens_per_second=look.situation.tokens_per_second)
            if eta is not None and look.progress.open and look.seconds >= ETA_AFTER:
                rate = eta.into(rate)
            show(look.progress, rate, situation=look.situation, reasons=look.reasons)
    return look


def is_news(look: Look, drawn: Look | None) -> bool:
    """Whether the picture would differ: something was read since, or the time that is left may be another by now."""
    if drawn is None or look.away is not None or drawn.away is not None:
        return True
    if look.seconds - drawn.seconds >= DRAW_SECONDS:
        return True
    return look.progress is not drawn.progress or look.situation is not drawn.situation


def interrupted(view: RunView, seconds: float) -> Look:
    """How things stand once somebody has ended the work."""
    progress = patiently(lambda: view.place.read(view.batch.id))
    return Look(progress, Outlook.GOING, seconds)


def write_output(view: RunView, look: Look, terms: RunTerms, console: Console) -> bool:
    """Write the results where they were asked for, once the batch has come to its end; whether that was done.

    A file is there only when it is complete: after an interruption, and where no host can serve the rest, the command
    that writes it is printed.
    """
    output = terms.output
    if output is None:
        return True
    from worker.exports.files import ResultWriter

    wide = " --wide" if terms.wide else ""
    later = f"caravan results {view.batch.id}{wide} -o {shlex.quote(str(output))}"
    arrived = view.receipt
    writer = ResultWriter(
        view.place.database,
        Selection(view.batch.id, job_ids=arrived.only),
        wide=terms.wide,
        form=terms.form,
        columns=arrived.columns,
        say=console.print,
    )
    if look.outlook is not Outlook.DONE:
        progress = look.progress
        console.print(
            f"{progress.done:,} of {progress.total - progress.outside:,} are done; {output} is written when all "
            f"{'within the limit ' if arrived.only is not None else ''}are.",
        )
        console.print(f"To write it as it is now: {later}")
        return True
    if str(output) == "-":
        with suppress(BrokenPipeError), machine_output() as out:
            patiently(lambda: writer.lines(out))
        return True
    try:
        with written(terms.outputs or outputs_of(view.place.settings), output, later=later):
            lines = patiently(lambda: writer.file(output))
    except (OSError, InputRefused) as error:
        _say_unwritten(output, error, later)
        return False
    console.print(f"{count_of(lines, 'row' if terms.wide else 'result')} in {output}")
    return True


def _say_unwritten(output: Path, error: OSError | InputRefused, later: str) -> None:
    """On standard error, also under -q: all work was done, and the file that was asked for is not there."""
    if isinstance(error, OSError):
        say(f"caravan: {output}: {error.strerror}")
        return
    for problem in error.problems:
        say(f"caravan: {problem}")
    say(f"caravan: the answers are stored; write them with: {later}")


def sum_up(
    view: RunView,
    look: Look,
    console: Console,
    *,
    as_json: bool,
    counted: int | None = None,
    show_answer: bool = False,
    written: bool = False,
) -> int:
    """Print the summary and return the exit code. ``counted``: loads as simulated hosts counted them; ``written``: the
    results are where they were asked for."""
    if as_json:
        patiently(lambda: _print_json(view, look))
    else:
        patiently(lambda: _summarise(view, look, console, counted, show_answer, written))
    match look.outlook:
        case Outlook.NO_HOST:
            code = say_rest(console, look)
            console.print("The same command goes on where it stopped.")
            return code
        case Outlook.PAUSED:
            return say_rest(console, look)
        case _:
            if look.reasons and look.progress.total != look.progress.done:
                say_rest(console, look)
            return finished_code(look.progress)


def say_rest(console: Console, look: Look) -> int:
    """Say why the rest of a batch does not move. Returns the exit code."""
    no_host = look.outlook is Outlook.NO_HOST
    console.print("No host can serve the rest:" if no_host else "The rest waits:", style="yellow")
    for reason in look.reasons:
        console.print(f"  {reason}", style="yellow")
    return 4 if no_host else FAILED_OR_HELD


def _print_json(view: RunView, look: Look) -> None:
    from api_schemas.output.batches import (  # shapes of JSON, which few runs print
        AnswerCountsOutput,
        RunOutput,
    )
    from worker.exports.output.batches import batch_output

    progress = look.progress
    with view.place.database.read() as conn:
        loads, load_seconds = loads_since(conn, _since(view))
        flaws = answer_counts(conn, progress.batch.id)
    print_json(
        RunOutput(
            **dict(batch_output(progress)),
            answers=AnswerCountsOutput(**asdict(flaws)),
            seconds=round(look.seconds, 3),
            loads=loads,
            load_seconds=round(load_seconds, 3),
            ended=str(look.outlook),
            reasons=list(look.reasons),
            database=masked(view.place.settings.database),
        )
    )


def _since(view: RunView) -> datetime:
    """From when loads are those of this command: others may have worked on the batch before, and on others since."""
    return max(view.receipt.batch.created_at, view.place.began_at)


def _first_come(conn: Connection, batch: Batch, hosts: int, loads: int) -> str:
    """What the loads compare with where that would have been more; nothing for a batch of one model, which may have been
    loaded before, or for a large one, of which every job would be read for it."""
    if not 1 < batch.jobs <= MOST_COMPARED:
        return ""
    keys = [without_window(key) for key in runner_keys_in_order(conn, batch.id)]
    if len(set(keys)) < 2:
        return ""
    naive = first_come_loads(keys, hosts=max(1, hosts))
    return f"; first-come-first-served would have done {naive}" if naive > loads else ""


def _summarise(
    view: RunView,
    look: Look,
    console: Console,
    counted: int | None,
    show_answer: bool,
    written: bool,
) -> None:
    batch = look.progress.batch
    with view.place.database.read() as conn:
        figures = model_figures(conn, batch.id)
        flaws, failed = answer_counts(conn, batch.id), any(row.failed for row in figures)
        room = room_needed(conn, batch.id) if flaws or failed else Room()
        lasting, again = stored_flaws(conn, batch.id) if flaws else (flaws, flaws)
        since = _since(view)
        loads, load_seconds = loads_since(conn, since)
        whole = since == batch.created_at
        naive = _first_come(conn, batch, len(view.place.hosts), loads) if whole else ""
        failures = failures_by_code(conn, batch.id) if failed else {}
        held = held_reasons(conn, batch.id) if look.progress.counts.get(JobState.HELD) else []
        messages = {code: first_failure(conn, batch.id, code) or "" for code in failures}
    for part in summary_tables(look.progress, figures, look.seconds, ruled=console.is_terminal):
        console.print(part)
    by_hosts = "" if counted is None else f" (the simulated hosts counted {counted})"
    lost = f" in {duration(load_seconds)}" if load_seconds >= 1 else ""
    if loads or by_hosts:
        console.print(f"Model loads: {loads}{lost}{by_hosts}{naive}.")
    for code, jobs in failures.items():
        why = " ".join(messages[code].split())[:200]
        console.print(f"{jobs:,} failed with {code}: {why}", style="red")
    for group in () if look.reasons else held:  # the reasons why the rest waits say it too
        if group.code != Code.OUTSIDE_LIMIT:
            line = f"held with {group.code}: {' '.join(group.reason.split())[:300]}"
            console.print(line, style="yellow")
    reused = sum(row.reused for row in figures)
    if reused:
        console.print(f"{count_of(reused, 'stored answer was', 'stored answers were')} reused.")
    drift = [line for row in figures for line in drifted(row.model, row.digests)]
    unknown = unproved(sum(row.unproved for row in figures), batch.id)
    for line in (*advice(lasting, batch.id, room), *on_the_way(again, batch.id), *unknown, *drift):
        console.print(line, style="yellow")
    if show_answer:
        _show_one(view, console)
        _where(view.place.settings, console, batch)
        return
    codes = {group.code for group in held}
    for step in next_steps(look.progress, failures, room, stored=written, held=codes, pilot=view.pilot):
        console.print(step)


def next_steps(
    progress: BatchProgress,
    failures: Mapping[str, int],
    room: Room,
    *,
    stored: bool,
    held: Collection[str] = (),
    pilot: str = "",
) -> Iterator[str]:
    """The commands that help after a run. ``held``: codes of held jobs; ``stored``: its results are in a file, or were
    printed; ``pilot``: what the same command does without the option that makes it one."""
    batch, too_long = progress.batch.id, "context_overflow" in failures
    if failures:
        yield f"Show them: caravan jobs {batch} --state failed"
    if too_long and not room.fits:
        yield f"Where a prompt is too long: {room.beyond}."
    if too_long:
        yield from truncating(room, batch)
    if "cut" in failures:
        yield (
            f"Give cut answers more room: caravan retry {batch} --code cut{room.for_cut}, then the same command"
        )
    others = failures.keys() - {"cut"}
    if others and (room.fits or others != {"context_overflow"}):
        yield f"Ask them again: caravan retry {batch}{room.larger_window if too_long else ''}, then the same command"
    if Code.MODEL_MISSING in held:
        yield "Once a host has the model, the same command goes on."
    if set(held) - {Code.MODEL_MISSING, Code.OUTSIDE_LIMIT}:
        yield f"Let held jobs go on: caravan retry {batch} --state held, then the same command"
    if not stored and progress.counts.get(JobState.SUCCEEDED):
        yield f"Write the answers: caravan results {batch} -o answers.csv"
    if pilot:
        yield pilot


def _show_one(view: RunView, console: Console) -> None:
    """One answer, its reasoning folded to a line."""

    from worker.exports.results import result_lines

    best: dict[str, Any] | None = None
    for line in result_lines(view.place.database, Selection(view.batch.id)):
        if line["answer"] and (best is None or (line["reasoning"] and not best["reasoning"])):
            best = line
            if line["reasoning"]:
                break
    if best is None:
        return
    console.print()
    console.print(f"{best['custom_id']} by {best['model']} on {best['host']}:", style="bold")
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

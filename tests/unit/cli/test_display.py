"""What stands at the foot of a terminal: drawn over, never wrecked by log lines, within the width, gone at the end."""

import io
import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
from rich.console import Console
from rich.text import Text

from tests.unit.cli.test_render import HALFWAY
from tests.unit.cli.test_seeing import RATES, a_situation
from worker.cli.block import block_drawn
from worker.cli.plain import cells
from worker.cli.progress import batch_progress_bar
from worker.cli.render import rates
from worker.cli.summary import RunView, _show, is_news, next_steps
from worker.domain.batches import BatchProgress
from worker.domain.jobs import JobState
from worker.door.submit import Receipt
from worker.errors import Code, DatabaseUnavailable, HostError
from worker.observability.logging import EachMinute, LineFormatter, Once, Repeats
from worker.policy.answers import Room
from worker.policy.outlook import Outlook
from worker.serving.endings import _blame
from worker.stack.main_job import Look, Workplace


class Screen(io.StringIO):
    """A terminal that knows the sequences of the display: lines of text, and a cursor below the last."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.rows: list[str] = [""]

    def write(self, text: str) -> int:
        for part in re.split(r"(\x1b\[[0-9;?]*[A-Za-z]|\n|\r)", text):
            if up := re.fullmatch(r"\x1b\[(\d+)A", part):
                self.above = int(up[1])
            elif part == "\x1b[J":
                del self.rows[len(self.rows) - 1 - self.above :]
                self.rows.append("")
            elif part == "\n":
                self.rows.append("")
            elif part != "\r" and not part.startswith("\x1b"):
                self.rows[-1] += part
                while cells(self.rows[-1]) > self.width:
                    self.rows[-1:] = [self.rows[-1][: self.width], self.rows[-1][self.width :]]
        return len(text)

    def become(self, width: int) -> None:
        """Fold what stands there, as terminals do when they become narrower."""
        self.width = width
        self.rows = [row[at : at + width] for row in self.rows for at in range(0, max(1, len(row)), width)]


def a_console(width: int) -> tuple[Console, Screen]:
    screen = Screen(width)
    return Console(file=screen, force_terminal=True, width=width, height=24, color_system=None), screen


@pytest.fixture
def log() -> Callable[..., None]:
    """Writes a log line as a command does."""

    def write(event: str, **fields: object) -> None:
        logging.getLogger("caravan").warning(event, extra={"fields": fields})

    return write


@pytest.mark.parametrize("width", [80, 120])
def test_log_lines_stand_whole_above_the_display(width: int, log: Callable[..., None]) -> None:
    on, screen = a_console(width)
    handler = logging.StreamHandler(screen)
    handler.setFormatter(LineFormatter())
    logger = logging.getLogger("caravan")
    before, logger.handlers[:] = list(logger.handlers), [handler]
    try:
        with batch_progress_bar(on, HALFWAY) as show:
            show(HALFWAY, RATES, situation=a_situation())
            drawn = len(screen.rows)
            log("job.failed", custom_id="SKU-00040", code="unsupported", message="x" * 100)
            show(HALFWAY, rates(ended=913, unfinished=87, tokens=91_300, seconds=61), situation=a_situation())
            rows = list(screen.rows)
    finally:
        logger.handlers[:] = before

    said = "".join(rows[: len(rows) - drawn])
    assert re.fullmatch(r"\S+ WARNING job.failed custom_id=SKU-00040 +code=unsupported +message=x{100}", said)
    assert sum("912/1,000" in row for row in rows) == 1
    assert sum("gpu-00" in row for row in rows) == 1
    assert screen.rows == [*rows[: len(rows) - drawn], ""], "nothing of the display is left at the end"


def test_a_terminal_that_becomes_narrower_keeps_no_stale_copy() -> None:
    on, screen = a_console(120)

    with batch_progress_bar(on, HALFWAY) as show:
        show(HALFWAY, RATES, situation=a_situation())
        screen.become(60)
        on.width = 60
        show(HALFWAY, rates(ended=913, unfinished=87, tokens=1, seconds=61), situation=a_situation())

        assert sum("912/1,000" in row for row in screen.rows) == 1
        assert sum("gpu-00" in row for row in screen.rows) == 1


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_bar_gives_way_and_never_the_time_that_is_left(width: int) -> None:
    on, screen = a_console(width)
    many = BatchProgress(HALFWAY.batch, {JobState.SUCCEEDED: 5_000_000, JobState.QUEUED: 15_000_000})

    with batch_progress_bar(on, many) as show:
        show(many, rates(ended=100, unfinished=9_000, tokens=5_658_000, seconds=1))
        (line,) = [row for row in screen.rows if "ETA" in row]

    assert line.rstrip().endswith("ETA 1 min 30 s")
    assert cells(line) <= width


def test_what_did_not_change_is_not_written_again() -> None:
    on, screen = a_console(80)

    with block_drawn(on) as block:
        block.draw(Text("half"))
        before = list(screen.rows)
        screen.rows = ["marked"]
        block.draw(Text("half"))

        assert (before[0].rstrip(), screen.rows) == ("half", ["marked"])
        screen.rows = before


def a_record(at: float, **fields: object) -> logging.LogRecord:
    record = logging.LogRecord("caravan", logging.WARNING, "", 0, "job.failed", None, None)
    record.created, record.fields = at, fields
    return record


def test_twenty_like_lines_are_one_and_the_next_says_how_many_there_were() -> None:
    repeats = Repeats()

    passed = [repeats.filter(a_record(at, host="gpu-1", code="unsupported", job=at)) for at in range(20)]
    other = repeats.filter(a_record(20, host="gpu-1", code="timeout"))
    later = a_record(70, host="gpu-1", code="unsupported")

    assert passed == [True, *[False] * 19]
    assert other
    assert repeats.filter(later)
    assert later.fields["more_like_it"] == 19  # type: ignore[attr-defined]


def test_a_sentence_that_holds_for_each_host_is_said_once() -> None:
    once = Once()

    def passes(event: str, **fields: object) -> bool:
        record = logging.LogRecord("caravan", logging.WARNING, "", 0, event, None, None)
        record.fields = fields
        return once.filter(record)

    full = "database or disk is full"
    assert [passes("database.unavailable", host=host, message=full) for host in "abc"] == [True, False, False]
    assert [passes("host.unreachable", host=host, message="refused") for host in "ab"] == [True, True]


def test_what_is_stored_within_a_minute_is_one_line_for_each_host() -> None:
    minute = EachMinute()

    def stored(at: float, host: str, accepted: int) -> logging.LogRecord:
        record = logging.LogRecord("caravan", logging.INFO, "", 0, "job.finished", None, None)
        record.created, record.fields = at, {"host": host, "accepted": accepted, "refused": 0}
        return record

    passed = [minute.filter(stored(at, "gpu-1", 4)) for at in range(60)]
    other = minute.filter(stored(60, "gpu-2", 1))
    line = stored(61, "gpu-1", 4)

    assert passed == [False] * 60
    assert not other
    assert minute.filter(line)
    assert line.fields == {"host": "gpu-1", "accepted": 244, "refused": 0, "seconds": 61}  # type: ignore[attr-defined]
    assert minute.filter(a_record(62, host="gpu-1", code="cut"))


def test_like_lines_that_are_no_warnings_all_pass() -> None:
    repeats = Repeats()
    record = logging.LogRecord("caravan", logging.INFO, "", 0, "host.left", None, None)

    assert [repeats.filter(record) for _ in range(3)] == [True] * 3


def test_a_summary_ends_with_the_commands_that_help_next() -> None:
    failed = BatchProgress(HALFWAY.batch, {JobState.SUCCEEDED: 90, JobState.FAILED: 10, JobState.HELD: 2})
    fine = BatchProgress(HALFWAY.batch, {JobState.SUCCEEDED: 100})
    pilot = "The same command without --sample asks the other 19,960 rows."

    steps = list(
        next_steps(failed, {"context_overflow": 10}, Room(num_ctx=12_288), stored=True, held={"runner_died"})
    )
    assert steps == [
        "Show them: caravan jobs 7 --state failed",
        "Ask them again: caravan retry 7 --set num_ctx=12288, then the same command",
        "Let held jobs go on: caravan retry 7 --state held, then the same command",
    ]
    assert list(
        next_steps(failed, {"context_overflow": 10}, Room(num_ctx=8192, fits=False), stored=True)
    ) == [
        "Show them: caravan jobs 7 --state failed",
        (
            "Where a prompt is too long: its model takes 8,192 tokens at most; shorten the prompt, or ask a model with a larger "
            "window."
        ),
    ]
    assert list(next_steps(failed, {"cut": 10}, Room(num_predict=8192), stored=True))[1:2] == [
        "Give cut answers more room: caravan retry 7 --code cut --set num_predict=8192, then the same command"
    ]
    assert list(next_steps(fine, {}, Room(), stored=True, held={"model_missing", "outside_limit"})) == [
        "Once a host has the model, the same command goes on."
    ]
    assert list(next_steps(fine, {}, Room(), stored=False, pilot=pilot)) == [
        "Write the answers: caravan results 7 -o answers.csv",
        pilot,
    ]
    assert list(next_steps(fine, {}, Room(), stored=True)) == []


def test_a_picture_is_drawn_again_when_something_was_read_and_else_once_a_second() -> None:
    drawn = Look(HALFWAY, Outlook.GOING, 10.0, a_situation())

    assert is_news(drawn, None)
    assert not is_news(replace(drawn, seconds=10.25), drawn)
    assert is_news(replace(drawn, seconds=11.0), drawn)
    assert is_news(replace(drawn, seconds=10.25, progress=replace(HALFWAY)), drawn)
    assert is_news(replace(drawn, seconds=10.25, situation=a_situation()), drawn)


def test_a_database_that_is_away_and_back_is_shown_at_once() -> None:
    drawn = Look(HALFWAY, Outlook.GOING, 10.0)
    away = replace(drawn, seconds=10.25, away=DatabaseUnavailable("gone"))

    assert is_news(away, drawn)
    assert is_news(replace(drawn, seconds=10.5), away)


def test_off_a_terminal_a_run_that_waits_says_so_once_and_no_time_that_is_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written = io.StringIO()
    monkeypatch.setattr("worker.cli.progress.QUIET_SECONDS", 0.0)
    with batch_progress_bar(Console(file=written, width=200), HALFWAY) as show:
        show(HALFWAY, RATES)
        for _ in range(3):
            show(HALFWAY, RATES, reasons=["gpu-1 cannot be reached since 05:03 (2 min)"])

    lines = written.getvalue().splitlines()
    assert len(lines) == 2
    assert "ETA" in lines[0]
    assert lines[1].startswith("waiting: gpu-1 cannot be reached")


def test_a_full_disk_is_a_line_of_the_display_until_there_is_room_again() -> None:
    on, screen = a_console(80)
    full = DatabaseUnavailable("caravan.db: database or disk is full; make room; work goes on by itself")
    shown = RunView(cast(Workplace, SimpleNamespace(stack=None)), Receipt(HALFWAY.batch, created=False))

    def looks() -> Iterator[Look]:
        yield Look(HALFWAY, Outlook.GOING, 0.0, a_situation())
        yield Look(HALFWAY, Outlook.GOING, 1.0, a_situation(), away=full)
        text = " ".join(screen.rows)
        assert "work waits for the database: caravan.db: database or disk is full" in text
        assert "ETA –" in text
        at = next(at for at, row in enumerate(screen.rows) if "work waits" in row)
        assert screen.rows[at + 1].startswith("  work goes on"), "what is folded hangs"
        yield Look(HALFWAY, Outlook.GOING, 2.0, a_situation())
        assert "disk is full" not in " ".join(screen.rows)

    _show(shown, looks(), on)


def test_a_call_that_the_own_stop_cut_is_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    stopped: Any = None  # nothing else of the host is looked at

    _blame(stopped, "m:1", "SKU-00040", stopped, HostError(Code.WORKER_LOST, "the worker is stopping"))

    assert caplog.records == []

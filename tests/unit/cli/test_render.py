"""What a person sees while a batch runs and when it is done."""

import io
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from rich.console import Console

from worker.cli.drawing import SafeConsole
from worker.cli.live import host_does
from worker.cli.plain import cells
from worker.cli.progress import batch_progress_bar, progress_line, summary_tables
from worker.cli.render import LineConsole, plain_table, rates
from worker.domain.answers import AnswerCounts
from worker.domain.batches import Batch, BatchProgress, BatchState
from worker.domain.hosts import Host
from worker.domain.jobs import JobState
from worker.storage.host_rows import HostRow
from worker.storage.lately import HostFailure
from worker.storage.results import ModelFigures

NOW = datetime(2026, 11, 23, tzinfo=UTC)
BATCH = Batch(7, "run-1", "prompts.jsonl", BatchState.OPEN, None, NOW, NOW, None, 1000)
HALFWAY = BatchProgress(
    BATCH, {JobState.SUCCEEDED: 909, JobState.FAILED: 3, JobState.RUNNING: 8, JobState.QUEUED: 80}
)


def test_a_progress_line_counts_what_waits_for_other_jobs() -> None:
    waiting = BatchProgress(BATCH, {JobState.SUCCEEDED: 10, JobState.WAITING: 60, JobState.RUNNING: 20})

    assert progress_line(waiting) == "batch 7 (prompts.jsonl): 10 of 90 done, 20 running, 60 waiting"
    ahead = replace(waiting, claimed=15)
    assert "10 of 90 done, 5 running, 15 claimed, 60 waiting" in progress_line(ahead)


def console(*, terminal: bool, width: int = 80) -> Console:
    return Console(
        file=io.StringIO(), force_terminal=terminal, width=width, color_system=None, highlight=False
    )


def printed(on: Console) -> str:
    assert isinstance(on.file, io.StringIO)
    return on.file.getvalue()


@pytest.mark.parametrize("width", [80, 120])
def test_a_bar_shows_how_many_how_fast_and_how_long_within_the_terminals_width(width: int) -> None:
    on = console(terminal=True, width=width)

    with batch_progress_bar(on, HALFWAY) as show:
        show(HALFWAY, rates(ended=912, unfinished=88, tokens=91_200, seconds=60))

    text = printed(on)
    assert "912/1,000" in text
    assert "15.2 jobs/s  1,520 tok/s  ETA 5 s" in text


def test_without_a_terminal_progress_is_quiet_at_first() -> None:
    on = console(terminal=False)

    with batch_progress_bar(on, HALFWAY) as show:
        show(HALFWAY, rates(ended=912, unfinished=88, tokens=91_200, seconds=60))

    assert printed(on) == ""


def test_progress_is_said_in_a_line() -> None:
    line = progress_line(HALFWAY, rates(ended=912, unfinished=88, tokens=0, seconds=60))

    assert line == ("batch 7 (prompts.jsonl): 912 of 1,000 done, 8 running, 3 failed, 15.2 jobs/s, ETA 5 s")


def test_the_summary_has_a_row_for_each_state_and_each_model() -> None:
    figures = [ModelFigures("qwen3:8b", 912, 909, 3, AnswerCounts(12, 0, 2), 20_000, 91_200, 60.0)]
    on = console(terminal=False)

    for table in summary_tables(HALFWAY, figures, 61.0, ruled=False):
        on.print(table)

    words = [line.split() for line in printed(on).splitlines()]
    assert ["succeeded", "909"] in words
    assert ["qwen3:8b", "912", "3", "12", "2", "20,000", "91,200", "1,520.0"] in words
    assert words[0] == ["batch", "7", "(prompts.jsonl),", "in", "1", "min", "1", "s"]


def test_a_model_that_generated_nothing_has_no_speed() -> None:
    on = console(terminal=False)

    for table in summary_tables(
        HALFWAY, [ModelFigures("a:1", 1, 0, 1, AnswerCounts(), 0, 0, 0.0)], None, ruled=False
    ):
        on.print(table)

    assert "–" in printed(on)


@pytest.mark.parametrize("width", [80, 120])
def test_a_summary_keeps_to_the_terminal_however_long_the_names(width: int) -> None:
    on = console(terminal=True, width=width)
    named = replace(HALFWAY, batch=replace(BATCH, name="夜间批次：产品描述的情感分析与翻译（第二轮）"))
    model = "hf.co/bartowski/deepseek-r1-distill-qwen-32b-gguf:q4_k_m"
    figures = [ModelFigures(model, 912, 897, 3, AnswerCounts(12), 20_000, 91_200, 60.0)]

    for table in summary_tables(named, figures, 61.0, ruled=True):
        on.print(table)

    lines = printed(on).splitlines()
    assert lines[0] == "batch 7 (夜间批次：产品描述的情感分析与翻译（第二轮）), in 1 min 1 s"
    assert all(cells(line) <= width for line in lines)
    (figures_line,) = [line for line in lines if "hf.co/" in line]
    assert figures_line.split()[1:4] == ["912", "3", "12"]


def test_a_host_that_ends_its_run_before_it_loads_is_not_said_to_load_yet() -> None:
    host = HostRow(Host("gpu-1", "http://gpu-1:11434"), resident="a:1", intent="b:1")

    assert host_does(replace(host, running=1), NOW) == "a:1, then b:1"
    assert host_does(host, NOW) == "loading b:1"
    rests = replace(host, intent=None, rests_after=HostFailure("bad_reply", "the host sent no JSON", NOW))
    assert host_does(rests, NOW) == "rests after bad_reply"


def test_off_a_terminal_nothing_is_folded_and_on_one_between_words() -> None:
    line = "word " * 60

    piped = io.StringIO()
    LineConsole(piped).print(line)
    shown = io.StringIO()
    SafeConsole(file=shown, force_terminal=True, width=42).print(line)

    assert piped.getvalue().count("\n") == 1
    assert all(row.split() == ["word"] * 8 for row in shown.getvalue().splitlines()[:-1])


@pytest.mark.parametrize("width", [70, 80, 120])
def test_a_table_breaks_no_word_where_there_is_room(width: int) -> None:
    table = plain_table("name", "url", "slots", "state", right=("slots",), fold=("name", "url", "state"))
    table.add_row("gpu-1", "http://127.0.0.1:11434/ollama", "auto", "unreachable: connection refused " * 3)
    file = io.StringIO()

    SafeConsole(file=file, width=width).print(table)

    assert "http://127.0.0.1:11434/ollama" in file.getvalue()
    assert all(cells(row.rstrip()) <= width for row in file.getvalue().splitlines())


def test_text_is_folded_between_words_and_never_within_a_command() -> None:
    on = SafeConsole(file=io.StringIO(), force_terminal=True, width=40, color_system=None)

    on.print("  59 jobs are held: the model does not fit; once that is mended: caravan retry 1 --state held")

    assert printed(on).splitlines() == [
        "  59 jobs are held: the model does not",
        "    fit; once that is mended:",
        "    caravan retry 1 --state held",
    ]

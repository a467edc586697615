"""Lists in the width of a terminal: what is cut, what stays whole, and where a reason stands."""

import io

import pytest
from rich.console import Console

from worker.cli.plain import SHORTEST, cells, lines
from worker.cli.seeing import _print_narrow, _print_wide
from worker.domain.jobs import JobState
from worker.storage.reports import JobLine

ROWS = [
    ["7", "a batch with quite a long name that somebody wrote", "paused: 20 of 20 outcomes failed", "60"],
    ["6", "夜间批次：产品描述的情感分析与翻译（第二轮，含退货评论）", "finished", "1,000,000"],
]
COLUMNS = ("batch", "name", "state", "jobs")


def job(number: int, message: str | None) -> JobLine:
    code = None if message is None else "unsupported"
    return JobLine(
        number,
        1,
        f"产品-{number}-" + "红茶杯" * 9,
        "hf.co/bartowski/deepseek-r1-distill-qwen-32b-gguf:q4_k_m",
        JobState.QUEUED if message is None else JobState.FAILED,
        "a-host-with-a-name-of-its-own",
        1,
        code,
        message,
    )


def shown(print_jobs: object, jobs: list[JobLine], *, width: int) -> list[str]:
    on = Console(file=io.StringIO(), force_terminal=True, width=width, color_system=None, highlight=False)
    print_jobs(jobs, on)  # type: ignore[operator]
    assert isinstance(on.file, io.StringIO)
    return on.file.getvalue().splitlines()


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_widest_columns_are_cut_until_a_line_fits(width: int) -> None:
    found = lines(COLUMNS, ROWS, right=("batch", "jobs"), width=width)

    assert max(map(cells, found)) <= width
    assert [line.split()[-1] for line in found] == ["jobs", "60", "1,000,000"]


def test_what_is_to_stay_whole_stays_and_a_column_keeps_some_signs() -> None:
    found = lines(COLUMNS, ROWS, right=("batch", "jobs"), whole=("state",), width=30)

    assert "paused: 20 of 20 outcomes failed" in found[1]
    assert "7  a batch…  paused" in found[1]
    assert len("a batch…") == SHORTEST


@pytest.mark.parametrize("width", [80, 120])
def test_a_reason_stands_beneath_the_first_job_of_those_that_failed_alike(width: int) -> None:
    why = "registry.ollama.ai/library/llama3.2:3b does not support insert"

    found = shown(_print_narrow, [job(1, why), job(2, why), job(3, None), job(4, why)], width=width)

    assert all(cells(line) <= width for line in found)
    assert [line.strip() == why for line in found] == [False, False, True, False, False, False, True]
    assert [line.split()[-1] for line in found[1:2] + found[3:4]] == ["unsupported"] * 2


def test_off_a_terminal_a_job_is_one_line_with_its_reason() -> None:
    found = shown(_print_wide, [job(1, "no\nroom"), job(2, None)], width=10_000)

    assert len(found) == 3
    assert found[1].rstrip().endswith("unsupported: no room")

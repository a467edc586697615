"""What a page of results says, and which targets count as missed."""

from dataclasses import replace

import pytest

from benchmarks.nights.contenders import Answer, Night
from benchmarks.nights.report import MARKER, Compared, markdown, missed, with_section
from benchmarks.nights.workloads import WORKLOADS, Workload

SHARE = 1 / 8


def workload(name: str = "W1") -> Workload:
    return WORKLOADS[name](1.0 if name == "W1" else 0.1, 1)


def night(asked: Workload, seconds: float, *, loads: int = 3, reading_seconds: float = 0.0) -> Night:
    """Answers come evenly."""
    jobs = len(asked.jobs)
    stored = [(seconds * count / jobs, count) for count in range(1, jobs + 1)]
    answers = [Answer(job.custom_id, 40, reading_seconds) for job in asked.jobs]
    return Night(jobs, seconds, stored, answers, loads)


def compared(seconds: float, plain_seconds: float, name: str = "W1") -> Compared:
    asked = workload(name)
    return Compared(asked, night(asked, seconds), night(asked.part(SHARE), plain_seconds), SHARE)


def test_the_ratio_is_that_of_jobs_a_second() -> None:
    found = compared(seconds=10.0, plain_seconds=10.0)

    assert found.rate == pytest.approx(84.0)
    assert found.ratio == pytest.approx(8.0)


def test_the_last_jobs_of_the_plain_worker_do_not_count_against_it() -> None:
    asked = workload()
    plain = night(asked.part(SHARE), 10.0)
    late = replace(plain, seconds=100.0, stored=[*plain.stored[:-1], (100.0, plain.jobs)])

    found = Compared(asked, night(asked, 10.0), late, SHARE)

    assert found.plain_rate == pytest.approx(plain.jobs / 10.0)


def test_a_slow_night_and_a_small_ratio_are_missed() -> None:
    bound = compared(10.0, 10.0).bound

    good = missed([compared(bound * 1.05, bound)])
    slow = missed([compared(bound * 1.2, bound * 0.2)])

    assert good == []
    assert slow == [
        "W1: 1.3 times as fast as plain Celery, not 4",
        "W1: 1.200 times the shortest possible, more than 1.10",
    ]


def test_a_night_of_caravan_alone_has_no_ratio() -> None:
    asked = workload()

    found = Compared(asked, night(asked, 1.0), None, SHARE)

    assert found.ratio is None
    assert "| – |" in markdown([found])
    assert missed([found]) == []


def test_documents_count_as_read_where_reading_took_as_long() -> None:
    asked = workload("W7")

    read, kept = night(asked, 1.0, reading_seconds=0.4), night(asked, 1.0, reading_seconds=0.01)

    found = Compared(asked, kept, None, SHARE)
    assert found.documents_read(read) == len(asked.jobs)
    assert found.documents_read(kept) == 0


def test_every_row_of_a_table_has_as_many_cells_as_its_head() -> None:
    lines = markdown([compared(10.0, 10.0), compared(10.0, 10.0, "W7")]).splitlines()

    tables = "\n".join(lines).split("\n\n")
    assert [len({line.count("|") for line in table.splitlines()}) for table in tables] == [1, 1]


def test_a_section_takes_the_place_of_the_one_before() -> None:
    page = "# Results\n\n<!-- simulation -->\nfirst\n<!-- simulation -->\n"

    once = with_section(page, MARKER, "one")
    twice = with_section(once, MARKER, "two")

    assert twice == f"{page}\n{MARKER}\ntwo\n{MARKER}\n"

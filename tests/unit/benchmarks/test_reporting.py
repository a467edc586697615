"""The benchmark of reports, at a small size."""

import pytest

from benchmarks.reporting import Measured, Timed, filled, measure, told


@pytest.mark.thorough
def test_reports_are_timed_while_workers_finish(postgres_url: str) -> None:
    measured = measure(filled(postgres_url, 2000), times=1, jobs=500)

    assert measured.finished > 0
    assert len(told(measured)) == len(measured.queries) + 3


def test_one_query_that_is_too_slow_fails_it_all() -> None:
    fast, slow = Timed("a", 300.0, [10, 299]), Timed("b", 100.0, [10, 101])

    assert Measured([fast], 1, 1.0).passed
    assert not Measured([fast, slow], 1, 1.0).passed
    assert not Measured([fast], 0, 1.0).passed
    assert "| b | 55.5 ms | 101.0 ms **too slow** | 100 ms |" in told(Measured([fast, slow], 1, 1.0))

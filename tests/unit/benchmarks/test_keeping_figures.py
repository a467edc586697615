"""The benchmark of keeping at a small size: no host is asked for what is stored, and the prune gets through."""

import pytest

from benchmarks.keeping import measure
from worker.storage.check import check_database
from worker.storage.engine import Database


@pytest.mark.thorough
def test_a_small_measurement_asks_no_host_and_leaves_the_database_in_order(database: Database) -> None:
    figures = measure(database, 1000)

    assert (figures["asked"], figures["loads"]) == (0, 0)
    assert figures["claim_ms_beside"]["claims"] > 0
    assert [one.name for one in check_database(database, now=database.clock().now()) if one.broken] == []

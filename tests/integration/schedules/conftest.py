"""Nights on both databases."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.clocks import FakeClock
from tests.integration.schedules.nights import Nights
from worker.storage.engine import open_database


@pytest.fixture
def nights(migrated_url: str, tmp_path: Path) -> Iterator[Nights]:
    """The evening before Thursday, 26 March 2026: the clocks go forward on Sunday, 29 March."""
    database = open_database(migrated_url)
    yield Nights(database, FakeClock(datetime(2026, 3, 25, 18, tzinfo=UTC)), tmp_path / "work")
    database.close()

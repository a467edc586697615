"""Nights on both databases."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.clocks import FakeClock
from tests.integration.schedules.nights import Nights
from worker.storage.engine import Database


@pytest.fixture
def nights(database: Database, tmp_path: Path) -> Nights:
    """The evening before Thursday, 26 March 2026: the clocks go forward on Sunday, 29 March."""
    return Nights(database, FakeClock(datetime(2026, 3, 25, 18, tzinfo=UTC)), tmp_path / "work")

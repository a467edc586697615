"""A host that answers at once, and a client beside it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import simulator
from caravan import Caravan


@pytest.fixture
def host() -> Iterator[simulator.RunningHost]:
    settings = simulator.HostSettings(name="gpu-1", models=simulator.demo_models(), time_scale=0.0)
    with simulator.running(settings) as (running,):
        yield running


@pytest.fixture
def caravan(tmp_path: Path) -> Iterator[Caravan]:
    with Caravan(tmp_path / "home") as opened:
        yield opened

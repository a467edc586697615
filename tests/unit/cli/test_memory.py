"""Threads that serve share the heap of their process."""

import ctypes
from types import SimpleNamespace

import pytest

from worker.cli.memory import limit_arenas


def test_the_heaps_of_threads_are_limited_where_the_library_can(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[int, int]] = []
    library = SimpleNamespace(mallopt=lambda option, value: calls.append((option, value)))
    monkeypatch.setattr(ctypes, "CDLL", lambda _: library)
    monkeypatch.setattr("sys.platform", "linux")

    limit_arenas()

    assert calls == [(-8, 1)]


@pytest.mark.parametrize(("platform", "library"), [("darwin", None), ("linux", SimpleNamespace())])
def test_another_library_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, platform: str, library: object
) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: library)
    monkeypatch.setattr("sys.platform", platform)

    limit_arenas()

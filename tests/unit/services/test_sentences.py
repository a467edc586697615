"""Warnings as sentences for a person at a terminal."""

import logging
import string

import pytest

from worker.observability import events
from worker.observability.logging import configure
from worker.observability.sentences import SENTENCES, sentence


def test_each_warning_has_a_sentence_of_its_own_fields() -> None:
    assert set(SENTENCES) == events._WARNINGS
    for event, text in SENTENCES.items():
        fields = {name for _, name, _, _ in string.Formatter().parse(text) if name}
        assert fields <= set(events.EVENTS[event].rpartition(": ")[2].split(", ")), event


def test_an_event_without_a_sentence_shows_its_fields() -> None:
    assert sentence("host.left", {"host": "gpu-1", "jobs": 2}) == "host.left host=gpu-1 jobs=2"
    assert sentence("job.failed", {"host": "gpu-1"}) == "job.failed host=gpu-1"


def test_equal_warnings_are_one_sentence(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("caravan"), "handlers", [])
    configure("warning", style="sentence", repeats=False)

    for custom_id in ("a", "b", "c"):
        events.emit(
            "job.failed",
            host="gpu-1",
            job=1,
            custom_id=custom_id,
            attempt=1,
            code="host_unreachable",
            message="connection\nlost",
        )

    assert capsys.readouterr().err == "caravan: an attempt at a failed on gpu-1: connection lost\n"

"""A model that is pulled anew: its answers stay or are asked again, as said, and the report tells."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.integration.schedules.nights import MODEL, Nights, counts
from worker.domain.attempts import Finish
from worker.schedules.letter import letter

FIRST = datetime(2026, 3, 26, 1, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def of(nights: Nights, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Have the answers from now on come of these weights."""

    def set_digest(digest: str) -> None:
        ending = Nights._ending

        def with_digest(self: Nights, job: Any, outcome: Any) -> Finish:
            from dataclasses import replace

            return replace(ending(self, job, outcome), digest=digest)

        monkeypatch.setattr(Nights, "_ending", with_digest)

    return set_digest


def test_answers_of_earlier_weights_stay_and_the_report_counts_them(nights: Nights, of: Any) -> None:
    of("sha256:one")
    nights.write(a="One.", b="Two.")
    nights.schedule()
    nights.night(FIRST)
    nights.model_has("sha256:two")

    report = nights.night(FIRST + DAY)

    assert counts(report) == {"reused": 2}
    assert report["models"][MODEL] == {"digests": ["sha256:two"], "answers_of_others": 2}
    assert "2 answers kept are of the earlier ones" in letter(report)


def test_with_rerun_they_are_asked_again_once(nights: Nights, of: Any) -> None:
    of("sha256:one")
    nights.write(a="One.", b="Two.")
    nights.schedule(on_model_change="rerun")
    nights.night(FIRST)
    assert counts(nights.night(FIRST + DAY)) == {"reused": 2}

    nights.model_has("sha256:two")
    of("sha256:two")

    assert counts(nights.night(FIRST + 2 * DAY)) == {"changed": 2, "answered": 2}
    assert counts(nights.night(FIRST + 3 * DAY)) == {"reused": 2}


def test_weights_that_change_while_a_firing_goes_on_are_told(nights: Nights, of: Any) -> None:
    nights.write(a="One.", b="Two.", c="Three.")
    nights.schedule()
    nights.until(FIRST)
    nights.tick()
    nights.work()
    of("sha256:one")
    nights.answer(limit=1)
    nights.model_has("sha256:two")
    of("sha256:two")
    nights.answer()
    nights.settle()

    report = nights.report()

    assert report["models"][MODEL]["digests"] == ["sha256:one"], "as it was when the firing began"
    assert report["models"][MODEL]["strays"] == 2
    assert f"2 answers of {MODEL} came from weights that changed while the firing went on" in letter(report)

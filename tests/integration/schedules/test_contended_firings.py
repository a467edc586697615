"""A firing whose transactions meet others begins each of them again, and nothing is lost or done twice."""

from datetime import timedelta

import pytest

from tests.contention import each_contended_once
from tests.integration.schedules.nights import NAME, Nights
from tests.maintenance import tidy
from worker.domain.schedules import Firing, FiringState
from worker.errors import Conflict
from worker.schedules.fire import fire
from worker.schedules.open import fire_now, open_due
from worker.schedules.settle import settle_all
from worker.storage.firings import list_firings
from worker.storage.schedules import get_schedule


def test_a_firing_reads_and_asks_its_documents_once(nights: Nights, monkeypatch: pytest.MonkeyPatch) -> None:
    schedule = nights.schedule(min_age="0")
    nights.write(a="A", b="B")
    assert schedule.next_at is not None
    nights.until(schedule.next_at + timedelta(hours=1))

    with each_contended_once(monkeypatch) as met:
        opened = open_due(nights.database, clock=nights.clock)
        [due] = firings(nights)
        fire(nights.database, due.id, clock=nights.clock)

    [firing] = firings(nights)
    assert (opened, firing.state, firing.tallies.new, firing.tries) == (1, FiringState.RUNNING, 2, 1)
    assert len(met) > 3 and nights.answer() == ["a.txt", "b.txt"]


def test_a_firing_is_settled_at_once_all_the_same(nights: Nights, monkeypatch: pytest.MonkeyPatch) -> None:
    schedule = nights.schedule(min_age="0", output="answers")
    nights.write(a="A")
    assert schedule.next_at is not None
    nights.until(schedule.next_at)
    nights.tick()
    nights.work()
    nights.answer()
    tidy(nights.database, clock=nights.clock)

    with each_contended_once(monkeypatch) as met:
        settled = settle_all(nights.database, clock=nights.clock)

    assert (settled, firings(nights)[0].state) == (1, FiringState.FINISHED)
    assert len(met) == 3, "taken, its documents, ended: each begun again, with the same token"


def test_documents_that_cannot_be_read_are_told_of_once(
    nights: Nights, monkeypatch: pytest.MonkeyPatch
) -> None:
    nights.schedule()
    (nights.folder / "summary.j2").unlink()

    with each_contended_once(monkeypatch) as met:
        by_hand = fire_now(nights.database, NAME, clock=nights.clock)
        fire(nights.database, by_hand.id, clock=nights.clock)

    assert [firing.state for firing in firings(nights)] == [FiringState.FAILED] and len(met) == 3


def test_a_firing_by_hand_is_refused_at_once_while_another_has_not_ended(
    nights: Nights, monkeypatch: pytest.MonkeyPatch
) -> None:
    nights.schedule(overlap="refuse")
    fire_now(nights.database, NAME, clock=nights.clock)

    with each_contended_once(monkeypatch) as met, pytest.raises(Conflict, match="has not ended"):
        nights.clock.advance(1)
        fire_now(nights.database, NAME, clock=nights.clock)

    assert not met and len(firings(nights)) == 1


def firings(nights: Nights) -> list[Firing]:
    with nights.database.read() as conn:
        return list_firings(conn, get_schedule(conn, NAME).id)

"""The cadence of services: at once after a rest, slower where changes go on, seldom where nothing happens."""

from collections.abc import Set

from worker.maintenance.cadence import Cadence

LOOK = 0.25


def passes(
    cadence: Cadence, until: float, *, changes: Set[float], busy: Set[float] = frozenset()
) -> list[float]:
    """The times of the passes of a loop that looks every ``LOOK`` seconds; at those in ``busy`` they change something."""
    times, now = [], 0.0
    while now < until:
        if cadence.is_due(now, changed=now in changes):
            times.append(now)
            cadence.ran(now, changed=now in busy)
        now += LOOK
    return times


def cadence() -> Cadence:
    return Cadence(busy=1.0, rest=10.0, soonest=LOOK)


def test_at_rest_a_pass_follows_the_other_seldom() -> None:
    assert passes(cadence(), 31, changes=set()) == [0, 10, 20, 30]


def test_a_change_after_a_rest_is_followed_at_once() -> None:
    assert passes(cadence(), 12, changes={3.0, 7.25}) == [0, 3.0, 7.25]


def test_changes_that_go_on_are_followed_ever_more_slowly_up_to_the_busy_pace() -> None:
    going_on = {3 + LOOK * at for at in range(24)}

    assert passes(cadence(), 9, changes=going_on) == [0, 3.0, 3.25, 3.75, 4.5, 5.5, 6.5, 7.5, 8.5]


def test_a_change_between_two_passes_is_not_forgotten() -> None:
    started = cadence()
    started.ran(0.0, changed=True)
    started.ran(1.0, changed=True)

    assert not started.is_due(1.1, changed=True)
    assert started.is_due(1.5, changed=False)


def test_a_pass_that_did_something_is_followed_by_another_soon() -> None:
    assert passes(cadence(), 9, changes={3.0}, busy={3.0, 3.25}) == [0, 3.0, 3.25, 3.75]


def test_a_rest_is_never_shorter_than_the_busy_pace() -> None:
    assert passes(Cadence(busy=2.0, rest=0.5, soonest=2.0), 7, changes=set()) == [0, 2, 4, 6]

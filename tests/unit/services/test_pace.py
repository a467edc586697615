"""What is learned of a host's speed, and how it steps back."""

from worker.policy.choose import Pace
from worker.services.pace import Paces
from worker.services.standing import Standing
from worker.storage.paces import PaceSeen


def test_the_first_load_counts_though_no_job_was_served_yet() -> None:
    paces = Paces("gpu-1")

    paces.loaded("a:1", 3.0)

    assert paces.known["a:1"] == Pace(3.0, Pace().service_seconds)


def test_the_newest_counts_most() -> None:
    paces = Paces("gpu-1")
    for seconds in (1.0, 2.0):
        paces.served("a:1", seconds)

    assert 1.0 < paces.known["a:1"].service_seconds < 1.5


def test_what_other_hosts_saw_fills_in_for_what_was_not_seen_here() -> None:
    paces = Paces("gpu-1")
    paces.loaded("a:1", 4.0)

    paces.learn([PaceSeen("gpu-2", "a:1", 10.0, 2.0), PaceSeen("gpu-3", "a:1", None, 4.0)])

    assert paces.known["a:1"] == Pace(4.0, 3.0)
    assert paces.service_seconds("a:1") is None


def test_a_new_process_goes_on_from_what_the_last_one_saw_here() -> None:
    paces = Paces("gpu-1")

    paces.learn([PaceSeen("gpu-1", "a:1", 4.0, 0.1)])

    assert paces.service_seconds("a:1") == 0.1
    assert paces.unsaved() == []


def test_only_what_changed_is_written_down() -> None:
    paces = Paces("gpu-1")
    paces.served("a:1", 1.0)
    assert paces.newly_known

    assert paces.unsaved() == [PaceSeen("gpu-1", "a:1", None, 1.0)]
    assert paces.unsaved() == []
    assert not paces.newly_known


def test_calls_that_fail_together_are_one_incident() -> None:
    standing = Standing()

    assert standing.failed(100.0, at_most=30) == 2.0
    assert standing.failed(100.5, at_most=30) is None
    assert standing.failed(102.0, at_most=30) == 4.0


def test_an_answer_forgives_unless_it_was_asked_for_before_the_failure() -> None:
    standing = Standing()
    standing.failed(100.0, at_most=30)

    standing.answered(101.0)
    assert standing.failures == 1
    standing.answered(103.0)
    assert standing.failures == 0

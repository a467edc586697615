"""What is learned of a host's speed, and how it steps back."""

from worker.policy.parallel import Waited
from worker.serving.history import HostHistory
from worker.serving.pace import SERVICE_PRIOR, Paces
from worker.storage.paces import StoredPace


def test_a_runner_that_nobody_saw_takes_at_least_what_its_model_has_on_disk() -> None:
    assert Paces().estimate("a:1", size=5).memory == 5
    assert Paces().estimate("a:1").memory is None


def test_what_nobody_has_seen_is_guessed_from_the_model_s_size() -> None:
    guess = Paces("gpu-1").estimate("a:1", size=5_000_000_000)

    assert (guess.load_seconds, guess.service_seconds, guess.tried) == (7.0, SERVICE_PRIOR, False)


def test_the_first_load_counts_though_no_job_was_served_yet() -> None:
    paces = Paces("gpu-1")

    paces.add_load("a:1", 3.0, 900)

    assert paces.estimate("a:1").load_seconds == 3.0
    assert paces.estimate("a:1").memory == 900
    assert not paces.estimate("a:1").tried


def test_the_newest_counts_most() -> None:
    paces = Paces("gpu-1")
    for seconds in (1.0, 2.0):
        paces.add_job("a:1", seconds)

    assert 1.2 < paces.estimate("a:1").service_seconds < 1.5


def test_what_other_hosts_saw_fills_in_for_what_was_not_seen_here() -> None:
    paces = Paces("gpu-1")
    paces.add_load("a:1", 4.0)

    paces.learn([StoredPace("gpu-2", "a:1", 10.0, 2.0), StoredPace("gpu-3", "a:1", None, 2.0)])

    assert paces.estimate("a:1").load_seconds == 7.0
    assert paces.estimate("a:1").service_seconds == 2.0
    assert paces.loads("gpu-2") == {"a:1": 10.0}
    assert paces.service_seconds("a:1") is None


def test_a_host_that_takes_twice_as_long_for_the_same_keys_is_known_to_be_slow() -> None:
    paces = Paces("gpu-1")
    for key, seconds in (("a:1", 1.0), ("b:1", 10.0)):
        paces.add_job(key, seconds)

    paces.learn([StoredPace("gpu-2", "a:1", None, 4.0), StoredPace("gpu-2", "b:1", None, 40.0)])

    assert round(paces.speed("gpu-1") / paces.speed("gpu-2"), 6) == 4.0
    assert round(paces.estimate("a:1").service_seconds / paces.speed("gpu-1"), 6) == 1.0
    assert paces.speed("gpu-3") == 1.0


def test_a_new_process_goes_on_from_what_the_last_one_saw_here() -> None:
    paces = Paces("gpu-1")

    paces.learn([StoredPace("gpu-1", "a:1", 4.0, 0.1, slots=2, memory=7, jobs=40)])

    assert paces.service_seconds("a:1") == 0.1
    assert paces.slots("a:1", limit=4, is_set=True) == 2
    assert paces.unsaved() == []


def test_only_what_changed_is_written_down() -> None:
    paces = Paces("gpu-1")
    paces.add_job("a:1", 1.0)
    assert paces.has_news

    assert paces.unsaved() == [StoredPace("gpu-1", "a:1", None, 1.0, jobs=1)]
    assert paces.unsaved() == []
    assert not paces.has_news


def test_answers_that_wait_for_each_other_teach_that_there_are_fewer_slots() -> None:
    paces = Paces("gpu-1")

    learned = [paces.add_waits("a:1", [Waited(1.5, 2.0)], limit=4, is_set=True) for _ in range(8)]

    assert learned == [None] * 7 + [1]
    assert paces.slots("a:1", limit=4, is_set=True) == 1
    assert paces.slots("b:1", limit=4, is_set=True) == 4
    assert paces.unsaved()[0].slots == 1


def test_slots_that_nobody_told_grow_until_answers_wait() -> None:
    paces = Paces("gpu-1")
    really = 3
    found = []

    for _ in range(400):
        slots = paces.slots("a:1", limit=1, is_set=False)
        wait = max(0.0, 1 - really / slots)
        learned = paces.add_waits("a:1", [Waited(2.0 * wait, 2.0)], limit=1, is_set=False)
        if learned is not None:
            found.append(learned)

    assert found == [2, 3, 4, 3]


def test_calls_that_fail_together_are_one_incident() -> None:
    history = HostHistory()

    assert history.add_failure(100.0, at_most=30) == 2.0
    assert history.add_failure(100.5, at_most=30) is None
    assert history.add_failure(102.0, at_most=30) == 4.0


def test_an_answer_forgives_unless_it_was_asked_for_before_the_failure() -> None:
    history = HostHistory()
    history.add_failure(100.0, at_most=30)

    history.add_answer(101.0)
    assert history.failures == 1
    history.add_answer(103.0)
    assert history.failures == 0

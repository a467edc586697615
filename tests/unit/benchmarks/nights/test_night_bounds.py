"""Lower bounds, against cases that were worked by hand."""

import pytest

from benchmarks.nights.bounds import Work, lower_bound, new_tokens, work_of
from benchmarks.nights.workloads import Fleet, Job
from simulator.tokens import wide_vocabulary


def test_one_host_loads_every_model_once() -> None:
    work = [Work(5.0, 1.0), Work(7.0, 2.0)]

    bound = lower_bound(Fleet(hosts=1), work)

    assert bound.seconds == pytest.approx(15.0)
    assert bound.loads(work, 15.0) == 2


def test_a_model_too_much_for_one_host_is_loaded_on_two() -> None:
    work = [Work(20.0, 2.0)]

    bound = lower_bound(Fleet(hosts=2), work)

    assert bound.seconds == pytest.approx(12.0)
    assert bound.loads(work, bound.seconds) == 2
    assert bound.loads(work, 22.0) == 1


def test_a_load_more_is_counted_where_the_time_forces_it() -> None:
    work = [Work(12.0, 1.0), Work(4.0, 1.0)]

    bound = lower_bound(Fleet(hosts=2), work)

    assert bound.seconds == pytest.approx((12 + 4 + 3 * 1) / 2)  # 12 > 9.5 - 1: two hosts load the first
    assert bound.loads(work, bound.seconds) == 3


def test_only_the_first_load_is_certain_to_cost_time_where_a_host_holds_two() -> None:
    work = [Work(5.0, 1.0), Work(7.0, 2.0)]

    bound = lower_bound(Fleet(hosts=1, models_at_once=2), work)

    assert bound.seconds == pytest.approx(13.0)


def test_a_model_takes_its_load_and_its_share_of_all_hosts_at_least() -> None:
    bound = lower_bound(Fleet(hosts=4, models_at_once=2), [Work(4.0, 9.0), Work(4.0, 1.0)])

    assert bound.seconds == pytest.approx(10.0)


def test_nothing_to_do_takes_no_time() -> None:
    assert lower_bound(Fleet(hosts=1), []).seconds == 0.0


def test_what_prompts_begin_with_is_read_once() -> None:
    words = wide_vocabulary(128_256)
    document = "The buyer pays. " * 20
    jobs = [
        Job("a", "m", document + "Who?"),
        Job("b", "m", "Nothing shared"),
        Job("c", "m", document + "When?"),
        Job("d", "m", document + "Who?"),
    ]

    tokens = dict(new_tokens(words, jobs))

    whole = {job.custom_id: len(words.encode(job.prompt)) for job in jobs}
    assert tokens["b"] == whole["b"]
    assert sum(tokens[name] for name in "acd") < whole["c"] + 5
    assert min(tokens.values()) == 1  # the same prompt once more: its last token is read again


def test_work_is_counted_by_model() -> None:
    fleet = Fleet(hosts=1)
    jobs = [Job("a", "m", "One"), Job("b", "n", "Another"), Job("c", "n", "Third")]

    work = work_of(fleet, jobs, {"a": 1, "b": 11, "c": 21})

    assert work["m"].seconds == pytest.approx(fleet.host_seconds(1, 1))
    assert work["n"].seconds > fleet.host_seconds(0, 11) + fleet.host_seconds(0, 21)
    assert work["n"].load == fleet.load

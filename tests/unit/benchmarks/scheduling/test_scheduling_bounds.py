"""The lower bounds, on nights that can be worked out by hand."""

from collections.abc import Sequence

import pytest

from benchmarks.scheduling.bounds import fewest_loads, shortest
from benchmarks.scheduling.night import HostSpec, Job, Model, Night, together

A, B = Model("a:1", 10.0), Model("b:1", 20.0)


def night(jobs: Sequence[Job], *hosts: HostSpec, models: Sequence[Model] = (A, B)) -> Night:
    return Night("test", "", models, hosts or (HostSpec("gpu-1", slots=1),), jobs)


def some(model: Model, count: int, work: float) -> list[Job]:
    return [Job(n, model.key, work) for n in range(1, count + 1)]


def test_one_host_loads_each_model_once_at_best() -> None:
    one = night([Job(n, (A.key, B.key)[n % 2], 5.0) for n in range(1, 9)])

    assert shortest(one) == pytest.approx(10 + 20 + 8 * 5)
    assert fewest_loads(one, shortest(one)) == 2


def test_all_slots_together_do_less_than_each_alone() -> None:
    one = night(some(A, 8, 6.0), HostSpec("gpu-1", slots=4), models=(A,))

    assert shortest(one) == pytest.approx(10 + 8 * 6 / together(4))


def test_a_prefix_counts_once_in_the_bound() -> None:
    jobs = [Job(n, A.key, 2.0, prefix=1, prefix_work=3.0) for n in range(1, 5)]

    assert shortest(night(jobs, models=(A,))) == pytest.approx(10 + 4 * 2 + 3)


def test_what_is_submitted_late_is_done_late() -> None:
    jobs = [Job(1, A.key, 1.0), Job(2, A.key, 7.0, release=100.0)]

    assert shortest(night(jobs, models=(A,))) == pytest.approx(107)


def test_a_job_submitted_during_the_load_it_needs_waits_for_it() -> None:
    hosts = (HostSpec("gpu-1", slots=1), HostSpec("gpu-2", slots=1))

    assert shortest(night([Job(1, B.key, 7.0, release=5.0)], *hosts, models=(B,))) == pytest.approx(20 + 7)


def test_the_longest_job_bounds_the_night_on_the_fastest_host() -> None:
    hosts = (HostSpec("gpu-1", slots=1), HostSpec("gpu-2", slots=1, speed=2.0))

    assert shortest(night([Job(1, A.key, 100.0)], *hosts, models=(A,))) == pytest.approx(10 + 100 / 2)


def test_a_model_that_one_host_can_hold_bounds_the_night() -> None:
    only = Model("a:1", 10.0, hosts=frozenset({"gpu-1"}))
    hosts = (HostSpec("gpu-1", slots=1), HostSpec("gpu-2", slots=1))

    assert shortest(night(some(only, 10, 10.0), *hosts, models=(only,))) == pytest.approx(10 + 100)


def test_every_host_that_shares_a_model_loads_it() -> None:
    hosts = (HostSpec("gpu-1", slots=1), HostSpec("gpu-2", slots=1))
    one = night(some(A, 20, 10.0), *hosts, models=(A,))

    assert shortest(one) == pytest.approx((200 + 2 * 10) / 2)
    assert fewest_loads(one, shortest(one)) == 2


def test_a_longer_night_needs_fewer_loads() -> None:
    hosts = (HostSpec("gpu-1", slots=1), HostSpec("gpu-2", slots=1))
    one = night(some(A, 20, 10.0), *hosts, models=(A,))

    assert fewest_loads(one, 210.0) == 1
    assert fewest_loads(one, 209.0) == 2


def test_the_slowest_host_is_missed_least_while_it_loads() -> None:
    hosts = (HostSpec("gpu-1", slots=1), HostSpec("gpu-2", slots=1, speed=0.5))
    one = night([Job(n, (A.key, B.key)[n % 2], 10.0) for n in range(1, 31)], *hosts)

    assert shortest(one) == pytest.approx((300 + (10 + 20) * 0.5) / 1.5)


def test_the_windows_of_a_model_are_served_by_one_load() -> None:
    small = Model("a:1 num_ctx>=4096", 10.0, "a:1", 4096)
    large = Model("a:1 num_ctx>=8192", 10.0, "a:1", 8192)
    one = night([Job(1, small.key, 30.0), Job(2, large.key, 30.0)], models=(small, large))

    assert shortest(one) == pytest.approx(10 + 60)
    assert fewest_loads(one, 70.0) == 1

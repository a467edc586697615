"""How long work takes, against nights that were worked out by hand."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.policy.quote import Need, Pace, Part, Place, quote

MANY = 10**9
"""Jobs seen: what they take is as good as known."""
ONE, TWO = Place("a"), Place("b")


def need(key: str = "m:1", *, jobs: int = 0, hosts: str = "a", pace: Pace | None = None, **more: int) -> Need:
    paces = {host: pace or Pace(10.0, 1.0) for host in hosts}
    return Need(key, paces, jobs=jobs, **{"samples": MANY, **more})


def test_a_key_takes_its_load_and_its_jobs_over_its_slots() -> None:
    found = quote([need(jobs=41, pace=Pace(10.0, 2.0, slots=4))], [ONE])

    assert found.expected == 10 + 11 * 2  # the 41st job is a wave of its own
    assert found.loads == 1
    assert found.hosts[0].parts == (Part("m:1", 41, 10.0, 22.0, 32.0),)


def test_what_is_loaded_already_costs_no_load_and_comes_first() -> None:
    found = quote([need("x:1", jobs=5), need("y:1", jobs=7)], [Place("a", frozenset({"y:1"}))])

    assert found.expected == 7 + 10 + 5
    assert [part.runner_key for part in found.hosts[0].parts] == ["y:1", "x:1"]
    assert found.loads == 1


def test_two_keys_on_two_hosts_are_loaded_once_each() -> None:
    found = quote([need("x:1", jobs=100, hosts="ab"), need("y:1", jobs=100, hosts="ab")], [ONE, TWO])

    assert found.expected == 110
    assert [host.loads for host in found.hosts] == [1, 1]


def test_one_long_key_is_shared_where_that_pays_the_second_load() -> None:
    found = quote([need(jobs=100, hosts="ab")], [ONE, TWO])

    assert found.expected == 60  # 10 + 50 on each, instead of 110 on one
    assert [host.jobs for host in found.hosts] == [50, 50]


def test_a_load_that_saves_less_than_half_of_itself_is_not_made() -> None:
    found = quote([need(jobs=8, hosts="ab")], [ONE, TWO])

    assert found.loads == 1
    assert found.expected == 18


def test_a_host_twice_as_fast_does_twice_as_much() -> None:
    both = Need("m:1", {"a": Pace(0.0, 1.0), "b": Pace(0.0, 2.0)}, jobs=300, samples=MANY)

    found = quote([both], [ONE, TWO])

    assert [host.jobs for host in found.hosts] == [200, 100]
    assert found.expected == 200


def test_a_key_goes_to_the_one_host_that_can_hold_it_and_the_rest_makes_room() -> None:
    found = quote([need("big:1", jobs=100, hosts="b"), need("x:1", jobs=100, hosts="ab")], [ONE, TWO])

    assert found.expected == 110
    assert [part.runner_key for part in found.hosts[1].parts] == ["big:1"]


def test_others_jobs_of_a_higher_priority_come_first() -> None:
    found = quote([need("x:1", jobs=10), need("y:1", before=50)], [ONE])

    assert found.expected == 10 + 50 + 10 + 10
    assert found.low == pytest.approx((10 / 1.5 + 50 / 1.1) + (10 / 1.5 + 10 / 1.1), rel=1e-3)
    assert [part.runner_key for part in found.hosts[0].parts] == ["y:1", "x:1"]


def test_others_jobs_of_the_same_key_and_priority_take_turns_with_the_quoted_ones() -> None:
    found = quote([need(jobs=10, beside=1000)], [ONE])

    assert found.expected == 10 + 20  # as many of theirs as of ours
    assert found.low < 10 + 10
    assert found.high > 10 + 1010


def test_others_jobs_of_another_key_and_the_same_priority_may_come_first_or_last() -> None:
    found = quote([need("x:1", jobs=10), need("y:1", beside=100)], [ONE])

    assert found.expected == 10 + 100 + 10 + 10
    assert found.low == pytest.approx(10 / 1.5 + 10 / 1.1, rel=1e-3)


def test_the_less_was_seen_the_wider_the_range() -> None:
    ranges = []
    for seen in (0, 4, 100, 10_000):
        found = quote([need(jobs=1000, samples=seen)], [ONE])
        ranges.append(found.high / found.low)
        assert found.low <= found.expected <= found.high

    assert ranges == sorted(ranges, reverse=True)
    assert ranges[0] > 8
    assert ranges[-1] < 1.3


def test_work_that_no_host_can_hold_is_named_and_not_in_the_figures() -> None:
    found = quote([need("x:1", jobs=10, hosts="z"), need("y:1", jobs=10)], [ONE])

    assert found.unplaced == ("x:1",)
    assert found.expected == 20


def test_no_work_and_no_hosts_take_no_time() -> None:
    assert quote([], [ONE]).expected == 0
    assert quote([need(jobs=3)], []).unplaced == ("m:1",)


PACES = st.builds(Pace, st.floats(0, 100), st.floats(0.01, 50), st.integers(1, 8), st.booleans())


@st.composite
def nights(draw: st.DrawFn) -> tuple[list[Need], list[Place]]:
    hosts = [f"h{n}" for n in range(draw(st.integers(1, 5)))]
    keys = [f"m{n}:1" for n in range(draw(st.integers(1, 6)))]
    count = st.integers(0, 300)
    needs = [
        Need(
            key,
            draw(st.dictionaries(st.sampled_from(hosts), PACES)),
            jobs=draw(count),
            before=draw(count),
            beside=draw(count),
            samples=draw(count),
        )
        for key in keys
    ]
    return needs, [Place(host, frozenset(draw(st.sets(st.sampled_from(keys))))) for host in hosts]


@settings(max_examples=80)
@given(nights())
def test_every_job_is_done_once_in_any_night(night: tuple[list[Need], list[Place]]) -> None:
    needs, places = night

    found = quote(needs, places)

    assert 0 <= found.low <= found.expected <= found.high
    done: dict[str, int] = {}
    for host in found.hosts:
        at = 0.0
        for part in host.parts:
            assert part.jobs > 0
            assert part.until == pytest.approx(at + part.load_seconds + part.seconds)
            at = part.until
            done[part.runner_key] = done.get(part.runner_key, 0) + part.jobs
    for one in needs:
        beside = min(one.beside, one.jobs) if one.jobs else one.beside
        assert done.get(one.runner_key, 0) == (one.jobs + one.before + beside if one.paces else 0)


@settings(max_examples=50)
@given(nights())
def test_more_hosts_never_take_longer_than_one_of_them_alone(
    night: tuple[list[Need], list[Place]],
) -> None:
    needs, places = night
    one_host = [need for need in needs if places[0].host in need.paces]

    alone = quote(one_host, places[:1])
    together = quote(one_host, places)

    assert together.expected <= alone.expected * 1.000001 + 1e-9

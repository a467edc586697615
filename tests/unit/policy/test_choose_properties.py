"""What holds whatever the state of hosts and backlog."""

from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.policy.situations import NOW
from worker.domain.jobs import Priority
from worker.policy.choose import LOADS_PER_TURN, choose
from worker.policy.coalesce import coalesce
from worker.policy.facts import Due, Facts, HostFacts, LoadRunner, Parameters, RunJobs, Tier, Wait, Work
from worker.policy.picture import can_hold

KEYS = [f"{model}:1 num_ctx={window}" for model in "abcd" for window in (4096, 8192)]
moments = st.floats(-10_000, 10_000).map(lambda seconds: NOW + seconds)
seconds = st.floats(0.001, 500)
tiers = st.builds(Tier, st.integers(1, 10_000), moments, st.none() | moments)
works = st.builds(
    Work,
    st.sampled_from(KEYS),
    st.dictionaries(st.sampled_from(list(Priority)), tiers, min_size=1),
    due=st.lists(st.builds(Due, moments, st.integers(1, 500)), max_size=8).map(
        lambda due: sorted(due, key=lambda one: one.at)
    ),
    load_seconds=seconds,
    service_seconds=seconds,
    memory=st.none() | st.integers(1, 100),
    tried=st.booleans(),
    group=st.floats(1, 10),
).map(lambda one: replace(one, model=one.runner_key.split(" ")[0]))
hosts = st.builds(
    HostFacts,
    st.sampled_from([f"gpu-{n}" for n in range(2, 9)]),
    slots=st.integers(1, 8),
    speed=st.floats(0.1, 10),
    resident=st.dictionaries(st.sampled_from(KEYS), st.integers(0, 9), max_size=3),
    models_at_once=st.integers(1, 3),
    memory=st.none() | st.integers(1, 100),
    loading=st.none() | st.sampled_from(KEYS),
    loading_until=st.none() | moments,
    loading_starved=st.booleans(),
    serving=st.booleans(),
    models=st.none() | st.frozensets(st.sampled_from([f"{model}:1" for model in "abcd"])),
    blocked=st.dictionaries(st.sampled_from(KEYS), moments, max_size=3),
    draining=st.booleans(),
    loaded_at=st.none() | moments,
    loaded_seconds=seconds,
)
facts = st.builds(
    Facts,
    hosts.map(lambda one: replace(one, name="gpu-1", loading=None)),
    st.lists(hosts, max_size=4, unique_by=lambda one: one.name),
    st.lists(works, max_size=8, unique_by=lambda one: one.runner_key),
    st.just(NOW),
    st.dictionaries(st.sampled_from(KEYS), moments, max_size=3),
)


@settings(max_examples=120)
@given(facts)
def test_a_choice_never_raises_and_can_be_carried_out(state: Facts) -> None:
    decision = choose(state)

    waiting = {work.runner_key: work for work in state.work}
    match decision:
        case RunJobs():
            assert decision.runner_key in state.host.resident
            assert decision.jobs >= 1
            assert waiting[decision.runner_key].tiers
        case LoadRunner():
            assert decision.runner_key not in state.host.resident
            assert set(decision.evict) <= set(state.host.resident)
            assert can_hold(state.host, waiting[decision.runner_key], NOW)
            assert len(state.host.resident) - len(decision.evict) < max(state.host.models_at_once, 1), (
                "there is room for it after that"
            )
        case Wait():
            assert decision.reason


@settings(max_examples=120)
@given(facts)
def test_a_host_that_has_work_at_hand_never_waits(state: Facts) -> None:
    at_hand = any(
        work.runner_key in state.host.resident and can_hold(state.host, work, NOW) for work in state.work
    )

    if at_hand:
        assert not isinstance(choose(state), Wait)


@settings(max_examples=120)
@given(facts)
def test_an_idle_host_refuses_work_only_where_another_holds_it(state: Facts) -> None:
    if not isinstance(choose(state), Wait) or state.host.draining:
        return

    for work in state.work:
        if can_hold(state.host, work, NOW):
            assert any(
                other.serving and (work.runner_key in other.resident or work.runner_key == other.loading)
                for other in state.peers
            )


@settings(max_examples=120)
@given(facts)
def test_two_hosts_with_one_picture_decide_alike(state: Facts) -> None:
    assert choose(state) == choose(replace(state, work=list(reversed(state.work))))


# -- nobody starves ---------------------------------------------------------------------------------------------------

floods = st.lists(
    st.tuples(
        st.sampled_from(["a:1", "b:1", "c:1", "d:1"]),
        st.sampled_from([priority for priority in Priority if priority is not Priority.INTERACTIVE]),
    ),
    min_size=2,
    max_size=6,
    unique=True,
)
PATIENCE = {
    Priority.INTERACTIVE: float("inf"),
    Priority.HIGH: 100.0,
    Priority.NORMAL: 200.0,
    Priority.BULK: 400.0,
}
LOAD = 5.0


@settings(max_examples=60)
@given(floods, st.integers(1, 3))
def test_every_key_and_priority_is_served_within_its_bound(
    keys: list[tuple[str, Priority]], slots: int
) -> None:
    """One host that could work on any of them for ever: a job of each is claimed at least every patience and a round."""
    work = {key: {p: Tier(10**6, NOW) for k, p in keys if k == key} for key, _ in keys}
    served = dict.fromkeys(keys, NOW)
    resident, now, loaded_at = "", NOW, None
    least = LOADS_PER_TURN * LOAD * len(work)
    round_of_all = len(keys) * (LOAD + 2.0)

    while now < NOW + 3000:
        state = Facts(
            HostFacts(
                "gpu-1",
                slots=slots,
                resident={resident: 0} if resident else {},
                loaded_at=loaded_at,
                loaded_seconds=LOAD,
            ),
            (),
            [
                Work(
                    key,
                    {p: Tier(t.jobs, t.oldest_at, served[key, p]) for p, t in of.items()},
                    model=key,
                    load_seconds=LOAD,
                    service_seconds=1.0,
                )
                for key, of in work.items()
            ],
            now,
            parameters=Parameters(patience=PATIENCE),
        )
        match choose(state):
            case RunJobs() as decision:
                now += -(-decision.jobs // slots)
                for priority in decision.priorities or (min(work[decision.runner_key]),):
                    served[decision.runner_key, priority] = now
            case LoadRunner() as decision:
                resident, now = decision.runner_key, now + LOAD
                loaded_at = now
            case Wait():
                raise AssertionError("there is work")
        for (key, priority), at in served.items():
            wave = 64.0
            assert now - at <= max(PATIENCE[priority], least) + wave + round_of_all, (
                f"{key} {priority} starves"
            )


@given(st.lists(st.sampled_from(["a:1", "a:2", "b:1"]), min_size=1), st.data())
def test_each_queued_key_is_served_by_exactly_one_runner_that_is_large_enough(
    models: list[str], data: Any
) -> None:
    windows = st.sampled_from([2048, 4096, 8192, 32768])
    queued = sorted(
        {f"{model} num_ctx{data.draw(st.sampled_from(['=', '>=']))}{data.draw(windows)}" for model in models}
    )
    resident = sorted({f"{model} num_ctx={data.draw(windows)}" for model in models})

    groups = coalesce(queued, resident=resident, weights={"a:1": "w", "a:2": "w"})

    assert sorted(member for group in groups for member in group.members) == queued
    for group in groups:
        window = int(group.runner_key.rpartition("=")[2])
        for member in group.members:
            asked = int(member.rpartition("=")[2])
            assert window >= asked if ">=" in member else window == asked

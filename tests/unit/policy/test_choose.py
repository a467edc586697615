"""What a host does next, rule by rule."""

from dataclasses import replace

import pytest

from tests.unit.policy.situations import NOW, busy, decide, host, work
from worker.domain.jobs import Priority
from worker.policy.facts import Due, LoadRunner, Order, Parameters, RunJobs, Tier, Wait

PATIENCE = Parameters().patience
WITH_BOUND = [priority for priority in Priority if priority is not Priority.INTERACTIVE]


def test_without_work_a_host_waits() -> None:
    assert decide() == Wait("no work")


def test_a_draining_host_takes_nothing() -> None:
    assert decide(work("a:1"), on=host(draining=True)) == Wait("draining")


def test_a_model_that_the_host_does_not_have_is_not_loaded_there() -> None:
    assert isinstance(decide(work("a:1"), on=host(models=frozenset({"b:1"}))), Wait)
    assert isinstance(decide(work("a:1"), on=host(models=frozenset({"a:1"}))), LoadRunner)


def test_a_runner_larger_than_the_host_s_memory_is_not_loaded_there() -> None:
    assert isinstance(decide(work("a:1", memory=30), on=host(memory=24)), Wait)


def test_a_runner_that_is_loaded_is_used_however_large_it_turned_out_to_be() -> None:
    assert isinstance(decide(work("a:1", memory=30), on=host("gpu-1", "a:1", memory=24)), RunJobs)


def test_a_key_that_backs_off_here_is_left_alone_until_its_time() -> None:
    assert isinstance(decide(work("a:1"), on=host(blocked={"a:1": NOW + 5})), Wait)
    assert isinstance(decide(work("a:1"), on=host(blocked={"a:1": NOW - 5})), LoadRunner)


# -- starved ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("priority", WITH_BOUND)
def test_whoever_waited_past_its_patience_is_loaded_though_the_resident_has_work(priority: Priority) -> None:
    starved = work("b:1", 1, priority, waited=PATIENCE[priority] + 1, load_seconds=5)
    resident = work("a:1", 500, Priority.HIGH, load_seconds=5)

    decision = decide(resident, starved, on=host("gpu-1", "a:1"))

    assert isinstance(decision, LoadRunner)
    assert (decision.runner_key, decision.evict, decision.starved) == ("b:1", ("a:1",), True)
    assert decision.reason.startswith("starved: ")


def test_a_starved_priority_of_the_resident_gets_a_share_of_its_own() -> None:
    both = work("a:1", 500, Priority.HIGH)
    both = replace(both, tiers={**both.tiers, Priority.BULK: Tier(9, NOW - 8000, NOW - 7500)})

    decision = decide(both, on=host("gpu-1", "a:1"))

    assert isinstance(decision, RunJobs)
    assert (decision.priorities, decision.jobs) == ((Priority.BULK,), 2)


def test_a_key_served_a_moment_ago_is_not_starved_however_old_its_oldest_job() -> None:
    decision = decide(work("a:1", 500), work("b:1", 1, waited=9000, served=5), on=host("gpu-1", "a:1"))

    assert isinstance(decision, RunJobs)


def test_keys_whose_loads_together_outlast_the_patience_do_not_take_turns_in_starving() -> None:
    keys = [work(f"{n}:1", 5, waited=1300, served=None, load_seconds=60) for n in range(6)]

    decision = decide(work("a:1", 500, load_seconds=60), *keys, on=host("gpu-1", "a:1"))

    assert isinstance(decision, RunJobs)


def test_not_more_than_half_of_the_fleet_loads_for_the_starved() -> None:
    loading = [busy(f"gpu-{n}", "x:1", loading=f"{n}:1", loading_starved=True) for n in (2, 3)]
    starved = work("b:1", 1, waited=2000, load_seconds=5)

    decision = decide(
        work("a:1", 500, load_seconds=5),
        starved,
        on=host("gpu-1", "a:1"),
        peers=(*loading, busy("gpu-4", "y:1")),
    )

    assert isinstance(decision, RunJobs)


# -- interactive --------------------------------------------------------------------------------------------------


def test_an_interactive_job_of_the_resident_goes_before_its_bulk_and_takes_a_slot_more() -> None:
    both = work("a:1", 500, Priority.BULK)
    both = replace(both, tiers={**both.tiers, Priority.INTERACTIVE: Tier(9, NOW - 1)})

    decision = decide(both, on=busy("gpu-1", "a:1"))

    assert isinstance(decision, RunJobs)
    assert (decision.jobs, decision.priorities) == (1, (Priority.INTERACTIVE,))


def test_an_interactive_job_that_no_host_holds_is_loaded_though_the_resident_has_work() -> None:
    decision = decide(
        work("a:1", 500), work("b:1", 1, Priority.INTERACTIVE), on=busy("gpu-1", "a:1", slots=2)
    )

    assert isinstance(decision, LoadRunner)
    assert decision.runner_key == "b:1"


def test_an_interactive_job_is_left_to_the_host_that_holds_it() -> None:
    decision = decide(
        work("a:1", 500),
        work("b:1", 1, Priority.INTERACTIVE),
        on=busy("gpu-1", "a:1"),
        peers=(busy("gpu-2", "b:1"),),
    )

    assert isinstance(decision, RunJobs)


def test_an_interactive_job_goes_to_the_host_that_gives_up_least() -> None:
    urgent, bulk = work("b:1", 1, Priority.INTERACTIVE), work("a:1", 500)
    idle = host("gpu-2")

    assert isinstance(decide(bulk, urgent, on=busy("gpu-1", "a:1"), peers=(idle,)), RunJobs)
    assert isinstance(decide(bulk, urgent, on=idle, peers=(busy("gpu-1", "a:1"),)), LoadRunner)


# -- deadlines ----------------------------------------------------------------------------------------------------


def test_work_whose_deadline_is_near_goes_before_more_urgent_work() -> None:
    late = work("b:1", 100, Priority.BULK, due=[Due(NOW + 100, 100)], load_seconds=10)

    decision = decide(work("a:1", 500, Priority.HIGH), late, on=host("gpu-1", "a:1"))

    assert isinstance(decision, LoadRunner)
    assert decision.reason.startswith("deadline: 100 jobs due in 100 s")


def test_work_whose_deadline_is_far_waits_for_its_priority() -> None:
    late = work("b:1", 100, Priority.BULK, due=[Due(NOW + 5000, 100)], load_seconds=10)

    assert isinstance(decide(work("a:1", 500, Priority.HIGH), late, on=host("gpu-1", "a:1")), RunJobs)


def test_what_cannot_be_done_in_time_any_more_is_not_promoted() -> None:
    hopeless = work("b:1", 100, Priority.BULK, due=[Due(NOW + 5, 100)], load_seconds=10)

    assert isinstance(decide(work("a:1", 500, Priority.HIGH), hopeless, on=host("gpu-1", "a:1")), RunJobs)


def test_one_hopeless_deadline_does_not_cost_the_key_its_others() -> None:
    due = [Due(NOW + 5, 50), Due(NOW + 100, 100)]
    both = work("b:1", 150, Priority.BULK, due=due, load_seconds=10)

    decision = decide(work("a:1", 500, Priority.HIGH), both, on=host("gpu-1", "a:1"))

    assert isinstance(decision, LoadRunner)


def test_the_earliest_of_the_critical_runs_first() -> None:
    first = work("a:1", 100, due=[Due(NOW + 90, 100)])
    second = work("b:1", 100, due=[Due(NOW + 120, 100)])

    decision = decide(first, second, on=host("gpu-1", "a:1", "b:1", models_at_once=2))

    assert isinstance(decision, RunJobs)
    assert decision.runner_key == "a:1"


def test_a_host_without_dated_work_takes_it_rather_than_one_that_has_some() -> None:
    mine = work("a:1", 100, due=[Due(NOW + 500, 100)], load_seconds=10)
    other = work("b:1", 100, due=[Due(NOW + 120, 100)], load_seconds=10)

    decision = decide(mine, other, on=host("gpu-1", "a:1"), peers=(host("gpu-2"),))

    assert isinstance(decision, RunJobs)
    assert decision.runner_key == "a:1"


# -- priorities and what a load pays ------------------------------------------------------------------------------


def test_a_host_stays_on_its_resident_runner_while_it_has_work() -> None:
    decision = decide(work("a:1", 3), work("b:1", 900), on=host("gpu-1", "a:1"))

    assert isinstance(decision, RunJobs)
    assert (decision.runner_key, decision.jobs) == ("a:1", 3)


def test_equal_or_lower_priority_does_not_interrupt_a_run() -> None:
    decision = decide(work("a:1", 5), work("b:1", 500, Priority.BULK), on=host("gpu-1", "a:1"))

    assert isinstance(decision, RunJobs)


def test_more_urgent_work_is_loaded_where_it_pays_for_the_load_and_the_way_back() -> None:
    bulk = work("a:1", 500, Priority.BULK, load_seconds=10)

    enough = decide(bulk, work("b:1", 100, Priority.HIGH, load_seconds=10), on=host("gpu-1", "a:1"))
    few = decide(bulk, work("b:1", 10, Priority.HIGH, load_seconds=10), on=host("gpu-1", "a:1"))

    assert isinstance(enough, LoadRunner)
    assert isinstance(few, RunJobs)


def test_a_host_that_has_just_loaded_does_not_leave_for_more_urgent_work() -> None:
    fresh = host("gpu-1", "a:1", loaded_at=NOW - 5, loaded_seconds=10.0)

    decision = decide(work("a:1", 500, Priority.BULK), work("b:1", 500, Priority.HIGH), on=fresh)

    assert isinstance(decision, RunJobs)


def test_the_key_with_the_most_work_is_loaded_first_among_equals() -> None:
    decision = decide(work("a:1", 3), work("b:1", 9))

    assert isinstance(decision, LoadRunner)
    assert decision.runner_key == "b:1"


def test_a_key_that_only_this_host_can_hold_is_loaded_before_one_that_others_can() -> None:
    other = host("gpu-2", resident={"x:1": 2}, models=frozenset({"b:1", "x:1"}))

    decision = decide(work("a:1", 3), work("b:1", 900), on=host("gpu-1"), peers=(other,))

    assert isinstance(decision, LoadRunner)
    assert decision.runner_key == "a:1"


def test_a_key_that_another_serving_host_holds_or_loads_is_left_to_it() -> None:
    holder, loader = busy("gpu-2", "b:1"), host("gpu-3", loading="c:1")

    decision = decide(work("a:1", 1), work("b:1", 9), work("c:1", 9), peers=(holder, loader))

    assert isinstance(decision, LoadRunner)
    assert decision.runner_key == "a:1"


def test_a_key_held_by_a_host_that_nobody_serves_is_free_to_load() -> None:
    assert isinstance(decide(work("b:1", 9), peers=(host("gpu-2", "b:1", serving=False),)), LoadRunner)


def test_an_idle_host_joins_a_key_whose_rest_outlasts_a_load() -> None:
    holder = busy("gpu-2", "b:1")

    assert isinstance(decide(work("b:1", 1000, load_seconds=10), peers=(holder,)), LoadRunner)
    assert isinstance(decide(work("b:1", 10, load_seconds=10), peers=(holder,)), Wait)


def test_the_least_valuable_runner_makes_room() -> None:
    full = host("gpu-1", "a:1", "c:1", models_at_once=2)

    decision = decide(work("a:1", 5, Priority.BULK), work("b:1", 900, Priority.HIGH), on=full)

    assert isinstance(decision, LoadRunner)
    assert decision.evict == ("c:1",)


def test_a_runner_that_people_used_lately_is_worth_more_than_one_that_nobody_did() -> None:
    full = host("gpu-1", "c:1", "d:1", models_at_once=2)

    decision = decide(work("b:1", 900), on=full, interactive_at={"c:1": NOW - 30})

    assert isinstance(decision, LoadRunner)
    assert decision.evict == ("d:1",)


def test_another_window_of_the_same_model_has_to_go() -> None:
    roomy = host("gpu-1", "a:1 num_ctx=4096", "c:1", models_at_once=3)

    decision = decide(work("a:1 num_ctx=8192", 9), on=roomy)

    assert isinstance(decision, LoadRunner)
    assert decision.evict == ("a:1 num_ctx=4096",)


def test_memory_that_was_told_limits_how_many_runners_stay() -> None:
    sizes = {"c:1": 10, "d:1": 12}
    roomy = host("gpu-1", "c:1", "d:1", models_at_once=3, memory=30, sizes=sizes)

    decision = decide(work("b:1", 9, memory=15), on=roomy)

    assert isinstance(decision, LoadRunner)
    assert decision.evict == ("c:1",)


# -- how much is claimed ------------------------------------------------------------------------------------------


def test_short_jobs_are_claimed_many_at_a_time_and_long_ones_as_slots_free() -> None:
    short = decide(work("a:1", 900, service_seconds=0.01), on=host("gpu-1", "a:1"))
    long = decide(work("a:1", 900, service_seconds=60), on=host("gpu-1", "a:1"))
    unknown = decide(work("a:1", 900, tried=False), on=host("gpu-1", "a:1"))

    assert isinstance(short, RunJobs)
    assert isinstance(long, RunJobs)
    assert isinstance(unknown, RunJobs)
    assert (short.jobs, long.jobs, unknown.jobs) == (64, 2, 2)


def test_whole_prefix_groups_are_claimed() -> None:
    decision = decide(work("a:1", 900, service_seconds=60, group=6.0), on=host("gpu-1", "a:1"))

    assert isinstance(decision, RunJobs)
    assert decision.jobs == 12


def test_the_end_of_a_backlog_is_shared_between_the_hosts_that_serve_it() -> None:
    decision = decide(
        work("a:1", 20, service_seconds=0.01), on=host("gpu-1", "a:1"), peers=(busy("gpu-2", "a:1"),)
    )

    assert isinstance(decision, RunJobs)
    assert decision.jobs == 5


def test_the_longest_are_started_first_when_little_is_left() -> None:
    few, many = (
        decide(work("a:1", 6), on=host("gpu-1", "a:1")),
        decide(work("a:1", 7), on=host("gpu-1", "a:1")),
    )

    assert isinstance(few, RunJobs)
    assert isinstance(many, RunJobs)
    assert (few.order, many.order) == (Order.LONGEST, Order.GROUP)

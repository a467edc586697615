"""What a host does next."""

from datetime import UTC, datetime, timedelta

import pytest

from worker.domain.backlog import Waiting
from worker.domain.hosts import HostView
from worker.domain.jobs import Priority
from worker.policy.choose import PATIENCE, Decision, Facts, LoadRunner, Pace, RunJobs, Wait, choose

NOW = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)


def view(name: str = "gpu-1", **fields: object) -> HostView:
    defaults: dict[str, object] = {
        "resident": None,
        "intent": None,
        "serving": True,
        "models": frozenset(),
        "looked": "models" in fields,
    }
    return HostView(name=name, **{**defaults, **fields})  # type: ignore[arg-type]


def waiting(
    key: str,
    jobs: int = 10,
    priority: Priority = Priority.NORMAL,
    *,
    waited: timedelta = timedelta(seconds=1),
    served: timedelta | None = None,
) -> Waiting:
    return Waiting(
        key,
        key.split(" ", maxsplit=1)[0],
        priority,
        jobs,
        NOW - waited,
        None if served is None else NOW - served,
    )


def decide(
    *backlog: Waiting, host: HostView | None = None, others: tuple[HostView, ...] = (), **more: object
) -> Decision:
    return choose(Facts(host=host or view(), slots=2, others=others, backlog=backlog, now=NOW, **more))  # type: ignore[arg-type]


def test_without_work_a_host_waits() -> None:
    assert decide() == Wait("no work")


def test_a_host_stays_on_its_resident_runner_while_it_has_work() -> None:
    decision = decide(waiting("a:1", 3), waiting("b:1", 900), host=view(resident="a:1"))

    assert isinstance(decision, RunJobs)
    assert (decision.runner_key, decision.jobs) == ("a:1", 2)


def test_the_key_with_the_most_work_is_loaded_first() -> None:
    decision = decide(waiting("a:1", 3), waiting("b:1", 9))

    assert isinstance(decision, LoadRunner)
    assert decision.runner_key == "b:1"


def test_a_key_that_another_serving_host_holds_or_loads_is_left_to_it() -> None:
    holder, loader = view("gpu-2", resident="b:1"), view("gpu-3", intent="c:1")

    decision = decide(waiting("a:1", 1), waiting("b:1", 9), waiting("c:1", 9), others=(holder, loader))

    assert isinstance(decision, LoadRunner)
    assert decision.runner_key == "a:1"


def test_a_key_held_by_a_host_that_nobody_serves_is_free_to_load() -> None:
    decision = decide(waiting("b:1", 9), others=(view("gpu-2", resident="b:1", serving=False),))

    assert isinstance(decision, LoadRunner)


def test_an_idle_host_joins_a_key_whose_rest_outlasts_a_load() -> None:
    paces = {"b:1": Pace(load_seconds=10, service_seconds=1)}
    holder = view("gpu-2", resident="b:1")

    assert isinstance(decide(waiting("b:1", 1000), others=(holder,), paces=paces), LoadRunner)
    assert isinstance(decide(waiting("b:1", 10), others=(holder,), paces=paces), Wait)


def test_more_urgent_work_elsewhere_is_worth_a_load() -> None:
    decision = decide(
        waiting("a:1", 500, Priority.BULK), waiting("b:1", 1, Priority.HIGH), host=view(resident="a:1")
    )

    assert decision == LoadRunner("b:1", "high: 1 jobs and no host holds it")


def test_urgent_work_of_the_resident_runner_goes_before_its_bulk() -> None:
    decision = decide(
        waiting("a:1", 500, Priority.BULK), waiting("a:1", 1, Priority.INTERACTIVE), host=view(resident="a:1")
    )

    assert isinstance(decision, RunJobs)
    assert decision.jobs == 1


def test_equal_or_lower_priority_does_not_interrupt_a_run() -> None:
    decision = decide(
        waiting("a:1", 5, Priority.NORMAL), waiting("b:1", 500, Priority.BULK), host=view(resident="a:1")
    )

    assert isinstance(decision, RunJobs)


@pytest.mark.parametrize("priority", list(Priority))
def test_whoever_waited_past_its_patience_is_served_though_the_resident_has_work(priority: Priority) -> None:
    starved = waiting("b:1", 1, priority, waited=PATIENCE[priority] + timedelta(seconds=1))
    quick = {"a:1": Pace(load_seconds=5), "b:1": Pace(load_seconds=5)}

    decision = decide(
        waiting("a:1", 500, Priority.INTERACTIVE), starved, host=view(resident="a:1"), paces=quick
    )

    assert isinstance(decision, LoadRunner)
    assert decision.runner_key == "b:1"
    assert decision.reason.startswith("starved")


def test_keys_whose_loads_together_outlast_the_patience_do_not_take_turns_in_starving() -> None:
    keys = ("a:1", "b:1", "c:1", "d:1")
    slow = {key: Pace(load_seconds=20) for key in keys}
    backlog = [
        waiting(
            key, 50, Priority.INTERACTIVE, waited=timedelta(seconds=300), served=timedelta(seconds=served)
        )
        for key, served in zip(keys, (1, 100, 200, 310), strict=True)
    ]

    assert isinstance(decide(*backlog, host=view(resident="a:1"), paces=slow), RunJobs)

    late = waiting("d:1", 50, Priority.INTERACTIVE, waited=timedelta(seconds=330))
    decision = decide(*backlog[:3], late, host=view(resident="a:1"), paces=slow)
    assert isinstance(decision, LoadRunner)
    assert decision.runner_key == "d:1"


def test_a_draining_host_takes_nothing() -> None:
    assert decide(waiting("a:1", 5), host=view(resident="a:1", draining=True)) == Wait("draining")


def test_a_host_that_was_seen_to_have_no_model_is_given_none() -> None:
    assert isinstance(decide(waiting("a:1", 5), host=view(models=frozenset())), Wait)


def test_the_slots_of_a_host_that_nobody_serves_do_not_count_for_what_it_holds() -> None:
    paces = {"b:1": Pace(load_seconds=10, service_seconds=1)}
    held = view("gpu-2", resident="b:1", slots=2)
    left = view("gpu-3", resident="b:1", slots=100, serving=False)

    assert isinstance(decide(waiting("b:1", 50), others=(held, left), paces=paces), LoadRunner)


def test_a_starved_priority_of_the_resident_gets_a_share_of_its_own() -> None:
    bulk = waiting("a:1", 9, Priority.BULK, waited=timedelta(hours=9), served=timedelta(hours=3))

    decision = decide(waiting("a:1", 500, Priority.HIGH), bulk, host=view(resident="a:1"))

    assert isinstance(decision, RunJobs)
    assert decision.priorities == (Priority.BULK,)


def test_a_key_served_a_moment_ago_is_not_starved_however_old_its_oldest_job() -> None:
    old = waiting("b:1", 9, waited=timedelta(days=1), served=timedelta(seconds=5))

    decision = decide(waiting("a:1", 500), old, host=view(resident="a:1"))

    assert isinstance(decision, RunJobs)


def test_a_model_that_the_host_does_not_have_is_not_loaded_there() -> None:
    host = view(models=frozenset({"a:1"}))

    assert isinstance(decide(waiting("b:1", 9), host=host), Wait)


def test_a_key_that_backs_off_here_is_left_alone_until_its_time() -> None:
    def blocked(until: datetime) -> HostView:
        return view(blocked={"b:1": until})

    assert isinstance(decide(waiting("b:1"), host=blocked(NOW + timedelta(seconds=9))), Wait)
    assert isinstance(decide(waiting("b:1"), host=blocked(NOW)), LoadRunner)


def test_short_jobs_are_claimed_many_at_a_time_and_long_ones_as_slots_free() -> None:
    host = view(resident="a:1")

    short = decide(waiting("a:1", 900), host=host, paces={"a:1": Pace(service_seconds=0.01)})
    long = decide(waiting("a:1", 900), host=host, paces={"a:1": Pace(service_seconds=60)})

    assert isinstance(short, RunJobs)
    assert isinstance(long, RunJobs)
    assert (short.jobs, long.jobs) == (64, 2)


def test_the_end_of_a_backlog_is_shared_between_the_hosts_that_serve_it() -> None:
    decision = decide(
        waiting("a:1", 8),
        host=view(resident="a:1"),
        others=(view("gpu-2", resident="a:1"),),
        paces={"a:1": Pace(service_seconds=0.01)},
    )

    assert isinstance(decision, RunJobs)
    assert decision.jobs == 2

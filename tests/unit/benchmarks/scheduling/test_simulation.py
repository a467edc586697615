"""The simulation, on nights that can be worked out by hand."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from benchmarks.scheduling.baselines import BASELINES
from benchmarks.scheduling.engine import Sim
from benchmarks.scheduling.figures import OURS, Figures, measure, simulate
from benchmarks.scheduling.night import HostSpec, Job, Model, Night, together
from benchmarks.scheduling.picture import picture
from benchmarks.scheduling.report import promises, tables, write_results
from benchmarks.scheduling.workloads import WORKLOADS
from worker.domain.jobs import Priority

A, B = Model("a:1", 10.0), Model("b:1", 20.0)


def night(jobs: Sequence[Job], *hosts: HostSpec, models: Sequence[Model] = (A, B)) -> Night:
    return Night("test", "", models, hosts or (HostSpec("gpu-1", slots=1),), jobs)


def alternating(count: int, work: float = 5.0) -> list[Job]:
    return [Job(n, (A.key, B.key)[n % 2], work) for n in range(1, count + 1)]


@pytest.fixture(autouse=True)
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.scheduling.engine.LOAD_NOISE", 0.0)


@pytest.mark.parametrize(
    ("policy", "loads"),
    [("first come", 8), ("plain Celery", 8), ("exhaustive", 2), ("collate (llama-swap)", 2), (OURS, 2)],
)
def test_a_policy_s_loads_are_counted(policy: str, loads: int) -> None:
    outcome = simulate(night(alternating(8)), policy, 1)

    assert outcome.loads == loads
    assert outcome.seconds == pytest.approx(8 * 5 + sum(30.0 for _ in range(loads // 2)))


def test_busy_slots_share_the_host() -> None:
    one = night([Job(n, A.key, 6.0) for n in (1, 2)], HostSpec("gpu-1", slots=2), models=(A,))

    assert simulate(one, "exhaustive", 1).seconds == pytest.approx(10 + 2 * 6 / together(2))


def test_a_request_more_than_there_are_slots_waits_at_the_host_for_the_next() -> None:
    bulk = [Job(1, A.key, 6.0, priority=Priority.BULK), Job(2, A.key, 9.0, priority=Priority.BULK)]
    urgent = Job(3, A.key, 1.0, release=12.0, priority=Priority.INTERACTIVE)
    one = night([*bulk, urgent], HostSpec("gpu-1", slots=1), models=(A,))

    waits = simulate(one, OURS, 1).waits

    assert waits[Priority.INTERACTIVE] == [
        pytest.approx(4 + 1)
    ]  # the first ends at 16, the second begins at 17
    assert sorted(waits[Priority.BULK]) == [pytest.approx(16), pytest.approx(26)]


def test_a_slot_remembers_its_prefix() -> None:
    jobs = [Job(n, A.key, 2.0, prefix=n % 2, prefix_work=3.0) for n in range(1, 9)]
    one = night(jobs, HostSpec("gpu-1", slots=1), models=(A,))

    assert simulate(one, "first come", 1).prefixes == 8
    assert simulate(one, OURS, 1).prefixes == 2


def test_a_deadline_that_is_passed_is_counted() -> None:
    jobs = [Job(1, A.key, 5.0, deadline=12.0), Job(2, A.key, 5.0, deadline=20.0)]

    assert simulate(night(jobs, models=(A,)), OURS, 1).missed == {1}


@pytest.mark.parametrize("policy", [*BASELINES, OURS])
@pytest.mark.parametrize("workload", list(WORKLOADS))
def test_every_policy_ends_every_night(workload: str, policy: str) -> None:
    small = WORKLOADS[workload](7, 0.02)

    outcome = simulate(small, policy, 7)

    assert sum(map(len, outcome.waits.values())) == len(small.jobs)
    assert outcome.loads >= 1


def test_a_load_never_begins_while_anything_runs() -> None:
    small = WORKLOADS["W10"](7, 0.05)
    seen: list[bool] = []

    class Watching(Sim):
        def _load(self, host: object, load: object) -> None:
            seen.append(not host.running and not host.buffer)  # type: ignore[attr-defined]
            super()._load(host, load)  # type: ignore[arg-type]

    from benchmarks.scheduling.ours import Planner

    planner = Planner(small)
    sim = Watching(small, planner, seed=7, sees_urgent=True)
    planner.attach(sim)
    sim.run()

    assert seen
    assert all(seen)


def test_an_urgent_job_is_not_left_waiting_behind_bulk() -> None:
    bulk = [Job(n, A.key, 5.0, priority=Priority.BULK) for n in range(1, 400)]
    urgent = Job(400, B.key, 1.0, release=100.0, priority=Priority.INTERACTIVE)
    one = night([*bulk, urgent])

    assert simulate(one, OURS, 1).waits[Priority.INTERACTIVE][0] < 40
    assert simulate(one, "exhaustive", 1).waits[Priority.INTERACTIVE][0] > 1000


def test_results_are_written_between_their_marks(tmp_path: Path) -> None:
    path = tmp_path / "RESULTS.md"
    path.write_text("# What the benchmarks gave\n\n<!-- other -->\nkept\n<!-- end -->\n")

    write_results(path, "first")
    write_results(path, "second")

    text = path.read_text()
    assert "kept" in text
    assert "second" in text
    assert "first" not in text


def test_tables_and_picture_name_every_policy() -> None:
    found = measure(["W1", "W10"], [7], size=0.02)

    text, drawn = tables(found), picture(found)

    assert all(one.policy in text for one in found)
    assert drawn.count("<rect") == 1 + len(found) + sum(1 for one in found if one.workload == "W10")
    assert ElementTree.fromstring(drawn).tag.endswith("svg")


def test_no_schedule_needs_fewer_loads_than_its_bound() -> None:
    found = measure(["W1", "W2", "W4", "W6", "W7"], [7, 8], size=0.05)

    assert all(one.load_ratio >= 1 for one in found)


def test_time_by_priority_is_shown_where_work_is_of_several() -> None:
    bulk, high = Job(1, A.key, 4.0, priority=Priority.BULK), Job(2, A.key, 6.0, priority=Priority.HIGH)
    waits = simulate(night([bulk, high], models=(A,)), OURS, 1).waits

    one = Figures("W9", OURS, time=[1.0], loads=[1], fewest=[1], share=[0.5], flows=dict(waits))

    assert "16 s / – / 20 s" in tables([one])


@pytest.mark.parametrize(
    ("workload", "worse", "broken"),
    [
        ("W1", {"time": [1.05]}, ["W1 T/LB: 1.050, at most 1.02"]),
        ("W2", {"loads": [4]}, ["W2 loads/LB: 1.333, at most 1.3"]),
        ("W4", {"flows": {Priority.INTERACTIVE: [30.0]}}, ["W4 urgent p99, seconds: 30.000, at most 20"]),
        ("W5", {"missed_but_met": 1}, ["W5 deadlines missed that strict EDF meets: 1.000, at most 0"]),
        ("W7", {"prefixes": 104}, ["W7 prefixes / least: 1.040, at most 1.03"]),
        ("W4", {}, []),
    ],
)
def test_a_promise_that_is_not_kept_is_named(
    workload: str, worse: Mapping[str, Any], broken: Sequence[str]
) -> None:
    good = Figures(
        workload, OURS, time=[1.0], loads=[3], fewest=[3], share=[0.0], prefixes=100, documents=100
    )
    good.flows = {Priority.INTERACTIVE: [5.0]}

    told = promises([replace(good, **worse)])

    assert told
    assert [text for text, kept in told if not kept] == broken

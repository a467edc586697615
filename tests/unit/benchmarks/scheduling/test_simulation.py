"""The simulation and its bounds, on nights that can be worked out by hand."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks.scheduling.baselines import BASELINES
from benchmarks.scheduling.bounds import fewest_loads, shortest
from benchmarks.scheduling.engine import Sim
from benchmarks.scheduling.figures import OURS, measure, simulate
from benchmarks.scheduling.night import HostSpec, Job, Model, Night, together
from benchmarks.scheduling.picture import picture
from benchmarks.scheduling.report import tables, write_results
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


def test_one_host_loads_each_model_once_at_best() -> None:
    one = night(alternating(8))

    assert shortest(one) == pytest.approx(10 + 20 + 8 * 5)
    assert fewest_loads(one, shortest(one)) == 2


def test_all_slots_together_do_less_than_each_alone() -> None:
    one = night([Job(n, A.key, 6.0) for n in range(1, 9)], HostSpec("gpu-1", slots=4), models=(A,))

    assert shortest(one) == pytest.approx(10 + 8 * 6 / together(4))


def test_a_prefix_counts_once_in_the_bound() -> None:
    jobs = [Job(n, A.key, 2.0, prefix=1, prefix_work=3.0) for n in range(1, 5)]

    assert shortest(night(jobs, models=(A,))) == pytest.approx(10 + 4 * 2 + 3)


def test_what_is_submitted_late_is_done_late() -> None:
    jobs = [Job(1, A.key, 1.0), Job(2, A.key, 7.0, release=100.0)]

    assert shortest(night(jobs, models=(A,))) == pytest.approx(107)


def test_a_model_that_one_host_can_hold_bounds_the_night() -> None:
    only = Model("a:1", 10.0, hosts=frozenset({"gpu-1"}))
    jobs = [Job(n, "a:1", 10.0) for n in range(1, 11)]

    assert (
        shortest(night(jobs, HostSpec("gpu-1", slots=1), HostSpec("gpu-2", slots=1), models=(only,))) == 110
    )


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
    found = measure(["W1"], [7], size=0.02)

    assert all(one.policy in tables(found) for one in found)
    assert picture(found).count("<rect") == 1 + len(found)

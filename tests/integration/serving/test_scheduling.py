"""What the planner's decisions come to on simulated hosts, on both databases."""

import threading
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

import simulator
from tests.asking import generate
from tests.integration.serving.test_serve import MODELS, TENTH, add, counts, serve, simulated, submit
from tests.waiting import wait_until
from worker.clock import Clock, OffsetClock
from worker.domain.jobs import JobState
from worker.domain.selection import Selection
from worker.exports.results import result_lines
from worker.hosts.registry import register
from worker.observability import events
from worker.ollama.client import OllamaHost
from worker.policy.turns import TURN
from worker.storage.claims import claim_jobs
from worker.storage.engine import Database
from worker.storage.host_rows import read_hosts
from worker.storage.paces import read_paces
from worker.storage.runs import list_runs

LLAMA = MODELS[0]
KEY = f"{LLAMA} num_ctx>=4096"


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """The events, as they are emitted by the serving loop."""
    found: list[tuple[str, dict[str, Any]]] = []

    def hear(event: str, **fields: Any) -> None:
        found.append((event, fields))
        events.emit(event, **fields)

    for module in ("loop", "steps", "endings"):
        monkeypatch.setattr(f"worker.serving.{module}.emit", hear)
    return found


# -- windows ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("line", ["O", "H"])
def test_a_prompt_that_is_longer_than_estimated_is_asked_again_in_a_larger_window(
    database: Database, clock: Clock, line: str
) -> None:
    dense = "z q " * 4000  # a token for each letter: far more than a third of the characters
    with simulator.running(simulated(line=line)) as (running,):
        host = add(database, clock, running)
        job = {"model": LLAMA, "prompt": dense, "options": {"num_predict": 8}, "custom_id": "long"}
        batch = submit(database, clock, [job])
        for _ in range(4):
            serve(database, clock, host)
            promote(database, clock)
        [result] = list(result_lines(database, Selection(batch.id)))

    assert result["state"] == "succeeded"
    assert result["prompt_fit"] == "yes"
    assert result["attempts"] == 2
    with database.read() as conn:
        assert len(list_runs(conn, host.name)) == 2


def test_a_window_that_a_producer_named_is_not_made_larger(database: Database, clock: Clock) -> None:
    with simulator.running(simulated()) as (running,):
        host = add(database, clock, running)
        options = {"num_ctx": 2048, "num_predict": 8}
        batch = submit(database, clock, [{"model": LLAMA, "prompt": "z q " * 4000, "options": options}])
        serve(database, clock, host)
        [result] = list(result_lines(database, Selection(batch.id)))

    assert (result["state"], result["error"]["code"]) == ("failed", "context_overflow")


def test_jobs_of_different_lengths_ride_on_one_runner(database: Database, clock: Clock) -> None:
    with simulator.running(simulated()) as (running,):
        host = add(database, clock, running)
        jobs = [{"model": LLAMA, "prompt": "x" * chars} for chars in (10, 9_000, 20, 18_000, 30)]
        batch = submit(database, clock, jobs)

        served = serve(database, clock, host)

        assert counts(database, batch) == {JobState.SUCCEEDED: 5}
        assert (served.loads, running.state()["loads"]) == (1, 1)


def test_two_names_of_one_model_share_its_runner(database: Database, clock: Clock) -> None:
    model = simulator.demo_models()[0]
    names = [replace(model, name=name, weights="shared") for name in ("mine:1", "theirs:1")]
    with simulator.running(simulated(models=tuple(names))) as (running,):
        host = add(database, clock, running)
        batch = submit(
            database,
            clock,
            [{"model": f"{name}:1", "prompt": f"Say {n}."} for n in range(6) for name in ("mine", "theirs")],
        )

        served = serve(database, clock, host)

        assert counts(database, batch) == {JobState.SUCCEEDED: 12}
        assert (served.loads, running.state()["loads"]) == (1, 1)


# -- several models at once ---------------------------------------------------------------------------------------


def test_a_host_that_holds_two_models_goes_between_them_without_a_load(
    database: Database, clock: Clock
) -> None:
    with simulator.running(simulated(max_loaded_models=2)) as (running,):
        host = replace(add(database, clock, running), models_at_once=2)
        register(database, host, open_host=lambda h: OllamaHost(h.url), clock=clock)
        for turn in range(3):
            submit(
                database,
                clock,
                [{"model": model, "prompt": f"Say {n}."} for n in range(4) for model in MODELS[:2]],
                key=f"turn {turn}",
            )
            serve(database, clock, host)

        assert running.state()["loads"] == 2
        with database.read() as conn:
            [view] = read_hosts(conn, clock.now())
            assert {key.split(" ")[0] for key in view.residents} == set(MODELS[:2])
            assert len(list_runs(conn, host.name)) == 2


def test_a_third_model_pushes_one_of_two_out_and_ends_its_run(database: Database, clock: Clock) -> None:
    with simulator.running(simulated(max_loaded_models=2)) as (running,):
        host = replace(add(database, clock, running), models_at_once=2)
        register(database, host, open_host=lambda h: OllamaHost(h.url), clock=clock)
        for model in MODELS:
            submit(database, clock, [{"model": model, "prompt": "Say it."}], key=model)
            serve(database, clock, host)

        with database.read() as conn:
            [view] = read_hosts(conn, clock.now())
            open_runs = [run for run in list_runs(conn, host.name) if run.ended_at is None]
        assert len(view.residents) == 2
        assert {run.runner_key for run in open_runs} == set(view.residents)


# -- slots --------------------------------------------------------------------------------------------------------


def test_slots_that_were_told_too_many_are_found_out_by_the_waits(
    database: Database, clock: Clock, heard: list[tuple[str, dict[str, Any]]]
) -> None:
    with simulator.running(simulated(num_parallel=1, time_scale=0.05)) as (running,):
        host = add(database, clock, running, slots=4)
        submit(
            database,
            clock,
            [{"model": LLAMA, "prompt": f"Say {n}.", "options": {"num_predict": 20}} for n in range(30)],
        )
        serve(database, clock, host)

    assert (
        "host.slots_learned",
        {"host": host.name, "runner_key": f"{LLAMA} num_ctx=4096", "slots": 1},
    ) in heard
    with database.read() as conn:
        assert next(pace for pace in read_paces(conn) if pace.runner_key.startswith(LLAMA)).slots == 1


def test_slots_that_nobody_told_are_found_out(database: Database, clock: Clock) -> None:
    with simulator.running(simulated(num_parallel=3, time_scale=0.2)) as (running,):
        host = add(database, clock, running, slots=1, auto_slots=True)
        submit(
            database,
            clock,
            [{"model": LLAMA, "prompt": f"Say {n}.", "options": {"num_predict": 20}} for n in range(90)],
        )
        serve(database, clock, host)

    with database.read() as conn:
        assert next(pace for pace in read_paces(conn) if pace.runner_key.startswith(LLAMA)).slots in (2, 3)


def test_an_interactive_job_is_answered_beside_a_long_one(database: Database, clock: Clock) -> None:
    with simulator.running(simulated(num_parallel=2, time_scale=1.0)) as (running,):
        host = add(database, clock, running, slots=1)
        stop = threading.Event()
        bulk = submit(
            database, clock, [{"model": LLAMA, "prompt": "Say it.", "options": {"num_predict": 400}}]
        )
        thread = threading.Thread(target=serve, args=(database, clock, host), kwargs={"stop": stop})
        thread.start()
        wait_until(lambda: counts(database, bulk) == {JobState.RUNNING: 1}, description="the slot is taken")
        urgent = submit(
            database,
            clock,
            [{"model": LLAMA, "prompt": "Now.", "priority": "interactive", "options": {"num_predict": 4}}],
            key="urgent",
        )
        wait_until(
            lambda: counts(database, urgent) == {JobState.SUCCEEDED: 1},
            description="the urgent one is answered",
        )

        assert counts(database, bulk) == {JobState.RUNNING: 1}
        stop.set()
        thread.join(timeout=30)


# -- the order of a claim -----------------------------------------------------------------------------------------


def claimed(database: Database, clock: Clock, limit: int, **more: Any) -> list[tuple[int, str]]:
    with database.write() as conn:
        jobs = claim_jobs(
            conn,
            host="gpu-1",
            runner_keys=[KEY],
            limit=limit,
            token="t",
            now=clock.now(),
            lease_until=clock.now() + timedelta(minutes=1),
            **more,
        )
    return [(job.batch_id, job.custom_id) for job in jobs]


def plain(jobs: int) -> list[dict[str, Any]]:
    return [{"model": LLAMA, "prompt": f"{n}: " + "x" * 20, "custom_id": f"c{n}"} for n in range(jobs)]


def test_batches_of_one_priority_take_turns(database: Database, clock: Clock) -> None:
    giant, small = (
        submit(database, clock, plain(50), key="giant"),
        submit(database, clock, plain(4), key="small"),
    )

    first = claimed(database, clock, 4)
    again = claimed(database, clock, 4)
    later = OffsetClock(clock.now() + TURN)
    turn = claimed(database, later, 4)
    back = claimed(database, later, 2)

    assert {batch for batch, _ in first + again} == {giant.id}
    assert {batch for batch, _ in turn} == {small.id}
    assert {batch for batch, _ in back} == {giant.id}


def test_questions_about_one_document_follow_each_other(database: Database, clock: Clock) -> None:
    documents = [f"document {n} " + chr(97 + n) * 1500 for n in range(3)]
    submit(
        database,
        clock,
        [
            {"model": LLAMA, "prompt": f"{document} {question}", "custom_id": f"{document[:10]} {question}"}
            for question in ("who", "why")
            for document in documents
        ],
    )

    order = [name for _, name in claimed(database, clock, 6)]

    assert order == [f"document {n} {question}" for n in range(3) for question in ("who", "why")]


def test_jobs_with_a_deadline_are_claimed_first_the_earliest_first(database: Database, clock: Clock) -> None:
    at = clock.now()
    jobs = plain(4)
    jobs[2]["deadline"] = (at + timedelta(hours=2)).isoformat()
    jobs[3]["deadline"] = (at + timedelta(hours=1)).isoformat()
    submit(database, clock, jobs)

    assert [name for _, name in claimed(database, clock, 3)] == ["c3", "c2", "c0"]


def test_jobs_of_a_paused_batch_are_passed_over_before_they_are_withdrawn(
    database: Database, clock: Clock
) -> None:
    batch = submit(database, clock, plain(3))
    with database.write() as conn:
        conn.exec_driver_sql(f"UPDATE batches SET state = 'paused' WHERE id = {batch.id}")

    assert claimed(database, clock, 3) == []


def test_the_host_s_prefix_cache_serves_what_follows_each_other(database: Database, clock: Clock) -> None:
    documents = [f"document {n} " + " ".join(f"w{n}x{word}" for word in range(400)) for n in range(6)]
    with simulator.running(simulated(num_parallel=2, time_scale=0.1)) as (running,):
        host = add(database, clock, running, slots=2)
        batch = submit(
            database,
            clock,
            [
                {"model": LLAMA, "prompt": f"{document}\n{question}?", "options": {"num_predict": 4}}
                for question in ("Who", "Why", "When", "Where")
                for document in documents
            ],
        )
        serve(database, clock, host)
        lines = list(result_lines(database, Selection(batch.id)))

    cold = max(line["prompt_eval_seconds"] for line in lines)
    evaluated = [line for line in lines if line["prompt_eval_seconds"] > cold / 2]
    assert len(evaluated) <= 12, (
        "about one evaluation for each of six documents, not for each of 24 questions"
    )


# -- shared hosts -------------------------------------------------------------------------------------------------


def test_a_shared_host_steps_back_while_a_stranger_s_model_is_in_use(
    database: Database, clock: Clock, heard: list[tuple[str, dict[str, Any]]]
) -> None:
    with simulator.running(simulated()) as (running,):
        host = replace(add(database, clock, running), shared=True)
        register(database, host, open_host=lambda h: OllamaHost(h.url), clock=clock)
        gpu = OllamaHost(running.url)
        generate(gpu, {"model": MODELS[1], "prompt": "mine", "options": {"num_predict": 4}})
        batch = submit(database, clock, plain(2))

        served = serve(database, clock, host)
        gpu.close()

        assert served.jobs == 0
        assert counts(database, batch) == {JobState.QUEUED: 2}
        assert [fields["models"] for event, fields in heard if event == "host.yielded"] == [[MODELS[1]]]
        assert running.state()["loads"] == 1


@pytest.mark.parametrize("priority", ["bulk", "normal"])
def test_bulk_work_steps_back_within_one_job_when_somebody_comes(
    database: Database, clock: Clock, heard: list[tuple[str, dict[str, Any]]], priority: str
) -> None:
    """The host holds two models: theirs is loaded beside ours while our jobs run."""
    with simulator.running(simulated(max_loaded_models=2)) as (running,):
        host = replace(add(database, clock, running), shared=True, models_at_once=2)
        register(database, host, open_host=lambda h: OllamaHost(h.url), clock=clock)
        jobs = [{"model": MODELS[0], "prompt": f"Say {n}.", "priority": priority} for n in range(200)]
        batch = submit(database, clock, jobs)
        gpu = OllamaHost(running.url)

        class Coming:
            """Time that passes five seconds a look, and a stranger who comes after the tenth answer."""

            came_at: int | None = None
            offset = 0.0

            def now(self) -> datetime:
                return clock.now()

            def monotonic(self) -> float:
                done = counts(database, batch).get(JobState.SUCCEEDED, 0)
                if done >= 10 and self.came_at is None:
                    self.came_at = done
                    generate(gpu, {"model": MODELS[1], "prompt": "mine", "options": {"num_predict": 4}})
                    self.offset = 6.0
                return clock.monotonic() + self.offset

        coming = Coming()
        serve(database, coming, host)
        gpu.close()

    answered = counts(database, batch)[JobState.SUCCEEDED]
    if priority == "bulk":
        assert [fields["models"] for event, fields in heard if event == "host.yielded"] == [[MODELS[1]]]
        assert answered < 120
    else:
        assert answered == 200


def test_a_host_that_nobody_shares_loads_over_what_a_stranger_left(database: Database, clock: Clock) -> None:
    with simulator.running(simulated()) as (running,):
        host = add(database, clock, running)
        gpu = OllamaHost(running.url)
        generate(gpu, {"model": MODELS[1], "prompt": "mine", "options": {"num_predict": 4}})
        gpu.close()
        batch = submit(database, clock, plain(2))

        serve(database, clock, host, timings=TENTH)

        assert counts(database, batch) == {JobState.SUCCEEDED: 2}


def promote(database: Database, clock: Clock) -> None:
    from tests.maintenance import tick

    tick(database, clock=OffsetClock(clock.now() + timedelta(seconds=1)))

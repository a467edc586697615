"""One host served against a simulated Ollama, on both databases."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text

import simulator
from api_schemas.jobs import JobDefaults
from tests.door import submit_lines
from tests.maintenance import tick, tidy
from tests.waiting import wait_until
from worker.clock import Clock, OffsetClock
from worker.domain.batches import Batch
from worker.domain.hosts import Host
from worker.domain.jobs import JobState
from worker.domain.selection import Selection
from worker.domain.timings import Timings
from worker.errors import DatabaseUnavailable
from worker.exports.results import result_lines
from worker.hosts.registry import register
from worker.maintenance.actions import cancel_jobs
from worker.ollama.client import Deadlines, OllamaHost
from worker.serving.claims import Claims
from worker.serving.loop import PassResult, serve_host
from worker.serving.outbox import Outbox
from worker.serving.session import ServingContext
from worker.serving.spool import Spool
from worker.storage.counts import batch_progress
from worker.storage.engine import Database
from worker.storage.host_rows import read_hosts
from worker.storage.hosts import block_failures, drain_host, record_probe
from worker.storage.paces import read_paces
from worker.storage.rescues import Rescued, rescue_stale
from worker.storage.results import list_attempts
from worker.storage.runs import list_runs, loads_since
from worker.storage.tables import jobs

TENTH = Timings(lease=9, renew=2, cancel_poll=0.1, tick=0.5, linger=0.0, idle_poll=0.05, group=0.05, unload=3)

MODELS = tuple(model.name for model in simulator.demo_models())


def simulated(name: str = "gpu-1", **settings: Any) -> simulator.HostSettings:
    defaults: dict[str, Any] = {
        "name": name,
        "models": simulator.demo_models(),
        "max_loaded_models": 1,
        "num_parallel": 2,
        "time_scale": 0.0,
    }
    return simulator.HostSettings(**{**defaults, **settings})


@contextmanager
def opened_gpu(host: Host) -> Iterator[OllamaHost]:
    gpu = OllamaHost(
        host.url, slots=host.slots, deadlines=Deadlines(connect=2, first_byte=20, silence=5, load=20)
    )
    try:
        yield gpu
    finally:
        gpu.close()


def add(
    database: Database, clock: Clock, running: simulator.RunningHost, slots: int = 2, **settings: Any
) -> Host:
    host = Host(running.name, running.url, slots, **settings)
    register(database, host, open_host=lambda h: OllamaHost(h.url, slots=h.slots), clock=clock)
    return host


def submit(database: Database, clock: Clock, jobs: list[dict[str, Any]], key: str = "batch") -> Batch:
    return submit_lines(
        database,
        (json.dumps(job) for job in jobs),
        key=key,
        name=key,
        defaults=JobDefaults(),
        clock=clock,
    ).batch


def serve(database: Database, clock: Clock, host: Host, **more: Any) -> PassResult:
    with opened_gpu(host) as gpu:
        kept = {name: more.pop(name) for name in ("history", "outbox") if name in more}
        return serve_host(ServingContext(database, host, gpu, clock, **{"timings": TENTH, **more}), **kept)


def counts(database: Database, batch: Batch) -> dict[JobState, int]:
    with database.read() as conn:
        return {state: n for state, n in batch_progress(conn, batch.id).counts.items() if n}


def leases(database: Database) -> list[datetime]:
    with database.read() as conn:
        return list(conn.execute(select(jobs.c.lease_until).where(jobs.c.state == "running")).scalars())


def mixed(jobs: int) -> list[dict[str, Any]]:
    return [
        {"model": MODELS[n % len(MODELS)], "prompt": f"Say {n}.", "custom_id": f"c{n}"} for n in range(jobs)
    ]


def test_interleaved_models_are_answered_with_a_load_for_each(database: Database, clock: Clock) -> None:
    with simulator.running(simulated()) as (running,):
        host = add(database, clock, running)
        batch = submit(database, clock, mixed(30))

        served = serve(database, clock, host)

        assert (served.jobs, served.loads, served.reason) == (30, 3, "no work")
        assert counts(database, batch) == {JobState.SUCCEEDED: 30}
        assert running.state()["loads"] == 3
        assert running.state()["max_concurrent"] <= 2
        with database.read() as conn:
            assert loads_since(conn, batch.created_at)[0] == 3


def test_results_come_out_in_input_order_with_figures_and_reasoning_apart(
    database: Database, clock: Clock
) -> None:
    with simulator.running(simulated()) as (running,):
        host = add(database, clock, running)
        batch = submit(database, clock, mixed(9))
        serve(database, clock, host)

    lines = list(result_lines(database, Selection(batch.id)))
    with database.read() as conn:
        ended = conn.execute(text("SELECT count(*), count(created_at) FROM report_results")).one()
    assert tuple(ended) == (9, 9), "the host says when each answer ended"

    assert [line["custom_id"] for line in lines] == [f"c{n}" for n in range(9)]
    assert all(line["answer"] and line["output_tokens"] > 0 and line["attempts"] == 1 for line in lines)
    assert all("<think>" not in line["answer"] for line in lines)
    reasoned = [line for line in lines if line["model"].startswith("deepseek-r1")]
    assert reasoned
    assert all(line["reasoning"] for line in reasoned)


@pytest.mark.fault(9)
def test_a_second_worker_for_the_same_host_returns_at_once(database: Database, clock: Clock) -> None:
    with simulator.running(simulated(time_scale=0.02)) as (running,):
        host = add(database, clock, running)
        submit(database, clock, mixed(6))
        stop = threading.Event()
        first = threading.Thread(target=serve, args=(database, clock, host), kwargs={"stop": stop})
        first.start()
        wait_until(lambda: running.state()["loads"], description="the first worker loads a model")

        second = serve(database, clock, host)

        stop.set()
        first.join(timeout=20)
        assert second.reason == "served by another worker"


@pytest.mark.fault(20)
def test_a_load_that_fails_costs_no_job_an_attempt(database: Database, clock: Clock) -> None:
    with simulator.running(simulated(models=simulator.demo_models()[:1])) as (running,):
        host = add(database, clock, running)
        running.set_faults(simulator.Fault("load_failure"))
        batch = submit(database, clock, [{"model": MODELS[0], "prompt": "x"} for _ in range(3)])

        served = serve(database, clock, host)

        assert served.jobs == 0
        assert counts(database, batch) == {JobState.QUEUED: 3}
        assert [line["attempts"] for line in result_lines(database, Selection(batch.id))] == [0, 0, 0]


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (simulator.Fault("runner_death", after_chunks=2), "runner_died"),
        (simulator.Fault("eof", after_chunks=2), "reply_cut"),
        (simulator.Fault("cut", after_chunks=2), "reply_cut"),
        (simulator.Fault("bad_json", after_chunks=1), "bad_reply"),
        (simulator.Fault("busy"), "host_busy"),
    ],
    ids=lambda value: value.kind if isinstance(value, simulator.Fault) else value,
)
def test_a_fault_of_the_host_is_not_charged_and_the_job_is_answered_later(
    database: Database, clock: Clock, fault: simulator.Fault, code: str
) -> None:
    with simulator.running(simulated()) as (running,):
        host = add(database, clock, running)
        batch = submit(database, clock, [{"model": MODELS[0], "prompt": "x"}])
        running.set_faults(fault)
        serve(database, clock, host)
        assert counts(database, batch) == {JobState.SCHEDULED: 1}

        later = OffsetClock(clock.now() + timedelta(minutes=1))
        tick(database, clock=later)
        serve(database, later, host)

    [line] = result_lines(database, Selection(batch.id))
    assert (line["state"], line["attempts"]) == ("succeeded", 2)
    with database.read() as conn:
        [first, second] = list_attempts(conn, line["job"])
    assert (first.outcome, first.error_code, first.charged) == ("retried", code, False)
    assert second.outcome == "succeeded"


def test_a_bad_option_fails_its_job_alone(database: Database, clock: Clock) -> None:
    with simulator.running(simulated()) as (running,):
        host = add(database, clock, running)
        jobs = mixed(3)
        jobs[1] |= {"suffix": "needs insert"}
        batch = submit(database, clock, jobs)

        serve(database, clock, host)

    assert counts(database, batch) == {JobState.SUCCEEDED: 2, JobState.FAILED: 1}
    [failed] = [line for line in result_lines(database, Selection(batch.id)) if line["state"] == "failed"]
    assert failed["error"]["code"] == "unsupported"


@pytest.mark.fault(23)
def test_a_running_job_is_cancelled_within_seconds(database: Database, clock: Clock) -> None:
    endless = tuple(replace(model, answer_tokens=(60_000, 60_000)) for model in simulator.demo_models())
    with simulator.running(simulated(models=endless, time_scale=1.0)) as (running,):
        host = add(database, clock, running)
        batch = submit(database, clock, [{"model": MODELS[0], "prompt": "Tell me all."}])
        thread = threading.Thread(target=serve, args=(database, clock, host))
        thread.start()
        wait_until(lambda: running.state()["requests"], description="the job runs")

        cancel_jobs(database, Selection(batch.id), clock=clock)

        thread.join(timeout=20)
        assert not thread.is_alive()
        assert counts(database, batch) == {JobState.CANCELLED: 1}
        wait_until(lambda: running.state()["disconnects"] == 1, description="the host sees that we hung up")


def test_a_long_answer_outlives_many_renewals_of_its_lease(database: Database, clock: Clock) -> None:
    often = replace(TENTH, lease=1.5, renew=0.1, cancel_poll=0.05)
    with simulator.running(simulated(time_scale=0.02)) as (running,):
        running.set_faults(simulator.Fault("drip", prompt="Say 0", seconds=0.12))
        host = add(database, clock, running)
        batch = submit(
            database,
            clock,
            [{"model": MODELS[0], "prompt": f"Say {n}.", "options": {"num_predict": 20}} for n in range(4)],
        )

        serving = threading.Thread(target=lambda: serve(database, clock, host, timings=often))
        serving.start()
        wait_until(lambda: leases(database), description="the first jobs are claimed")
        first = max(leases(database))
        wait_until(lambda: clock.now() > first, description="the first leases would be over")
        with database.write() as conn:
            rescued = rescue_stale(conn, now=clock.now())
        serving.join()

    assert rescued == Rescued()
    assert counts(database, batch) == {JobState.SUCCEEDED: 4}
    assert {line["attempts"] for line in result_lines(database, Selection(batch.id))} == {1}


def test_keep_alive_hints_are_applied_when_the_run_is_over_and_reload_nothing(
    database: Database, clock: Clock
) -> None:
    with simulator.running(simulated()) as (running,):
        host = add(database, clock, running)
        jobs = [
            {"model": MODELS[0], "prompt": "x", "keep_alive": hint, "options": {"num_ctx": 4096}}
            for hint in (0, "2h", 5)
        ]
        submit(database, clock, jobs)

        serve(database, clock, host)

        with opened_gpu(host) as gpu:
            assert [model.name for model in gpu.loaded()] == [MODELS[0]]
        assert running.state()["loads"] == 1


def test_a_host_that_is_down_is_said_to_be_unreachable_and_keeps_no_job(
    database: Database, clock: Clock
) -> None:
    with simulator.running(simulated()) as (running,):
        host = add(database, clock, running)
        batch = submit(database, clock, mixed(3))
    # the host is gone now

    served = serve(database, clock, host)

    assert served.reason == "unreachable"
    assert counts(database, batch) == {JobState.QUEUED: 3}


@pytest.mark.fault(19)
def test_a_job_without_a_host_that_has_its_model_is_held_with_the_reason(
    database: Database, clock: Clock
) -> None:
    with simulator.running(simulated(models=simulator.demo_models()[:1])) as (running,):
        add(database, clock, running)
        batch = submit(database, clock, [{"model": "nobody-has:1b", "prompt": "x"}])

        tidied = tidy(database, clock=clock)

    assert tidied["held"] == 1
    assert counts(database, batch) == {JobState.HELD: 1}


@pytest.mark.fault(20)
def test_a_runner_that_fails_to_load_again_is_left_alone_for_longer(database: Database, clock: Clock) -> None:
    with simulator.running(simulated(models=simulator.demo_models()[:1])) as (running,):
        host = add(database, clock, running)
        submit(database, clock, [{"model": MODELS[0], "prompt": "x", "options": {"num_ctx": 4096}}])

        blocked: list[tuple[int, float]] = []
        for after in (0, 20, 120):
            running.set_faults(simulator.Fault("load_failure"))
            later = OffsetClock(clock.now() + timedelta(seconds=after))
            serve(database, later, host)
            with database.read() as conn:
                failures, until = block_failures(conn, host.name, f"{MODELS[0]} num_ctx=4096")
            assert until is not None
            blocked.append((failures, round((until - later.now()).total_seconds(), -1)))

    assert blocked == [(1, 10), (2, 60), (3, 240)]


@pytest.mark.fault(19)
def test_jobs_whose_only_model_was_deleted_are_held(database: Database, clock: Clock) -> None:
    with simulator.running(simulated(models=simulator.demo_models()[:1])) as (running,):
        host = add(database, clock, running)
        batch = submit(database, clock, [{"model": MODELS[0], "prompt": "x"}])
    with database.write() as conn:
        record_probe(conn, host.name, version="0.24.0", models=[], now=clock.now())

    tidy(database, clock=clock)

    assert counts(database, batch) == {JobState.HELD: 1}


def test_a_runner_that_is_gone_ends_its_run(database: Database, clock: Clock) -> None:
    with simulator.running(simulated()) as (running,):
        host = add(database, clock, running)
        submit(database, clock, mixed(1))
        serve(database, clock, host)
        with opened_gpu(host) as gpu:
            gpu.unload(MODELS[0])
            wait_until(lambda: not gpu.loaded(), description="it is gone")

        serve(database, clock, host)

    with database.read() as conn:
        assert [run.ended_at is not None for run in list_runs(conn)] == [True]


def test_while_the_slots_run_dry_the_other_hosts_see_what_for(database: Database, clock: Clock) -> None:
    with simulator.running(simulated(time_scale=0.2)) as (running,):
        host = add(database, clock, running)
        submit(database, clock, [{"model": MODELS[0], "prompt": f"Say {n}."} for n in range(2)])
        thread = threading.Thread(target=serve, args=(database, clock, host))
        thread.start()
        wait_until(lambda: running.state()["requests"] > 1, description="both slots are busy")
        submit(database, clock, [{"model": MODELS[1], "prompt": "x"}], key="next")

        def intent() -> str | None:
            with database.read() as conn:
                return read_hosts(conn, clock.now())[0].intent

        wait_until(lambda: str(intent()).startswith(MODELS[1]), description="the next load is published")
        thread.join(timeout=30)

        assert not thread.is_alive()
        assert intent() is None
        assert running.state()["loads"] == 2


def test_how_fast_a_host_is_outlives_its_process(database: Database, clock: Clock) -> None:
    with simulator.running(simulated()) as (running,):
        host = add(database, clock, running)
        submit(database, clock, mixed(3))
        serve(database, clock, host)
        submit(database, clock, mixed(3), key="again")
        serve(database, clock, host)

    with database.read() as conn:
        seen = read_paces(conn)
    assert {pace.runner_key.split(" ")[0] for pace in seen} == set(MODELS)
    assert all(pace.load_seconds is not None for pace in seen)


def test_a_finished_batch_is_settled_by_the_chores(database: Database, clock: Clock) -> None:
    with simulator.running(simulated()) as (running,):
        host = add(database, clock, running)
        batch = submit(database, clock, mixed(3))
        serve(database, clock, host)

    tick(database, clock=clock)
    assert tidy(database, clock=clock)["finished"] == 1

    with database.read() as conn:
        assert batch_progress(conn, batch.id).batch.state == "finished"


def test_a_stop_gives_back_what_no_slot_has_taken(database: Database, clock: Clock) -> None:
    with simulator.running(simulated(time_scale=0.05)) as (running,):
        host = add(database, clock, running, slots=1)
        batch = submit(database, clock, [{"model": MODELS[0], "prompt": f"Say {n}."} for n in range(40)])
        stop = threading.Event()
        thread = threading.Thread(
            target=serve,
            args=(database, clock, host),
            kwargs={"stop": stop, "timings": replace(TENTH, linger=5)},
        )
        thread.start()
        wait_until(lambda: running.state()["completed"] >= 2, description="two jobs are answered")

        stop.set()
        thread.join(timeout=20)

        assert not thread.is_alive()
        left = counts(database, batch)
        assert JobState.RUNNING not in left
        assert left[JobState.SUCCEEDED] + left[JobState.QUEUED] == 40


def test_a_host_that_goes_away_fails_the_jobs_it_had_and_none_of_those_that_waited(
    database: Database, clock: Clock
) -> None:
    with simulator.running(simulated(time_scale=0.02)) as (running,):
        host = add(database, clock, running)
        batch = submit(database, clock, [{"model": MODELS[0], "prompt": f"Say {n}."} for n in range(120)])
        thread = threading.Thread(target=serve, args=(database, clock, host))
        thread.start()
        wait_until(lambda: running.state()["completed"] > 8, description="jobs are claimed ahead")

        running.kill()
        thread.join(timeout=30)

        assert not thread.is_alive()
    left = counts(database, batch)
    assert set(left) <= {JobState.SUCCEEDED, JobState.SCHEDULED, JobState.QUEUED}
    assert left.get(JobState.SCHEDULED, 0) <= 4


@pytest.mark.fault(20)
def test_jobs_whose_model_loads_nowhere_are_held_after_three_tries(database: Database, clock: Clock) -> None:
    with simulator.running(simulated(models=simulator.demo_models()[:1])) as (running,):
        host = add(database, clock, running)
        batch = submit(database, clock, [{"model": MODELS[0], "prompt": "x"}])
        for after in (0, 20, 120):
            running.set_faults(simulator.Fault("load_failure"))
            later = OffsetClock(clock.now() + timedelta(seconds=after))
            assert counts(database, batch) == {JobState.QUEUED: 1}
            serve(database, later, host)
            tidy(database, clock=later)

    assert counts(database, batch) == {JobState.HELD: 1}


def test_nothing_is_claimed_while_an_answer_waits_to_be_stored(
    database: Database, clock: Clock, tmp_path: Path
) -> None:
    with simulator.running(simulated()) as (running,):
        host = add(database, clock, running)
        batch = submit(database, clock, mixed(1))
        outbox = Outbox(database, host.name, clock=clock, spool=Spool(tmp_path / "gpu-1.jsonl"))
        outbox.flush = lambda: False  # type: ignore[method-assign]

        serve(database, clock, host, outbox=outbox)

        assert counts(database, batch) == {JobState.QUEUED: 1}
        assert running.state()["requests"] == 0


def test_a_claim_whose_answer_was_lost_is_given_back(database: Database, clock: Clock) -> None:
    with simulator.running(simulated()) as (running,):
        host = add(database, clock, running)
        batch = submit(database, clock, mixed(3))
        lost: list[int] = []

        class Forgetful(Claims):
            def claim(self, *args: Any, **options: Any) -> Any:
                claimed = super().claim(*args, **options)
                if not lost and claimed:
                    lost.extend(job.id for job in claimed)
                    raise DatabaseUnavailable("the connection broke after the commit")
                return claimed

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr("worker.serving.parts.Claims", Forgetful)
            serve(database, clock, host)
            assert JobState.RUNNING not in counts(database, batch)
            serve(database, clock, host)

    assert lost
    assert counts(database, batch) == {JobState.SUCCEEDED: 3}


def test_a_host_that_is_drained_gives_back_what_it_claimed_ahead(database: Database, clock: Clock) -> None:
    with simulator.running(simulated(time_scale=0.1)) as (running,):
        host = add(database, clock, running)
        options = {"num_predict": 40}
        batch = submit(
            database, clock, [{**job, "model": MODELS[0], "options": options} for job in mixed(400)]
        )
        serving = threading.Thread(target=serve, args=(database, clock, host))
        serving.start()
        wait_until(lambda: running.state()["completed"] > 20, description="it claims ahead")

        with database.write() as conn:
            drain_host(conn, host.name, now=clock.now())
        serving.join(20)

    assert not serving.is_alive()
    seen = counts(database, batch)
    assert seen[JobState.QUEUED] + seen[JobState.SUCCEEDED] == 400
    with database.read() as conn:
        claimed = conn.execute(text("SELECT charged FROM jobs WHERE state = 'queued' AND attempt = 1")).all()
    assert {row.charged for row in claimed} == {0}

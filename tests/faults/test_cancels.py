"""A cancel at every phase of a job's life: it ends within seconds, keeps what had come, and stays cancelled."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

import simulator
from tests.acceptance.conftest import keeps_its_promises
from tests.integration.serving.test_serve import TENTH, add, counts, opened_gpu, serve, simulated, submit
from tests.integration.storage.conftest import ending, new_job
from tests.waiting import wait_until
from worker.clock import Clock
from worker.domain.attempts import Held, Retried
from worker.domain.batches import Batch
from worker.domain.hosts import Host
from worker.domain.jobs import ClaimedJob, JobState
from worker.domain.selection import Selection
from worker.domain.timings import Timings
from worker.errors import Code
from worker.maintenance.actions import cancel_jobs
from worker.serving.loop import serve_host
from worker.serving.outbox import Outbox
from worker.serving.session import ServingContext
from worker.serving.spool import Spool
from worker.storage.batches import create_batch
from worker.storage.claims import claim_jobs
from worker.storage.engine import Database
from worker.storage.finishes import finish_jobs
from worker.storage.hosts import add_host
from worker.storage.ids import job_id
from worker.storage.jobs import insert_jobs
from worker.storage.results import list_attempts

SECONDS = 5.0


def cancel(database: Database, clock: Clock, batch: Batch) -> None:
    cancel_jobs(database, Selection(batch_id=batch.id), clock=clock)


def one_job(database: Database, clock: Clock, prompt: str = "Tell.", jobs: int = 1) -> Batch:
    asked = [
        {"model": "llama3.2:3b", "prompt": f"{prompt} {n}", "options": {"num_predict": 30}}
        for n in range(jobs)
    ]
    return submit(database, clock, asked)


@pytest.mark.fault(23)
def test_a_job_that_waits_is_cancelled_at_once(database: Database, clock: Clock) -> None:
    batch = one_job(database, clock)

    cancel(database, clock, batch)

    assert counts(database, batch) == {JobState.CANCELLED: 1}


@pytest.mark.fault(23)
def test_a_job_that_is_held_is_cancelled_at_once(database: Database, clock: Clock) -> None:
    with simulator.running(simulated()) as (running,):
        host = add(database, clock, running)
        batch = one_job(database, clock)
        _claim_and_finish(database, clock, host, batch)

        cancel(database, clock, batch)

        assert counts(database, batch) == {JobState.CANCELLED: 1}


def claimed(database: Database, clock: Clock, *, jobs: int = 1, host: str = "gpu-1") -> list[ClaimedJob]:
    """Jobs in the hands of a worker."""
    key = _key(database)
    with database.write() as conn:
        return claim_jobs(
            conn,
            host=host,
            runner_keys=[key],
            limit=jobs,
            token="t",
            now=clock.now(),
            lease_until=clock.now() + timedelta(hours=1),
        )


def _claim_and_finish(database: Database, clock: Clock, host: Host, batch: Batch) -> None:
    [job] = claimed(database, clock, host=host.name)
    with database.write() as conn:
        finish_jobs(
            conn, [replace(ending(job, Held(Code.RUNNER_DIED, "why")), host=host.name)], now=clock.now()
        )
    assert counts(database, batch) == {JobState.HELD: 1}


def _key(database: Database) -> str:
    with database.read() as conn:
        return str(conn.scalar(text("SELECT runner_key FROM jobs LIMIT 1")))


@pytest.mark.fault(23)
@pytest.mark.parametrize(
    ("fault", "jobs", "began"),
    [
        (simulator.Fault("hang", times=0), 1, lambda state: state["concurrent"] == 1),
        (simulator.Fault("hang", times=0, after_chunks=4), 1, lambda state: state["concurrent"] == 1),
        (simulator.Fault("drip", times=0, seconds=0.3), 1, lambda state: state["concurrent"] == 1),
        (simulator.Fault("hang", times=0), 6, lambda state: state["concurrent"] == 1),
        (simulator.Fault("slow_load", times=1, seconds=3), 1, lambda state: state["runner_starts"] == 1),
    ],
    ids=["before the first byte", "silent mid-stream", "streaming", "before a slot", "while it loads"],
)
def test_a_job_that_a_host_works_on_is_cancelled_within_seconds(
    database: Database,
    clock: Clock,
    fault: simulator.Fault,
    jobs: int,
    began: Callable[[dict[str, object]], bool],
) -> None:
    with simulator.running(simulated(num_parallel=1)) as (running,):
        host = add(database, clock, running, slots=1)
        running.set_faults(fault)
        batch = one_job(database, clock, jobs=jobs)
        stop = threading.Event()
        with opened_gpu(host) as gpu:
            serving = threading.Thread(
                target=lambda: serve_host(ServingContext(database, host, gpu, clock, TENTH, stop))
            )
            serving.start()
            wait_until(lambda: began(running.state()), description="it has begun")
            at = time.monotonic()

            cancel(database, clock, batch)
            wait_until(
                lambda: counts(database, batch) == {JobState.CANCELLED: jobs},
                description="every job is cancelled",
            )

            assert time.monotonic() - at < SECONDS
            stop.set()
            serving.join()
        with database.read() as conn:
            ends = [row for n in range(jobs) for row in list_attempts(conn, job_id(batch.id, n + 1))]
        assert {row.outcome for row in ends} <= {"cancelled"}
        if fault.after_chunks:
            assert ends[0].partial, "what had come is kept"


@pytest.mark.fault(23)
def test_a_cancelled_job_is_never_asked_again(database: Database, clock: Clock) -> None:
    with simulator.running(simulated()) as (running,):
        host = add(database, clock, running)
        batch = one_job(database, clock, jobs=3)
        cancel(database, clock, batch)

        serve(database, clock, host)

        assert running.state()["requests"] == 0
        assert counts(database, batch) == {JobState.CANCELLED: 3}


@pytest.mark.fault(23)
def test_a_job_that_waits_for_its_retry_is_cancelled_at_once(database: Database, clock: Clock) -> None:
    with simulator.running(simulated()) as (running,):
        host = add(database, clock, running)
        running.set_faults(simulator.Fault("busy", times=0))
        batch = one_job(database, clock)
        [job] = claimed(database, clock, host=host.name)
        with database.write() as conn:
            again = Retried(Code.RUNNER_DIED, "why", clock.now() + timedelta(hours=1), charged=True)
            finish_jobs(conn, [replace(ending(job, again), host=host.name)], now=clock.now())
        assert counts(database, batch) == {JobState.SCHEDULED: 1}

        cancel(database, clock, batch)

        assert counts(database, batch) == {JobState.CANCELLED: 1}


@pytest.mark.fault(23)
def test_a_batch_whose_upload_is_not_complete_is_cancelled_at_once(database: Database, clock: Clock) -> None:
    with database.write() as conn:
        batch, _ = create_batch(conn, key="k", name="k", source=None, now=clock.now())
        insert_jobs(conn, batch.id, [new_job(1), new_job(2)], now=clock.now())

    cancel(database, clock, batch)

    assert counts(database, batch) == {JobState.CANCELLED: 2}


@pytest.mark.fault(23)
def test_an_answer_that_could_not_be_stored_before_the_cancel_is_not_stored_after_it(
    database: Database, clock: Clock, tmp_path: Path
) -> None:
    with simulator.running(simulated()) as (running,):
        host = add(database, clock, running)
        batch = one_job(database, clock)
        [job] = claimed(database, clock, host=host.name)
        spool = Spool(tmp_path / "gpu-1.jsonl")
        spool.write([ending(job)])

        cancel(database, clock, batch)
        outbox = Outbox(database, host.name, clock=clock, spool=spool)

        assert outbox.flush()
        assert counts(database, batch) == {JobState.CANCELLED: 1}
        with database.read() as conn:
            [attempt] = list_attempts(conn, job.id)
        assert (attempt.outcome, attempt.partial) == ("cancelled", "天空 is blue")


@pytest.mark.fault(23)
@pytest.mark.thorough
def test_with_the_times_of_a_real_fleet_a_cancel_takes_no_more_than_five_seconds(
    database: Database, clock: Clock
) -> None:
    with simulator.running(simulated(num_parallel=1)) as (running,):
        host = add(database, clock, running, slots=1)
        running.set_faults(simulator.Fault("hang", times=0))
        batch = one_job(database, clock)
        stop = threading.Event()
        with opened_gpu(host) as gpu:
            serving = threading.Thread(
                target=lambda: serve_host(ServingContext(database, host, gpu, clock, Timings(), stop))
            )
            serving.start()
            wait_until(lambda: running.state()["concurrent"] == 1, description="it is asked")
            at = time.monotonic()

            cancel(database, clock, batch)
            wait_until(
                lambda: counts(database, batch) == {JobState.CANCELLED: 1}, description="it is cancelled"
            )

            assert time.monotonic() - at < SECONDS
            stop.set()
            serving.join()


@pytest.mark.fault(23)
@pytest.mark.fault(24)
@pytest.mark.thorough
def test_of_a_cancel_and_a_finish_at_the_same_time_one_wins_a_thousand_times(
    database: Database, clock: Clock
) -> None:
    with database.write() as conn:
        add_host(conn, Host("gpu-1", "http://gpu-1:11434"), now=clock.now())
    chance = random.Random(7)
    won = Counter[str]()
    for _ in range(100):
        batch = submit(database, clock, [{"model": "m", "prompt": f"{n}"} for n in range(10)], key=f"{_}")
        jobs = claimed(database, clock, jobs=10)
        pieces = [jobs[n : n + 2] for n in range(0, 10, 2)]
        chance.shuffle(pieces)
        start = threading.Barrier(2)

        def finish(pieces: list[list[ClaimedJob]] = pieces, start: threading.Barrier = start) -> None:
            start.wait()
            for piece in pieces:
                with database.write() as conn:
                    finish_jobs(conn, [ending(job) for job in piece], now=clock.now())

        finishing = threading.Thread(target=finish)
        finishing.start()
        start.wait()
        for n in chance.sample(range(10), 10):
            cancel_jobs(database, Selection(job_ids=frozenset({job_id(batch.id, n + 1)})), clock=clock)
        finishing.join()
        won.update({str(state): jobs for state, jobs in counts(database, batch).items()})

    assert won["succeeded"] + won["cancelled"] == 1000
    assert min(won["succeeded"], won["cancelled"]) > 50, "neither always wins"
    with database.read() as conn:
        assert conn.scalar(text("SELECT count(*) FROM results")) == won["succeeded"]
    keeps_its_promises(database)

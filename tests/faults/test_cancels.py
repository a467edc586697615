"""A cancel at every phase of a job's life: it ends within seconds, keeps what had come, and stays cancelled."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest

import simulator
from tests.integration.serving.test_serve import TENTH, add, counts, opened_gpu, serve, simulated, submit
from tests.waiting import wait_until
from worker.clock import Clock
from worker.domain.attempts import Held
from worker.domain.batches import Batch
from worker.domain.hosts import Host
from worker.domain.jobs import JobFilter, JobState
from worker.errors import Code
from worker.services.actions import cancel_jobs
from worker.services.serve import serve_host
from worker.storage.claims import claim_jobs
from worker.storage.engine import Database, open_database
from worker.storage.finishes import finish_jobs
from worker.storage.ids import job_id
from worker.storage.results import list_attempts

SECONDS = 5.0


@pytest.fixture
def database(migrated_url: str) -> Iterator[Database]:
    opened = open_database(migrated_url)
    yield opened
    opened.close()


@pytest.fixture
def clock(database: Database) -> Clock:
    return database.clock()


def cancel(database: Database, clock: Clock, batch: Batch) -> None:
    cancel_jobs(database, JobFilter(batch_id=batch.id), clock=clock)


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


def _claim_and_finish(database: Database, clock: Clock, host: Host, batch: Batch) -> None:
    from dataclasses import replace

    from tests.integration.storage.conftest import ending

    with database.write() as conn:
        [job] = claim_jobs(
            conn,
            host=host.name,
            runner_keys=[_key(database)],
            limit=1,
            token="t",
            now=clock.now(),
            lease_until=clock.now(),
        )
        finish_jobs(
            conn, [replace(ending(job, Held(Code.RUNNER_DIED, "why")), host=host.name)], now=clock.now()
        )
    assert counts(database, batch) == {JobState.HELD: 1}


def _key(database: Database) -> str:
    from sqlalchemy import text

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
                target=lambda: serve_host(database, host, gpu=gpu, clock=clock, timings=TENTH, stop=stop)
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

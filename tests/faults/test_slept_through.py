"""A worker whose leases were ended while it generated."""

import threading
from dataclasses import replace
from datetime import timedelta

import pytest

import simulator
from tests.integration.serving.test_serve import TENTH, add, counts, serve, simulated, submit
from tests.waiting import wait_until
from worker.clock import Clock
from worker.domain.batches import Batch
from worker.domain.jobs import JobState
from worker.serving.loop import PassResult
from worker.storage.engine import Database
from worker.storage.ids import job_id
from worker.storage.jobs import promote_due
from worker.storage.rescues import rescue_stale
from worker.storage.results import list_attempts


@pytest.mark.fault(3)
def test_a_pass_whose_running_job_was_taken_from_it_ends_and_its_late_answer_counts(
    database: Database, clock: Clock
) -> None:
    with simulator.running(simulated(num_parallel=1, time_scale=0.02)) as (running,):
        host = add(database, clock, running, slots=1)
        running.set_faults(simulator.Fault("drip", prompt="Tell 0", seconds=0.1))
        jobs = [
            {"model": "llama3.2:3b", "prompt": f"Tell {n}.", "options": {"num_predict": 20}} for n in range(2)
        ]
        batch = submit(database, clock, jobs)
        passes: list[PassResult] = []
        timings = replace(TENTH, lease=3.0, renew=0.2, cancel_poll=0.1, linger=0.0)
        serving = threading.Thread(
            target=lambda: passes.append(serve(database, clock, host, timings=timings))
        )
        serving.start()
        wait_until(lambda: running.state()["concurrent"] > 0, description="the first job is being answered")

        # a row that its worker is just renewing is passed over until the next attempt, as by the service itself
        wait_until(lambda: _end_leases(database, clock, batch), description="the leases are ended")
        serving.join()

        assert passes[0].reason == "leases lost"
        assert running.state()["completed"] == 1
        assert counts(database, batch)[JobState.SUCCEEDED] == 1
        with database.write() as conn:
            promote_due(conn, now=clock.now() + timedelta(seconds=10), limit=10)
        serve(database, clock, host, timings=timings)
        assert counts(database, batch) == {JobState.SUCCEEDED: 2}
        assert running.state()["completed"] == 2
        with database.read() as conn:
            assert [row.outcome for row in list_attempts(conn, job_id(batch.id, 1))] == ["succeeded"]


def _end_leases(database: Database, clock: Clock, batch: Batch) -> bool:
    with database.write() as conn:
        rescue_stale(conn, now=clock.now() + timedelta(seconds=10))
    return JobState.RUNNING not in counts(database, batch)

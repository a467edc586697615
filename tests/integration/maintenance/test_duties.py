"""What single services promise: hours that no host can blow up, the order of promotion, restarts amid a firing."""

from datetime import timedelta

import pytest
from sqlalchemy import event, text

from tests.clocks import FakeClock
from tests.integration.storage.conftest import Store, a_result, new_job
from worker.domain.attempts import Succeeded
from worker.domain.hosts import Host, HostModel
from worker.domain.jobs import JobState, Priority
from worker.domain.schedules import FiringState, ScheduleSpec
from worker.maintenance import number as numbering
from worker.maintenance import promote as promotion
from worker.maintenance.hold import hosts_to_wake
from worker.storage.batches import create_batch, seal_batch
from worker.storage.firings import open_firing, take_firing
from worker.storage.hosts import add_host, record_probe
from worker.storage.jobs import insert_jobs
from worker.storage.rescues import rescue_holder
from worker.storage.schedules import add_schedule

YEARS = 200 * 365 * 86400


def sealed(store: Store, jobs: int, priority: Priority) -> int:
    with store.database.write() as conn:
        batch, _ = create_batch(conn, key=f"k{len(store.batches)}", name="b", source=None, now=store.now)
        insert_jobs(
            conn, batch.id, [new_job(n, priority=priority) for n in range(1, jobs + 1)], now=store.now
        )
        seal_batch(conn, batch.id, jobs=jobs, now=store.now)
    store.batches.append(batch.id)
    return batch.id


def test_a_duration_of_centuries_makes_few_rows_of_hours_and_stays_as_sent(store: Store) -> None:
    store.submit(new_job(1))
    (job,) = store.claim()
    nanoseconds = YEARS * 10**9
    store.finish(job, Succeeded(a_result(eval_duration=nanoseconds, eval_seconds=float(YEARS))))

    assert numbering.number_all(store.database) == 1

    with store.database.read() as conn:
        hours = conn.scalar(text("SELECT count(*) FROM host_hours"))
        stored = conn.scalar(text("SELECT eval_duration FROM results"))
        busy = conn.scalar(text("SELECT sum(gpu_seconds) FROM host_hours"))
    assert hours is not None and hours <= 49
    assert stored == nanoseconds
    assert busy is not None and busy <= 49 * 3600


def test_numbering_a_backlog_sorts_it_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numbering, "CHUNK", 2)
    store.submit(*(new_job(n) for n in range(1, 8)))
    for job in store.claim():
        store.finish(job)
    sorts: list[str] = []

    def caught(_conn: object, _cursor: object, statement: str, *_: object) -> None:
        if "ORDER BY results.finished_at" in statement:
            sorts.append(statement)

    event.listen(store.database._engine, "before_cursor_execute", caught)
    assert numbering.number_all(store.database) == 7
    assert len(sorts) == 1


def test_a_pass_promotes_the_urgent_batch_before_the_older_ones(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(promotion, "CHUNK", 2)
    monkeypatch.setattr(promotion, "SPAN", 0.0)
    bulk = sealed(store, 3, Priority.BULK)
    urgent = sealed(store, 1, Priority.INTERACTIVE)

    promotion.promote(store.database, FakeClock(store.now))

    assert store.counts(urgent)[JobState.QUEUED] == 1
    assert store.counts(bulk)[JobState.SCHEDULED] == 3


def test_whoever_submits_promotes_only_the_own_batch(store: Store) -> None:
    bulk, own = sealed(store, 3, Priority.BULK), sealed(store, 2, Priority.BULK)

    promotion.promote_batches(store.database, [own], FakeClock(store.now))

    assert store.counts(own)[JobState.QUEUED] == 2
    assert store.counts(bulk)[JobState.SCHEDULED] == 3


def test_of_a_very_large_batch_the_service_promotes_what_its_producer_left(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(promotion, "CHUNK", 2)
    own = sealed(store, 7, Priority.BULK)

    assert promotion.promote_batches(store.database, [own], FakeClock(store.now), most=3) == 4
    assert store.counts(own) == {JobState.QUEUED: 4, JobState.SCHEDULED: 3}
    promotion.promote(store.database, FakeClock(store.now))

    assert store.counts(own) == {JobState.QUEUED: 7}


def test_a_restart_takes_up_a_firing_whose_reader_died(store: Store) -> None:
    with store.database.write() as conn:
        spec = ScheduleSpec(cron="0 2 * * *", prompt="x", models=("m:1",))
        schedule = add_schedule(conn, "nightly", spec, next_at=store.now, now=store.now)
        firing = open_firing(conn, schedule, store.now, state=FiringState.DUE, now=store.now)
        assert firing is not None
        assert take_firing(conn, firing.id, token="dead", now=store.now, lease=timedelta(minutes=10))
    with store.database.write() as conn:
        rescue_holder(conn, now=store.now)
    with store.database.write() as conn:
        later = store.now + timedelta(seconds=1)
        assert take_firing(conn, firing.id, token="new", now=later, lease=timedelta(minutes=10))


def test_hosts_look_again_for_a_model_that_none_of_them_had(store: Store) -> None:
    with store.database.write() as conn:
        for name, model in (("gpu-1", "m:1"), ("gpu-2", "other:1")):
            add_host(conn, Host(name, f"http://{name}:11434"), now=store.now)
            record_probe(
                conn, name, version="0.33.0", models=[HostModel(model, "d" * 8, False, 8192)], now=store.now
            )
    clock = FakeClock(store.now)

    store.submit(new_job(1, model="m:1", runner_key="m:1"))
    assert hosts_to_wake(store.database, clock=clock) == ["gpu-1"]
    store.submit(new_job(1, model="pulled:1", runner_key="pulled:1"))
    assert hosts_to_wake(store.database, clock=clock) == ["gpu-1", "gpu-2"]

"""A row that this version or this machine cannot read costs nobody else anything, and is named."""

import json

import pytest
from sqlalchemy import text

from tests.clocks import FakeClock
from tests.integration.storage.conftest import Store, new_job
from tests.maintenance import tick, tidy
from worker.domain.hosts import Host, HostModel
from worker.domain.jobs import JobState
from worker.domain.notices import Addressee, Channel
from worker.domain.schedules import ScheduleSpec
from worker.domain.timings import Timings
from worker.maintenance.hold import hosts_to_wake
from worker.ollama.client import OllamaHost
from worker.serving.history import HostHistory
from worker.serving.machine import Machine
from worker.serving.pace import Paces
from worker.serving.session import HostSession, ServingContext
from worker.serving.view import HostView
from worker.storage.batches import create_batch, seal_batch
from worker.storage.hosts import record_probe
from worker.storage.jobs import insert_jobs
from worker.storage.notices import due_notices, promise_notices
from worker.storage.schedules import add_schedule, list_schedules

UNKNOWN_ZONE = {"hours": ["22:00-06:00"], "zone": "US/Nowhere", "blackout": []}
NEWER_FORM = {"version": 2, "weekly": []}


def set_json(store: Store, statement: str, value: object) -> None:
    with store.database.write() as conn:
        conn.execute(text(statement), {"value": json.dumps(value)})


def sealed(store: Store) -> int:
    """A batch whose only job waits for its promotion."""
    with store.database.write() as conn:
        batch, _ = create_batch(conn, key=f"k{len(store.batches)}", name="b", source=None, now=store.now)
        insert_jobs(conn, batch.id, [new_job(1)], now=store.now)
        seal_batch(conn, batch.id, jobs=1, now=store.now)
    store.batches.append(batch.id)
    return batch.id


@pytest.mark.parametrize(
    "windows", [UNKNOWN_ZONE, NEWER_FORM, ["22:00-06:00"]], ids=["zone", "newer", "list"]
)
def test_a_batch_whose_hours_cannot_be_read_stays_closed_and_the_others_go_on(
    store: Store, windows: object
) -> None:
    healthy, odd = sealed(store), sealed(store)
    set_json(store, f"UPDATE batches SET windows = :value WHERE id = {odd}", windows)

    tick(store.database, clock=FakeClock(store.now))
    tick(store.database, clock=FakeClock(store.now))

    assert store.counts(healthy)[JobState.QUEUED] == 1
    assert store.counts(odd)[JobState.SCHEDULED] == 1


@pytest.mark.parametrize("windows", [UNKNOWN_ZONE, NEWER_FORM], ids=["zone", "newer"])
def test_a_host_whose_hours_cannot_be_read_is_closed_and_the_others_decide(
    store: Store, windows: object
) -> None:
    store.submit(new_job(1))
    with store.database.write() as conn:
        for name in ("gpu-1", "gpu-2"):
            record_probe(
                conn,
                name,
                version="0.24.0",
                models=[HostModel("qwen3:8b", "d" * 8, False, 8192)],
                now=store.now,
            )
    set_json(store, "UPDATE hosts SET windows = :value WHERE name = 'gpu-2'", windows)
    clock = FakeClock(store.now)

    assert hosts_to_wake(store.database, clock=clock) == ["gpu-1"]
    tidy(store.database, clock=clock)
    host = Host("gpu-1", "http://gpu-1:11434")
    session = HostSession(
        ServingContext(store.database, host, OllamaHost(host.url), clock, Timings()), "token"
    )
    history = HostHistory(Paces("gpu-1"))
    assert HostView(session, Machine(session, history), history.paces).facts({})


def test_a_schedule_of_another_form_is_left_out_of_the_list(store: Store) -> None:
    with store.database.write() as conn:
        spec = ScheduleSpec(cron="0 2 * * *", prompt="x", models=("m:1",))
        add_schedule(conn, "nightly", spec, next_at=None, now=store.now)
        add_schedule(conn, "odd", spec, next_at=None, now=store.now)
    set_json(store, "UPDATE schedules SET spec = :value WHERE name = 'odd'", ["not", "a", "mapping"])

    with store.database.read() as conn:
        assert [schedule.name for schedule in list_schedules(conn)] == ["nightly"]


def test_a_notice_by_a_channel_of_a_newer_version_does_not_keep_the_others_from_being_sent(
    store: Store,
) -> None:
    batch = store.submit()
    with store.database.write() as conn:
        promise_notices(
            conn,
            batch,
            [Addressee(Channel.MAIL, "a@b.c", "always"), Addressee(Channel.MAIL, "d@e.f", "always")],
            now=store.now,
        )
        conn.execute(text("UPDATE notices SET channel = 'pigeon' WHERE target = 'a@b.c'"))
        conn.execute(text("UPDATE batches SET state = 'finished', finished_at = created_at"))
    with store.database.read() as conn:
        assert [notice.to.target for notice in due_notices(conn, now=store.now, limit=1)] == ["d@e.f"]

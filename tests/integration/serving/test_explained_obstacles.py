"""What is said to be in the way of a host is what its loop goes by."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import update

from tests.integration.serving.test_explain import QWEN, reasons, seen
from tests.integration.serving.test_explain import store as store
from tests.integration.storage.conftest import NOW, Store, new_job
from worker.explain.obstacles import barred
from worker.policy.picture import can_hold
from worker.serving.pace import Paces
from worker.serving.view import OwnHost, read_snapshot
from worker.storage.engine import Connection
from worker.storage.hosts import block_key, quarantine_host, record_probe, record_resident
from worker.storage.paces import StoredPace, read_paces, save_paces
from worker.storage.tables import hosts

LOOSE, EXACT, LARGE = "qwen3:8b num_ctx>=4096", "qwen3:8b num_ctx=4096", "qwen3:8b num_ctx=16384"
SOON = NOW + timedelta(seconds=45)


def nothing(conn: Connection) -> None:
    pass


def drained(conn: Connection) -> None:
    conn.execute(update(hosts).values(draining_at=NOW))


def quarantined(conn: Connection) -> None:
    quarantine_host(conn, "gpu-1", until=SOON, reason="no answers")


def failed(conn: Connection) -> None:
    block_key(conn, "gpu-1", EXACT, until=SOON, failures=2, reason="load_failed: no")


def failed_larger(conn: Connection) -> None:
    block_key(conn, "gpu-1", LARGE, until=SOON, failures=2, reason="load_failed: no")


def too_large(conn: Connection) -> None:
    conn.execute(update(hosts).values(memory=10**9))
    save_paces(conn, [StoredPace("gpu-2", EXACT, None, 1.0, None, 5 * 10**9, 1)], now=NOW)


def too_large_but_loaded(conn: Connection) -> None:
    too_large(conn)
    record_resident(conn, "gpu-1", EXACT, now=NOW)


def smaller_here(conn: Connection) -> None:
    too_large(conn)
    save_paces(conn, [StoredPace("gpu-1", EXACT, None, 1.0, None, 10**8, 1)], now=NOW)


def no_model(conn: Connection) -> None:
    record_probe(conn, "gpu-1", version="0.30.1", models=[], now=NOW)


@pytest.mark.parametrize(
    ("arrange", "takes"),
    [
        (nothing, True),
        (drained, False),
        (quarantined, False),
        (failed, False),
        (failed_larger, True),
        (too_large, False),
        (too_large_but_loaded, True),
        (smaller_here, True),
        (no_model, False),
    ],
)
def test_who_explains_and_the_loop_agree_on_what_a_host_takes(
    store: Store, arrange: Callable[[Connection], None], takes: bool
) -> None:
    store.submit(new_job(1, runner_key=LOOSE))
    with store.database.write() as conn:
        arrange(conn)
        paces = Paces("gpu-1")
        paces.learn(read_paces(conn))
        facts = read_snapshot(
            conn, OwnHost("gpu-1", {}, 1, {QWEN.name: QWEN}), paces=paces, now=store.now, dated={}
        ).facts

    found = seen(store)
    told = list(barred(found, next(host for host in found.hosts if host.name == "gpu-1"), [LOOSE]))

    assert [can_hold(facts.host, work, facts.now) for work in facts.work] == [takes]
    assert [runner.queued for runner in told] == ([] if takes else [(LOOSE,)])


def test_a_larger_window_that_failed_is_no_cause_for_a_job_that_needs_less(store: Store) -> None:
    batch = store.submit(new_job(1, runner_key=LOOSE))
    with store.database.write() as conn:
        failed_larger(conn)

    assert reasons(store, batch) == []


def test_a_runner_that_takes_too_much_is_told_as_it_was_seen(store: Store) -> None:
    batch = store.submit(new_job(1, runner_key=LOOSE))
    with store.database.write() as conn:
        too_large(conn)

    assert reasons(store, batch)[0] == (
        "qwen3:8b takes 5.0 GB, and gpu-1 has 1.0 GB for models: caravan hosts set gpu-1 --memory SIZE"
    )

"""What a decision takes from the last one: the same facts as if everything had been read anew."""

from collections.abc import Callable
from datetime import datetime, timedelta

from tests.integration.storage.conftest import KEY, NOW, Store, new_job
from worker.domain.hosts import Host
from worker.domain.jobs import Priority
from worker.policy.windows import parse_windows
from worker.serving.pace import Paces
from worker.serving.view import OwnHost, Snapshot, SnapshotCache, read_snapshot
from worker.storage.engine import Connection
from worker.storage.host_rows import HostCache, read_hosts
from worker.storage.hosts import add_host, block_key, record_resident, record_unreachable, set_host
from worker.storage.windows import set_host_windows

OTHER = f"{KEY} num_ctx=8192"


def snapshot(store: Store, paces: Paces, now: datetime, cache: SnapshotCache | None) -> Snapshot:
    with store.database.read() as conn:
        return read_snapshot(conn, OwnHost("gpu-1", {}, 1, {}), paces=paces, now=now, dated={}, cache=cache)


def test_facts_with_what_was_kept_are_those_of_a_new_reader_after_each_change(store: Store) -> None:
    cache, paces, now = SnapshotCache(), Paces("gpu-1"), NOW
    with store.database.write() as conn:
        add_host(conn, Host("gpu-2", "http://gpu-2:11434", slots=2), now=NOW)
        add_host(conn, Host("gpu-3", "http://gpu-3:11434"), now=NOW)

    def host_changes(change: Callable[[Connection], object]) -> None:
        with store.database.write() as conn:
            change(conn)

    until = NOW + timedelta(seconds=100)
    changes: list[Callable[[], object]] = [
        lambda: store.submit(new_job(1), new_job(2), new_job(3, runner_key=OTHER), key="a"),
        lambda: store.claim(1, token="t1"),
        lambda: paces.add_job(KEY, 3.0),
        lambda: host_changes(lambda conn: record_resident(conn, "gpu-2", OTHER, now=NOW)),
        lambda: host_changes(lambda conn: set_host(conn, "gpu-2", slots=5)),
        lambda: host_changes(lambda conn: block_key(conn, "gpu-3", KEY, until=until, failures=1, reason="x")),
        lambda: None,  # the block has run out by then
        lambda: store.submit(new_job(1, priority=Priority.INTERACTIVE), key="b"),
    ]

    for change in changes:
        change()
        now += timedelta(seconds=15)

        assert snapshot(store, paces, now, cache) == snapshot(store, paces, now, None)
    assert snapshot(store, paces, now, cache).facts.work


def test_a_host_of_which_nothing_changed_is_the_same_object_and_one_that_time_changes_is_not(
    store: Store,
) -> None:
    cache = HostCache()
    with store.database.write() as conn:
        for name in ("gpu-7", "gpu-8", "gpu-9"):
            add_host(conn, Host(name, f"http://{name}:11434"), now=NOW)
        hours = parse_windows(["22:00-06:00"], "UTC", ())
        assert hours is not None
        set_host_windows(conn, "gpu-8", hours.plain)
        record_unreachable(conn, "gpu-9", message="away", now=NOW)

    with store.database.read() as conn:
        before = {row.name: row for row in read_hosts(conn, NOW, cache=cache)}
        after = {row.name: row for row in read_hosts(conn, NOW + timedelta(hours=1), cache=cache)}

    assert [name for name in before if after[name] is before[name] and name > "gpu-6"] == ["gpu-7"]

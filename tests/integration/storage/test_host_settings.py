"""What people tell of hosts: where they are, what they want to see, whether they take work."""

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.integration.storage.conftest import KEY, NOW, Store
from worker.domain.hosts import Access, Host
from worker.errors import NotFound
from worker.storage.host_rows import read_hosts
from worker.storage.hosts import (
    add_host,
    drain_host,
    get_host,
    host_at,
    host_history,
    record_unreachable,
    remove_host,
    resume_host,
    set_host,
)
from worker.storage.runs import open_run

ACCESS = Access(
    basic_auth="env:GPU_AUTH", headers=(("X-Key", "file:/run/secrets/key"),), ca_file="/etc/gpu.pem"
)
HOST = Host(
    "gpu-7",
    "https://gpu.example/ollama",
    slots=4,
    access=ACCESS,
    models_at_once=2,
    memory=24_000_000_000,
)


def test_what_is_told_of_a_host_comes_back(store: Store) -> None:
    with store.database.write() as conn:
        add_host(conn, HOST, now=NOW)

        assert get_host(conn, "gpu-7") == HOST
        assert [report.host for report in read_hosts(conn, NOW) if report.host.name == "gpu-7"] == [HOST]
        assert host_at(conn, HOST.url) == HOST
        assert host_at(conn, "https://gpu.example") is None


def test_a_host_that_was_added_for_good_is_found_before_one_of_a_run_at_the_same_address(
    store: Store,
) -> None:
    with store.database.write() as conn:
        add_host(conn, replace(HOST, name="gpu.example"), now=NOW, permanent=False)
        add_host(conn, HOST, now=NOW + timedelta(hours=1))

        assert host_at(conn, HOST.url) == HOST


def test_one_thing_is_changed_and_the_rest_stays(store: Store) -> None:
    with store.database.write() as conn:
        add_host(conn, HOST, now=NOW)

        assert set_host(conn, "gpu-7", slots=8) == replace(HOST, slots=8)
        assert set_host(conn, "gpu-7", memory=0) == replace(HOST, slots=8, memory=None)
        assert set_host(conn, "gpu-7", access=Access()) == Host("gpu-7", HOST.url, slots=8, models_at_once=2)
        assert get_host(conn, "gpu-7") == Host("gpu-7", HOST.url, slots=8, models_at_once=2)


def test_a_draining_host_stays_so_until_it_is_resumed(store: Store) -> None:
    with store.database.write() as conn:
        drain_host(conn, "gpu-1", now=NOW)
        drain_host(conn, "gpu-1", now=NOW + timedelta(hours=1))
        set_host(conn, "gpu-1", slots=2)

        assert [view.draining for view in read_hosts(conn, NOW)] == [True, False]
        assert get_host(conn, "gpu-1").draining

        resume_host(conn, "gpu-1")

        assert not get_host(conn, "gpu-1").draining


def test_a_host_that_is_not_there_is_named(store: Store) -> None:
    with store.database.write() as conn:
        for change in (
            lambda: set_host(conn, "gpu-9", slots=2),
            lambda: drain_host(conn, "gpu-9", now=NOW),
            lambda: resume_host(conn, "gpu-9"),
            lambda: host_history(conn, "gpu-9"),
        ):
            with pytest.raises(NotFound, match="gpu-9"):
                change()


def test_the_history_of_a_host_outlives_it(store: Store) -> None:
    with store.database.write() as conn:
        first = open_run(conn, host="gpu-2", runner_key=KEY, reason="oldest", now=NOW)
        second = open_run(conn, host="gpu-2", runner_key="other:1", reason="more", now=NOW)
        open_run(conn, host="gpu-1", runner_key=KEY, reason="oldest", now=NOW)
        remove_host(conn, "gpu-2", now=NOW)

        assert [run.id for run in host_history(conn, "gpu-2")] == [second, first]
        assert [run.id for run in host_history(conn, "gpu-2", limit=1)] == [second]


def test_at_another_url_nobody_knows_since_when_it_is_away(store: Store) -> None:
    with store.database.write() as conn:
        record_unreachable(conn, "gpu-1", message="gone", now=NOW)

        set_host(conn, "gpu-1", url="http://elsewhere:11434")

        assert read_hosts(conn, NOW)[0].error is None

"""What is known of hosts, and what they did between two loads."""

from datetime import datetime, timedelta

import pytest
from sqlalchemy import event

from tests.integration.storage.conftest import KEY, NOW, Store, ending, new_job
from worker.domain.hosts import Host, HostModel
from worker.domain.jobs import JobState
from worker.errors import Conflict, NotFound
from worker.storage.finishes import finish_jobs
from worker.storage.host_rows import HostCache, read_hosts
from worker.storage.hosts import (
    add_host,
    block_key,
    clear_block,
    get_host,
    publish_intent,
    record_probe,
    record_resident,
    record_unreachable,
    remove_host,
)
from worker.storage.leases import leave_host, renew_host, take_host
from worker.storage.rescues import rescue_holder
from worker.storage.results import get_result
from worker.storage.runs import close_run, list_runs, loaded_run, loads_since, open_run, resume_run

LATER = NOW + timedelta(seconds=90)


def test_what_a_probe_found_is_seen_by_all(store: Store) -> None:
    model = HostModel("qwen3:8b", "sha256:abc", thinking=True, trained_context=40960, size=5)
    with store.database.write() as conn:
        record_unreachable(conn, "gpu-1", message="connection \0 refused", now=NOW)
        assert read_hosts(conn, NOW)[0].error == "connection \ufffd refused"
        record_probe(conn, "gpu-1", version="0.30.1\0", models=[model], now=NOW)
        record_resident(conn, "gpu-1", KEY, now=NOW)
        publish_intent(conn, "gpu-1", "other:1", now=NOW)

        report, unseen = read_hosts(conn, NOW)

    assert (report.version, report.error, report.last_seen_at) == ("0.30.1\ufffd", None, NOW)
    assert (report.resident, report.intent) == (KEY, "other:1")
    assert report.models == {"qwen3:8b"}
    assert unseen.models == frozenset()


def test_a_reader_that_comes_again_reads_the_models_of_hosts_that_were_looked_at_since_alone(
    store: Store,
) -> None:
    def had(name: str, weights: str | None = None) -> list[HostModel]:
        return [HostModel(name, "d", False, 4096, weights=weights)]

    cache = HostCache()
    sent: list[str] = []
    event.listen(store.database._engine, "before_cursor_execute", lambda *given: sent.append(given[2]))
    with store.database.write() as conn:
        add_host(conn, Host("gpu-3", "http://gpu-3:11434"), now=NOW)
        record_probe(conn, "gpu-1", version="0.30.1", models=had("m1:8b", "w1"), now=NOW)
        record_probe(conn, "gpu-3", version="0.30.1", models=had("m3:8b"), now=NOW)
        first, unseen, _ = read_hosts(conn, NOW, cache=cache)
        record_probe(conn, "gpu-1", version="0.30.1", models=had("m2:8b"), now=NOW + timedelta(seconds=1))
        sent.clear()
        second, _, third = read_hosts(conn, NOW, cache=cache)
        again = [statement for statement in sent if "host_models" in statement]
        sent.clear()
        read_hosts(conn, NOW, cache=cache)

    assert (first.looked, first.models, first.weights) == (True, frozenset({"m1:8b"}), {"m1:8b": "w1"})
    assert (unseen.looked, unseen.may_have("m3:8b")) == (False, True)
    assert (second.models, third.models) == (frozenset({"m2:8b"}), frozenset({"m3:8b"}))
    assert not second.weights
    assert [statement.count("IN (") for statement in again] == [1], "of one host"
    assert not [statement for statement in sent if "host_models" in statement]


def test_a_host_that_a_worker_serves_is_not_called_unreachable_by_somebody_else(store: Store) -> None:
    def error(now: datetime, **more: str) -> str | None:
        record_unreachable(conn, "gpu-1", message="no route from here", now=now, **more)
        return read_hosts(conn, now)[0].error

    with store.database.write() as conn:
        take_host(conn, host="gpu-1", token="ours", now=NOW, until=LATER)

        assert error(NOW) is None
        assert error(NOW, token="theirs") is None
        assert error(NOW, token="ours") == "no route from here"

        record_probe(conn, "gpu-1", version="0.30.1", models=[], now=NOW)
        assert error(LATER) == "no route from here"


def test_what_was_seen_at_another_url_is_forgotten(store: Store) -> None:
    with store.database.write() as conn:
        record_probe(conn, "gpu-1", version="0.30.1", models=[], now=NOW)
        record_resident(conn, "gpu-1", KEY, now=NOW)
        add_host(conn, Host("gpu-1", "http://gpu-1:11434", slots=4), now=NOW)
        assert read_hosts(conn, NOW)[0].resident == KEY

        add_host(conn, Host("gpu-1", "http://elsewhere:11434", slots=4), now=NOW)

        assert get_host(conn, "gpu-1") == Host("gpu-1", "http://elsewhere:11434", slots=4)
        assert read_hosts(conn, NOW)[0].resident is None
        assert read_hosts(conn, NOW)[0].version is None


def test_a_host_is_removed_unless_somebody_serves_it(store: Store) -> None:
    with store.database.write() as conn:
        block_key(conn, "gpu-1", KEY, until=LATER, reason="out of memory", failures=1)
        take_host(conn, host="gpu-1", token="t", now=NOW, until=LATER)
        with pytest.raises(Conflict, match="being served"):
            remove_host(conn, "gpu-1", now=NOW)
        leave_host(conn, host="gpu-1", token="t", now=NOW)

        remove_host(conn, "gpu-1", now=NOW)

        assert [view.name for view in read_hosts(conn, NOW)] == ["gpu-2"]
        with pytest.raises(NotFound, match="gpu-1"):
            remove_host(conn, "gpu-1", now=NOW)
        with pytest.raises(NotFound, match="gpu-1"):
            get_host(conn, "gpu-1")


def test_a_serving_lease_that_another_worker_took_cannot_be_renewed(store: Store) -> None:
    with store.database.write() as conn:
        take_host(conn, host="gpu-1", token="a", now=NOW, until=NOW)
        after = NOW + timedelta(seconds=1)
        assert take_host(conn, host="gpu-1", token="b", now=after, until=LATER)

        assert not renew_host(conn, host="gpu-1", token="a", now=after, until=LATER)
        assert renew_host(conn, host="gpu-1", token="b", now=after, until=LATER)
        leave_host(conn, host="gpu-1", token="a", now=after)
        assert [view.serving for view in read_hosts(conn, after)] == [True, False]


def test_the_leases_of_one_dead_holder_end_and_those_of_others_hold(store: Store) -> None:
    store.submit(new_job(1), new_job(2))
    [mine], [other] = store.claim(1), store.claim(1, token="t2", host="gpu-2")
    with store.database.write() as conn:
        for host in ("gpu-1", "gpu-2"):
            take_host(conn, host=host, token=host, now=NOW, until=LATER)

        rescued = rescue_holder(conn, now=NOW, host="gpu-1")

        assert rescued.retried == 1
        assert [view.serving for view in read_hosts(conn, NOW)] == [False, True]
        assert get_result(conn, mine.id).state is JobState.SCHEDULED
        assert get_result(conn, other.id).state is JobState.RUNNING
        with pytest.raises(NotFound, match="no job 5"):
            get_result(conn, 5)


def test_a_key_that_backs_off_on_a_host_is_left_alone_until_its_time(store: Store) -> None:
    with store.database.write() as conn:
        block_key(conn, "gpu-1", KEY, until=NOW + timedelta(seconds=5), reason="x", failures=1)
        block_key(conn, "gpu-1", KEY, until=LATER, reason="x\0", failures=2)

        assert read_hosts(conn, NOW)[0].blocked == {KEY: LATER}
        assert read_hosts(conn, LATER)[0].blocked == {}
        clear_block(conn, "gpu-1", KEY)
        assert read_hosts(conn, NOW)[0].blocked == {}


def test_a_run_counts_its_jobs_and_ends_when_the_next_begins(store: Store) -> None:
    store.submit(new_job(1), new_job(2), new_job(3))
    with store.database.write() as conn:
        first = open_run(conn, host="gpu-1", runner_key=KEY, reason="no host holds it", now=NOW)
        loaded_run(conn, first, load_time=timedelta(seconds=4))
        assert resume_run(conn, host="gpu-1", runner_key=KEY) == first
        assert resume_run(conn, host="gpu-2", runner_key=KEY) is None
    jobs = store.claim()
    with store.database.write() as conn:
        finish_jobs(conn, [ending(job, run_id=first) for job in jobs], now=NOW)
        second = open_run(conn, host="gpu-1", runner_key="other:1", reason="next", now=LATER)
        close_run(conn, second, now=LATER, error="out_of_memory: \0")

    with store.database.read() as conn:
        other, run = list_runs(conn, "gpu-1")
        loads = loads_since(conn, NOW)[0]
    assert (run.jobs, run.load_time, run.ended_at) == (3, timedelta(seconds=4), LATER)
    assert (other.jobs, other.load_time, other.error) == (0, None, "out_of_memory: \ufffd")
    assert loads == 1

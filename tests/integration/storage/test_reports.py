"""What the command line reads of hosts, batches and jobs, on both databases."""

from datetime import timedelta

import pytest

from tests.integration.storage.conftest import KEY, NOW, Store, a_result, new_job
from worker.domain.attempts import Failed, Held, Retried, Succeeded
from worker.domain.hosts import HostModel
from worker.domain.jobs import JobState, Priority
from worker.errors import Code, NotFound
from worker.storage.counts import fold_counts
from worker.storage.host_rows import Block, read_hosts
from worker.storage.hosts import (
    block_key,
    publish_intent,
    record_probe,
    record_resident,
    record_unreachable,
)
from worker.storage.ids import job_id
from worker.storage.lately import answered_since, failures_since
from worker.storage.leases import mark_in_slot, release_jobs, take_host
from worker.storage.reports import (
    HeldGroup,
    failures_by_code,
    held_reasons,
    jobs_ahead,
    jobs_by_runner_key,
    jobs_named,
    list_jobs,
    list_models,
    next_retry,
    pause_of,
    read_job,
    running_by_host,
)
from worker.storage.rescues import rescue_stale
from worker.storage.results import get_result, list_attempts

OTHER = "llama3.2:3b num_ctx=8192"
MINUTE = timedelta(seconds=60)


def test_a_host_is_seen_with_all_that_it_does(store: Store) -> None:
    store.submit(new_job(1), new_job(2))
    store.claim(2)
    with store.database.write() as conn:
        record_probe(
            conn, "gpu-1", version="0.30.1", models=[HostModel("qwen3:8b", "d", True, 40960)], now=NOW
        )
        take_host(conn, host="gpu-1", token="w1", now=NOW, until=NOW + MINUTE)
        record_resident(conn, "gpu-1", KEY, now=NOW)
        publish_intent(conn, "gpu-1", OTHER, now=NOW)
        block_key(conn, "gpu-1", OTHER, until=NOW + MINUTE, reason="out_of_memory: 9 GB", failures=2)
        block_key(conn, "gpu-1", "over:1", until=NOW, reason="load_failed", failures=1)
        record_unreachable(conn, "gpu-2", message="connection refused", now=NOW)

        one, two = read_hosts(conn, NOW)
        assert running_by_host(conn) == {"gpu-1": 2}

    assert (one.serving, one.resident, one.intent, one.intent_at) == (True, KEY, OTHER, NOW)
    assert (one.draining, one.unreachable_since) == (False, None)
    assert one.blocks == (Block(OTHER, NOW + MINUTE, 2, "out_of_memory: 9 GB"),)
    assert one.blocks[0].model == "llama3.2:3b"
    assert one.may_have("qwen3:8b") and not one.may_have("llama3.2:3b")
    assert (two.serving, two.error, two.unreachable_since) == (False, "connection refused", NOW)
    assert two.may_have("llama3.2:3b")  # nobody has looked yet


def test_answers_of_the_last_minute_are_found_at_the_end_of_the_table(store: Store) -> None:
    store.submit(*(new_job(seq) for seq in range(1, 5)))
    old, *new = store.claim(4)
    store.finish(old, Succeeded(a_result(output_tokens=1000)))
    store.later(120)
    for job in new:
        store.finish(job, Succeeded(a_result(output_tokens=50)), ended_at=store.now)

    with store.database.read() as conn:
        found = answered_since(conn, store.now - MINUTE)

    (row,) = found
    assert (row.host, row.model, row.jobs, row.output_tokens) == ("gpu-1", "qwen3:8b", 3, 150)
    assert (row.first_at, row.seconds) == (store.now, 2.5)


def test_nothing_was_answered_in_an_empty_table(store: Store) -> None:
    with store.database.read() as conn:
        assert answered_since(conn, NOW - MINUTE) == []
        assert failures_since(conn, NOW - MINUTE) == {}


def test_jobs_are_counted_by_runner_key_before_and_after_the_counts_are_folded(store: Store) -> None:
    batch = store.submit(new_job(1), new_job(2), new_job(3, model="llama3.2:3b", runner_key=OTHER))
    store.submit(new_job(1))
    store.claim(1)
    expected = {
        KEY: {JobState.QUEUED: 1, JobState.RUNNING: 1},
        OTHER: {JobState.QUEUED: 1},
    }

    with store.database.write() as conn:
        unfolded = jobs_by_runner_key(conn, batch)
        fold_counts(conn)
        folded = jobs_by_runner_key(conn, batch)
        everything = jobs_by_runner_key(conn, None)

    assert unfolded == folded == expected
    assert everything[KEY] == {JobState.QUEUED: 2, JobState.RUNNING: 1}


def test_failures_are_counted_by_code_the_commonest_first(store: Store) -> None:
    batch = store.submit(*(new_job(seq) for seq in range(1, 5)))
    one, two, three, four = store.claim(4)
    store.finish(one, Failed(Code.CUT, "cut"))
    for job in (two, three):
        store.finish(job, Failed(Code.CONTEXT_OVERFLOW, "too long"))
    store.finish(four)

    with store.database.read() as conn:
        assert list(failures_by_code(conn, batch).items()) == [("context_overflow", 2), ("cut", 1)]


def test_held_jobs_are_grouped_by_their_reason(store: Store) -> None:
    batch = store.submit(*(new_job(seq) for seq in range(1, 4)))
    store.submit(new_job(1))
    for job in store.claim(3):
        store.finish(job, Held(Code.RUNNER_DIED, "5 attempts ended this way"))

    with store.database.read() as conn:
        assert held_reasons(conn, batch) == [HeldGroup("runner_died", "5 attempts ended this way", 3)]


def test_the_next_retry_is_that_of_the_batch_alone(store: Store) -> None:
    first = store.submit(new_job(1))
    second = store.submit(new_job(1))
    one, two = store.claim(2)
    store.finish(one, Retried(Code.HOST_ERROR, "500", at=NOW + MINUTE, charged=True))
    store.finish(two, Retried(Code.HOST_ERROR, "500", at=NOW + 2 * MINUTE, charged=True))

    with store.database.read() as conn:
        assert next_retry(conn, first) == NOW + MINUTE
        assert next_retry(conn, second) == NOW + 2 * MINUTE
        assert next_retry(conn, None) == NOW + MINUTE
        assert next_retry(conn, second + 1) is None


def test_a_batch_that_is_not_paused_has_no_reason_for_it(store: Store) -> None:
    batch = store.submit(new_job(1))

    with store.database.read() as conn:
        assert pause_of(conn, batch) == pause_of(conn, 99) == (None, None)


def test_jobs_are_listed_by_state_and_by_code_with_why(store: Store) -> None:
    batch = store.submit(*(new_job(seq) for seq in range(1, 6)))
    one, two, three = store.claim(3)
    store.finish(one)
    store.finish(two, Failed(Code.CONTEXT_OVERFLOW, "6,000 tokens do not fit 4,096"))
    store.finish(three, Held(Code.RUNNER_DIED, "looked at"))

    with store.database.read() as conn:
        everything = list_jobs(conn, batch)
        failed = list_jobs(conn, batch, state=JobState.FAILED)
        died = list_jobs(conn, batch, code="runner_died")
        second_page = list_jobs(conn, batch, after=everything[1].job_id, limit=2)

    assert [line.custom_id for line in everything] == ["c1", "c2", "c3", "c4", "c5"]
    assert everything[0].host == "gpu-1" and everything[0].message is None
    assert [(line.code, line.message, line.attempts) for line in failed] == [
        ("context_overflow", "6,000 tokens do not fit 4,096", 1)
    ]
    assert [(line.custom_id, line.state, line.message) for line in died] == [
        ("c3", JobState.HELD, "looked at")
    ]
    assert [line.custom_id for line in second_page] == ["c3", "c4"]


def test_a_claim_that_was_given_back_is_no_try(store: Store) -> None:
    batch = store.submit(new_job(1), new_job(2), new_job(3))
    for token in ("t1", "t2"):
        given_back = [job.id for job in store.claim(token=token)]
        with store.database.write() as conn:
            release_jobs(conn, token=token, job_ids=given_back, now=store.now)
    one, two, _ = store.claim(token="t3")
    with store.database.write() as conn:
        mark_in_slot(conn, token="t3", job_ids=[one.id, two.id])

    running = tries(store, batch)
    store.finish(one)
    store.finish(two, Retried(Code.TOO_SLOW, "slow", store.now, charged=True))
    with store.database.read() as conn:
        attempts = list_attempts(conn, two.id)

    assert running == ([1, 1, 0], [1, 1, 0])
    assert tries(store, batch) == ([1, 1, 0], [1, 1, 0])
    assert [attempt.attempt for attempt in attempts] == [1]


def tries(store: Store, batch: int) -> tuple[list[int], list[int]]:
    """Of each job of the batch, as the list of jobs has them and as the results have them."""
    with store.database.read() as conn:
        jobs = list_jobs(conn, batch)
        return [job.attempts for job in jobs], [get_result(conn, job.job_id).attempts for job in jobs]


def test_a_job_that_was_not_asked_when_its_worker_died_has_not_been_tried(store: Store) -> None:
    batch = store.submit(new_job(1), new_job(2))
    one, two = store.claim(lease=1)
    with store.database.write() as conn:
        mark_in_slot(conn, token="t1", job_ids=[one.id])
    store.later(2)
    with store.database.write() as conn:
        rescue_stale(conn, now=store.now)
    assert tries(store, batch) == ([1, 0], [1, 0])

    assert store.finish(one).accepted == [one.id]  # late, of the attempt that is on record already
    assert store.finish(two).accepted == [two.id]

    assert tries(store, batch) == ([1, 1], [1, 1])


def test_a_jobs_place_is_after_the_more_urgent_and_the_earlier_of_its_runner_key(store: Store) -> None:
    batch = store.submit(
        new_job(1),
        new_job(2),
        new_job(3, priority=Priority.HIGH),
        new_job(4, runner_key=OTHER, model="llama3.2:3b"),
        new_job(5),
    )

    with store.database.read() as conn:
        ahead = [jobs_ahead(conn, read_job(conn, job_id(batch, seq))) for seq in range(1, 6)]

    assert ahead == [1, 2, 0, 0, 3]


def test_a_job_is_found_by_its_custom_id_once_per_model(store: Store) -> None:
    batch = store.submit(
        new_job(1, custom_id="x"), new_job(2, custom_id="x", model="llama3.2:3b", runner_key=OTHER)
    )

    with store.database.read() as conn:
        assert jobs_named(conn, batch, "x") == [job_id(batch, 1), job_id(batch, 2)]
        assert jobs_named(conn, batch, "y") == []
        with pytest.raises(NotFound, match="no job 7"):
            read_job(conn, 7)


def test_models_are_listed_with_the_hosts_that_have_them(store: Store) -> None:
    with store.database.write() as conn:
        for host in ("gpu-2", "gpu-1"):
            models = [HostModel("qwen3:8b", "sha256:abc", True, 40960, size=5)]
            record_probe(conn, host, version="0.30.1", models=models, now=NOW)

        found = list_models(conn)

    assert [(model.name, model.host, model.size, model.thinking) for model in found] == [
        ("qwen3:8b", "gpu-1", 5, True),
        ("qwen3:8b", "gpu-2", 5, True),
    ]

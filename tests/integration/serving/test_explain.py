"""Why nothing moves and what a job waits for, in words, on both databases."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from sqlalchemy import update

from tests.integration.storage.conftest import KEY, NOW, Store, a_result, new_job
from worker.domain.attempts import Failed, Held, Retried, Succeeded
from worker.domain.hosts import Host, HostModel
from worker.domain.jobs import JobState
from worker.domain.model_operations import ModelVerb
from worker.errors import Code, Conflict, NotFound
from worker.explain.explained import Explained, explain
from worker.explain.reasons import why_nothing_moves
from worker.explain.situation import Server, Situation, situation
from worker.storage.batches import create_batch
from worker.storage.engine import Database
from worker.storage.hosts import (
    add_host,
    block_key,
    drain_host,
    publish_intent,
    quarantine_host,
    record_probe,
    record_resident,
    record_slow,
    record_unreachable,
)
from worker.storage.ids import job_id
from worker.storage.leases import leave_host, take_host
from worker.storage.model_operations import begin_models, keep_part
from worker.storage.tables import batches, hosts, jobs

OTHER = "llama3.2:3b num_ctx=8192"
QWEN = HostModel("qwen3:8b", "d", True, 40960)


class At:
    """A clock that stands."""

    def __init__(self, now: datetime) -> None:
        self._now = now

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._now.timestamp()


@pytest.fixture
def store(database: Database, utc: None) -> Store:
    """Two hosts that are served and have the model; nothing is loaded."""
    with database.write() as conn:
        for name in ("gpu-1", "gpu-2"):
            add_host(conn, Host(name, f"http://{name}:11434"), now=NOW)
            record_probe(conn, name, version="0.30.1", models=[QWEN], now=NOW)
            take_host(conn, host=name, token=name, now=NOW, until=NOW + timedelta(hours=1))
    return Store(database)


def seen(store: Store, batch: int | None = None, **more: object) -> Situation:
    return situation(store.database, batch, clock=At(store.now), **more)  # type: ignore[arg-type]


def reasons(store: Store, batch: int | None = None, *, server: Server = Server.WORKERS) -> list[str]:
    found = seen(store, batch, server=server)
    return why_nothing_moves(found, found.at)


def explained(store: Store, reference: str) -> Explained:
    return explain(store.database, reference, clock=At(store.now))


def test_nothing_is_said_where_nothing_is_in_the_way(store: Store) -> None:
    batch = store.submit(new_job(1))

    assert reasons(store, batch) == []


def test_a_host_that_cannot_be_reached_is_named_with_since_when_and_why(store: Store) -> None:
    batch = store.submit(new_job(1))
    with store.database.write() as conn:
        record_unreachable(conn, "gpu-1", message="connection refused", now=NOW, token="gpu-1")
    store.later(200)

    assert reasons(store, batch) == ["gpu-1 cannot be reached since 02:00:00 (3 min): connection refused"]


def test_a_model_that_does_not_load_is_named_with_how_often_and_when_again(store: Store) -> None:
    batch = store.submit(new_job(1))
    until = NOW + timedelta(seconds=45)
    with store.database.write() as conn:
        block_key(conn, "gpu-1", KEY, until=until, failures=3, reason="out_of_memory: 9 GB")
        block_key(conn, "gpu-2", "other:1", until=until, failures=1, reason="load_failed: no")

    assert reasons(store, batch) == [
        "qwen3:8b does not load on gpu-1: out_of_memory: 9 GB; tried 3 times, next try at 02:00:45 (in 45 s)"
    ]


def test_hosts_that_nobody_serves_are_said_in_one_sentence(store: Store) -> None:
    batch = store.submit(new_job(1))
    store.later(7200)

    assert reasons(store, batch) == [
        "no worker serves gpu-1, gpu-2: caravan worker --host gpu-1 --host gpu-2"
    ]
    assert reasons(store, batch, server=Server.NOBODY) == ["no worker serves gpu-1, gpu-2: caravan up"]


def test_a_drained_host_is_no_host_that_nobody_serves(store: Store) -> None:
    batch = store.submit(new_job(1))
    with store.database.write() as conn:
        for name in ("gpu-1", "gpu-2"):
            drain_host(conn, name, now=NOW)
            leave_host(conn, host=name, token=name, now=NOW)

    drained = [
        f"{name} is drained and takes no new jobs: caravan hosts resume {name}" for name in ("gpu-1", "gpu-2")
    ]
    for server in (Server.WORKERS, Server.UP, Server.NOBODY):
        assert reasons(store, batch, server=server) == drained


def test_after_the_death_of_a_run_nothing_is_said_to_run_and_the_same_run_is_the_remedy(store: Store) -> None:
    """The lease of a process that was killed holds on for a while."""
    batch = store.submit(new_job(1), new_job(2))
    with store.database.write() as conn:
        conn.execute(update(hosts).values(kept=False))
        record_resident(conn, "gpu-1", KEY, now=NOW)
    store.claim(2)

    def sentences(server: Server) -> str:
        return "; ".join(explain(store.database, str(batch), clock=At(store.now), server=server).sentences)

    assert "gpu-1 holds qwen3:8b and runs 1, 1 claimed" in sentences(Server.RUN), "it has one slot"
    assert "runs 1" not in sentences(Server.NOBODY)
    assert "no worker serves gpu-1, gpu-2: give the same caravan run again" in sentences(Server.NOBODY)
    store.later(7200)
    assert "no worker serves gpu-1, gpu-2: give the same caravan run again" in sentences(Server.UP)


def test_the_process_that_serves_a_host_does_not_say_that_nobody_does(store: Store) -> None:
    batch = store.submit(new_job(1))
    store.later(7200)  # between two passes nobody holds the leases

    assert reasons(store, batch, server=Server.SELF) == []
    assert reasons(store, batch, server=Server.UP) == []
    with store.database.write() as conn:
        record_unreachable(conn, "gpu-1", message="connection refused", now=store.now)
    assert reasons(store, batch, server=Server.SELF) == [
        "gpu-1 cannot be reached since 04:00:00 (0 s): connection refused"
    ]


def test_hosts_that_a_run_leaves_alone_wait_for_its_end(store: Store) -> None:
    batch = store.submit(new_job(1))
    store.later(7200)

    assert reasons(store, batch, server=Server.RUN) == [
        "the caravan run on this machine does not serve gpu-1, gpu-2: caravan up, once it has ended"
    ]


def test_a_host_that_steps_back_after_a_failure_is_no_host_that_nobody_serves(store: Store) -> None:
    batch = store.submit(new_job(1), new_job(2), new_job(3))
    (job,) = store.claim(1)
    failure = Retried(Code.BAD_REPLY, "the host sent no JSON: <html>", at=NOW, charged=False)
    store.finish(job, failure, ended_at=NOW + timedelta(seconds=1))
    store.later(2)
    with store.database.write() as conn:
        leave_host(conn, host="gpu-1", token="gpu-1", now=store.now)
    rests = (
        "gpu-1 rests after a failure at 02:00:01, and is asked again by itself within a minute: "
        "bad_reply: the host sent no JSON: <html>"
    )

    for server in (Server.RUN, Server.SELF, Server.WORKERS):
        assert reasons(store, batch, server=server) == [rests]
    store.later(61)
    assert reasons(store, batch, server=Server.SELF) == []
    store.later(-61)
    (job,) = store.claim(1)
    store.finish(job, ended_at=store.now)
    assert reasons(store, batch, server=Server.WORKERS)[0].startswith("no worker serves gpu-1"), (
        "it answered since"
    )


def test_a_paused_batch_says_why_and_how_it_goes_on_and_nothing_of_hosts(store: Store) -> None:
    batch = store.submit(new_job(1))
    with store.database.write() as conn:
        conn.execute(
            update(batches)
            .where(batches.c.id == batch)
            .values(state="paused", pause_code="failures", pause_reason="the first 20 jobs failed with cut")
        )
    store.later(7200)

    assert reasons(store, batch) == [
        f"batch {batch} is paused: the first 20 jobs failed with cut; caravan resume {batch}"
    ]


def test_held_jobs_are_said_with_their_reason_and_the_remedy(store: Store) -> None:
    batch = store.submit(new_job(1), new_job(2))
    for job in store.claim(2):
        store.finish(job, Held(Code.RUNNER_DIED, "5 attempts ended this way"))

    assert reasons(store, batch) == [
        f"2 jobs are held: runner_died: 5 attempts ended this way; caravan retry {batch} --state held"
    ]
    assert reasons(store) == ["2 jobs are held; caravan explain BATCH says why"]


def test_a_retry_that_is_waited_for_is_said_with_its_time(store: Store) -> None:
    batch = store.submit(new_job(1))
    (job,) = store.claim(1)
    retried = Retried(Code.HOST_ERROR, "500", at=NOW + timedelta(seconds=81), charged=True)
    store.finish(job, retried)

    assert reasons(store, batch) == ["the next retry is at 02:01:21 (in 1 min)"]


def test_a_run_that_waits_for_a_retry_does_not_say_that_nobody_serves(store: Store) -> None:
    batch = store.submit(new_job(1))
    (job,) = store.claim(1)
    store.finish(job, Retried(Code.HOST_ERROR, "500", at=NOW + timedelta(seconds=81), charged=True))
    with store.database.write() as conn:
        for name in ("gpu-1", "gpu-2"):
            leave_host(conn, host=name, token=name, now=NOW)

    assert reasons(store, batch, server=Server.NOBODY) == ["the next retry is at 02:01:21 (in 1 min)"]
    assert reasons(store, batch)[0].startswith("no worker serves gpu-1, gpu-2")


def test_a_model_that_no_host_has_is_said(store: Store) -> None:
    batch = store.submit(new_job(1, model="llama3.2:3b", runner_key=OTHER))

    assert reasons(store, batch) == ["no host has llama3.2:3b: caravan models pull llama3.2:3b"]


def test_of_hosts_that_answer_it_is_said_that_they_lack_the_model_where_those_that_have_it_are_away(
    store: Store,
) -> None:
    batch = store.submit(new_job(1))
    with store.database.write() as conn:
        add_host(conn, Host("gpu-3", "http://gpu-3:11434"), now=NOW)
        record_probe(conn, "gpu-3", version="0.24.0", models=[replace(QWEN, name="b:1")], now=NOW)
        record_unreachable(conn, "gpu-1", message="connection refused", now=NOW, token="gpu-1")

    assert reasons(store, batch) == ["gpu-1 cannot be reached since 02:00:00 (0 s): connection refused"]
    with store.database.write() as conn:
        record_unreachable(conn, "gpu-2", message="connection refused", now=NOW, token="gpu-2")
    assert reasons(store, batch)[2:] == [
        "gpu-3 answers, but has no qwen3:8b: caravan models pull qwen3:8b --host gpu-3"
    ]


def test_a_model_that_is_on_its_way_is_said_with_how_far_it_is(store: Store) -> None:
    batch = store.submit(new_job(1, model="llama3.2:3b", runner_key=OTHER))
    with store.database.write() as conn:
        pull = begin_models(conn, ModelVerb.PULL, ["llama3.2:3b"], ["gpu-1"], arguments={}, now=NOW)
        keep_part(conn, replace(pull.parts[0], completed=340, total=1000), now=NOW)

    assert reasons(store, batch) == ["no host has llama3.2:3b yet: pulling llama3.2:3b on gpu-1: 34 %"]


def test_a_host_that_loads_drains_or_works_for_others_is_said(store: Store) -> None:
    batch = store.submit(new_job(1))
    store.submit(new_job(1, model="m:1", runner_key="m:1"))
    store.claim(1, runner_key="m:1", host="gpu-2")
    with store.database.write() as conn:
        publish_intent(conn, "gpu-1", "qwen3:8b num_ctx=4096", now=NOW)
        record_resident(conn, "gpu-2", "m:1", now=NOW)
    store.later(12)

    assert reasons(store, batch) == [
        "gpu-1 is loading qwen3:8b (num_ctx=4096) (12 s)",
        "gpu-2 works on other jobs, with m:1 loaded",
    ]
    with store.database.write() as conn:
        conn.execute(update(hosts).values(draining_at=NOW))
    assert reasons(store, batch)[0] == ("gpu-1 is drained and takes no new jobs: caravan hosts resume gpu-1")


def test_a_batch_that_is_still_received_says_only_that(store: Store) -> None:
    with store.database.write() as conn:
        batch, _ = create_batch(conn, key="k", name="n", source=None, now=NOW)

    assert reasons(store, batch.id) == [
        f"batch {batch.id} is still being received; its jobs run when its input is complete"
    ]


def test_without_hosts_it_is_said_how_to_add_one(store: Store) -> None:
    batch = store.submit(new_job(1))

    found = seen(store, batch, among=())

    assert why_nothing_moves(found, NOW) == ["there are no hosts: caravan hosts add NAME URL"]


def test_the_situation_has_speeds_by_host_and_by_model(store: Store) -> None:
    batch = store.submit(*(new_job(seq) for seq in range(1, 5)))
    for job in store.claim(3):
        store.finish(job, Succeeded(a_result(output_tokens=100, total_seconds=2.0)))
    store.later(10)

    found = seen(store, batch)

    one, two = found.hosts
    assert (one.tokens_per_second, two.tokens_per_second) == (300 / 12, 0)
    (model,) = found.models
    assert (model.model, model.done, model.waiting, model.running) == ("qwen3:8b", 3, 1, 0)
    assert (model.jobs_per_second, model.tokens_per_second) == (3 / 12, 300 / 12)
    assert found.counts == {JobState.SUCCEEDED: 3, JobState.QUEUED: 1}
    assert seen(store).counts == found.counts


def test_a_queued_job_is_told_its_place_and_what_its_hosts_do(store: Store) -> None:
    batch = store.submit(*(new_job(seq) for seq in range(1, 5)))
    store.claim(1)
    with store.database.write() as conn:
        record_resident(conn, "gpu-1", KEY, now=NOW)
        record_resident(conn, "gpu-2", OTHER, now=NOW)

    found = explained(store, f"{batch}:c4")

    assert (found.job_id, found.state) == (job_id(batch, 4), "queued")
    assert found.sentences == (
        f"job {job_id(batch, 4)} (c4, qwen3:8b) of batch {batch} is queued",
        "2 jobs are before it with qwen3:8b (its priority is normal)",
        "gpu-1 holds it and runs 1",
        "gpu-2 holds llama3.2:3b (num_ctx=8192); it loads qwen3:8b when that pays",
    )
    assert explained(store, str(job_id(batch, 2))).sentences[1] == "it is the next with qwen3:8b"


def test_a_failed_and_a_held_job_are_told_what_helps(store: Store) -> None:
    batch = store.submit(new_job(1), new_job(2))
    one, two = store.claim(2)
    store.finish(one, Failed(Code.CONTEXT_OVERFLOW, "6,000 tokens do not fit 4,096"))
    store.finish(two, Held(Code.MODEL_MISSING, "no host has it"))

    failed, held = explained(store, f"{batch}:c1"), explained(store, f"{batch}:c2")

    assert failed.sentences[1:] == (
        "context_overflow (the prompt does not fit the context window): 6,000 tokens do not fit 4,096",
        f"caravan retry --job {batch}:c1 --set num_ctx=16384",
    )
    assert [attempt.error_code for attempt in failed.attempts] == ["context_overflow"]
    assert held.sentences[1:] == (
        "model_missing (the host does not have the model: caravan models pull it): no host has it",
        f"then: caravan retry {batch} --state held",
    )


@pytest.mark.parametrize(("window", "such"), [(131_072, ", such as llama3.1:8b"), (32_768, "")])
def test_a_prompt_that_no_window_of_its_model_takes_is_told_which_model_does(
    store: Store, window: int, such: str
) -> None:
    with store.database.write() as conn:
        other = HostModel("llama3.1:8b", "e", False, window)
        record_probe(conn, "gpu-1", version="0.30.1", models=[QWEN, other], now=NOW)
    batch = store.submit(new_job(1, estimate=50_000))
    (one,) = store.claim(1)
    store.finish(one, Failed(Code.CONTEXT_OVERFLOW, "too long"))
    helps = f"its model takes 40,960 tokens at most; shorten the prompt, or ask a model with a larger window{such}"

    assert explained(store, f"{batch}:c1").sentences[1:] == (
        "context_overflow (the prompt does not fit the context window): too long",
        helps,
    )
    assert explained(store, str(batch)).sentences[1] == (
        f"1 failed with context_overflow (the prompt does not fit the context window: {helps})"
    )


def test_a_job_that_waits_for_its_retry_and_one_that_runs_are_told_when(store: Store) -> None:
    batch = store.submit(new_job(1), new_job(2))
    one, _ = store.claim(2)
    store.finish(one, Retried(Code.HOST_ERROR, "500", at=NOW + timedelta(seconds=81), charged=True))
    store.later(30)

    waits, runs = explained(store, f"{batch}:c1"), explained(store, f"{batch}:c2")

    assert waits.sentences[1] == "it is tried again after host_error at 02:01:21 (in 51 s)"
    assert runs.sentences[1] == "attempt 1 on gpu-1 since 02:00:00 (30 s)"


def test_a_batch_is_told_with_its_counts_its_failures_and_who_works_on_it(store: Store) -> None:
    batch = store.submit(*(new_job(seq) for seq in range(1, 5)))
    one, _ = store.claim(2)
    store.finish(one, Failed(Code.CUT, "cut"))
    with store.database.write() as conn:
        record_resident(conn, "gpu-1", KEY, now=NOW)

    assert explained(store, "@last").sentences == (
        f"batch {batch} (b) is open: 1 failed, 2 queued, 1 running",
        "1 failed with cut (the answer was cut and --fail-on-cut was set: raise num_predict or num_ctx)",
        "gpu-1 holds qwen3:8b and runs 1",
    )


def test_what_is_not_there_or_is_several_is_said(store: Store) -> None:
    batch = store.submit(
        new_job(1, custom_id="x"), new_job(2, custom_id="x", model="llama3.2:3b", runner_key=OTHER)
    )

    with pytest.raises(NotFound, match="no batch 'no-such'"):
        explained(store, "no-such")
    with pytest.raises(NotFound, match=f"batch {batch} .* has no job 'y'"):
        explained(store, f"{batch}:y")
    with pytest.raises(Conflict, match=rf"one per model: {job_id(batch, 1)} \(qwen3:8b\)"):
        explained(store, f"{batch}:x")


def test_a_host_in_quarantine_is_named_with_why_and_until_when(store: Store) -> None:
    batch = store.submit(new_job(1))
    with store.database.write() as conn:
        until = NOW + timedelta(minutes=2)
        quarantine_host(conn, "gpu-1", until=until, reason="qwen3:8b fell silent twice")

    told = " ".join(reasons(store, batch))

    assert "gpu-1 is in quarantine until 02:02:00 (in 2 min): qwen3:8b fell silent twice" in told
    assert "caravan hosts resume gpu-1" in told


def test_a_slow_host_is_named_with_its_figures(store: Store) -> None:
    batch = store.submit(new_job(1))
    with store.database.write() as conn:
        record_slow(conn, "gpu-1", "qwen3:8b: 4.0 tokens/s lately, 40.0 as a rule", now=NOW)

    told = reasons(store, batch)

    assert "gpu-1 is slow: qwen3:8b: 4.0 tokens/s lately, 40.0 as a rule" in told


def test_a_suspect_is_said_to_wait_until_it_can_run_alone(store: Store) -> None:
    batch = store.submit(new_job(1))
    with store.database.write() as conn:
        conn.execute(update(jobs).values(losses=2))

    told = explained(store, str(job_id(batch, 1)))

    assert "its host or worker died 2 times while it ran: it runs alone" in " ".join(told.sentences)

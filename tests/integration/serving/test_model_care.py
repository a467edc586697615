"""Operations on the models of a host, worked off while it is served, on both databases."""

import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

import simulator
from tests.integration.ollama.scripted import body, scripted
from tests.integration.serving.test_serve import MODELS, add, counts, opened_gpu, serve, simulated, submit
from tests.maintenance import tidy
from tests.waiting import wait_until
from worker.clock import Clock, OffsetClock
from worker.domain.hosts import Host
from worker.domain.jobs import JobState
from worker.domain.model_operations import ModelOperation, ModelPart, ModelVerb, PartState
from worker.errors import Conflict
from worker.explain.explained import explain
from worker.hosts.models import begin, begin_pull, model_name, spellings
from worker.hosts.recipes import checked_recipe
from worker.maintenance.hold import hosts_to_wake
from worker.ollama import models
from worker.ollama.client import Call, OllamaHost
from worker.policy.windows import parse_windows
from worker.serving.errands import run_errand
from worker.storage.engine import Database
from worker.storage.hosts import remove_host
from worker.storage.model_operations import cancel_models, read_model_operation
from worker.storage.reports import list_models
from worker.storage.windows import set_host_windows

HERE, ELSEWHERE = simulator.demo_models()[:2]


def begun(
    database: Database,
    clock: Clock,
    verb: ModelVerb,
    *models: str,
    hosts: Sequence[str] = ("gpu-1",),
    **arguments: Any,
) -> ModelOperation:
    return begin(database, verb, models, hosts, arguments=arguments, clock=clock)


def parts(database: Database, operation: ModelOperation) -> tuple[ModelPart, ...]:
    with database.read() as conn:
        return read_model_operation(conn, operation.id).parts


def part(database: Database, operation: ModelOperation) -> ModelPart:
    (only,) = parts(database, operation)
    return only


def names(host: Host) -> set[str]:
    with opened_gpu(host) as gpu:
        return {model.name for model in gpu.models()}


def sentences(model: str, jobs: int) -> list[dict[str, Any]]:
    return [{"model": model, "prompt": f"Say {n}."} for n in range(jobs)]


def held(database: Database) -> str:
    with database.read() as conn:
        return str(conn.scalar(text("SELECT hold_reason FROM jobs WHERE state = 'held' LIMIT 1")))


def test_a_pull_is_worked_off_by_whoever_serves_the_host_and_says_what_came(
    database: Database, clock: Clock
) -> None:
    with simulator.running(simulated(models=(HERE,), pullable=(ELSEWHERE,))) as (running,):
        host = add(database, clock, running)
        pull = begun(database, clock, ModelVerb.PULL, ELSEWHERE.name)

        assert hosts_to_wake(database, clock=clock) == ["gpu-1"]
        served = serve(database, clock, host)

        done = part(database, pull)
        assert (done.state, done.step, served.reason) == (PartState.DONE, "success", "no work")
        assert done.completed == done.total >= ELSEWHERE.size_bytes
        assert ELSEWHERE.name in names(host)
        with database.read() as conn:
            digests = {known.name: known.digest for known in list_models(conn)}
        assert done.digest == digests[ELSEWHERE.name]
        assert hosts_to_wake(database, clock=clock) == []


def test_a_registry_is_asked_for_a_model_as_it_was_written() -> None:
    written = ["hf.co/Qwen/Tiny-GGUF:Q8_0", "qwen3:8b"]
    with scripted(body({"status": "success"})) as host:
        gpu = OllamaHost(host.url)
        for name in map(model_name, written):
            pull = ModelPart(1, ModelVerb.PULL, "gpu-1", name, {"spellings": spellings(written)})
            run_errand(gpu, pull, call=Call(), hear=lambda _: None)
        gpu.close()

    assert [request.body["model"] for request in host.requests] == written


def test_a_pull_that_was_broken_off_on_one_of_three_hosts_goes_on_from_what_came(
    database: Database, clock: Clock
) -> None:
    broken = simulator.Fault("pull_cut", after_chunks=2)
    settings = [
        simulated(
            name,
            models=(HERE,),
            pullable=(ELSEWHERE,),
            time_scale=0.01,
            pull_bytes_per_second=ELSEWHERE.size_bytes / 0.6,
            faults=(broken,) if name == "gpu-2" else (),
        )
        for name in ("gpu-1", "gpu-2", "gpu-3")
    ]
    with simulator.running(*settings) as running:
        hosts = [add(database, clock, one) for one in running]
        pull = begun(database, clock, ModelVerb.PULL, ELSEWHERE.name, hosts=[host.name for host in hosts])

        for host in hosts:
            serve(database, clock, host)
        first = parts(database, pull)
        later = OffsetClock(clock.now() + timedelta(seconds=30))
        assert hosts_to_wake(database, clock=later) == ["gpu-2"]
        serve(database, later, hosts[1])

        assert [one.state for one in first] == [PartState.DONE, PartState.WAITING, PartState.DONE]
        assert 0 < first[1].completed < first[1].total
        assert first[1].next_at is not None
        assert [one.state for one in parts(database, pull)] == [PartState.DONE] * 3
        assert all(ELSEWHERE.name in names(host) for host in hosts)
        pulled = [one.state()["pulled_bytes"] for one in running]
        assert pulled[1] == pulled[0] == pulled[2]


@pytest.mark.parametrize(
    ("says", "means"),
    [
        ("write /models/blobs/sha256-1-partial-0: no space left on device", "the disk of the host is full"),
        ("http: no Location header in response", "by a redirect to another host name"),
    ],
)
def test_a_pull_that_no_try_mends_ends_with_what_it_means(
    database: Database, clock: Clock, says: str, means: str
) -> None:
    fault = simulator.Fault("pull_error", text=says, after_chunks=1, times=0)
    with simulator.running(simulated(models=(HERE,), pullable=(ELSEWHERE,), faults=(fault,))) as (running,):
        host = add(database, clock, running)
        pull = begun(database, clock, ModelVerb.PULL, ELSEWHERE.name)

        serve(database, clock, host)

        failed = part(database, pull)
        assert failed.state is PartState.FAILED
        assert says in str(failed.error)
        assert means in str(failed.error)


def test_a_host_that_vanishes_during_a_pull_goes_on_when_it_is_back(database: Database, clock: Clock) -> None:
    slow = simulated(
        models=(HERE,), pullable=(ELSEWHERE,), time_scale=1.0, pull_bytes_per_second=ELSEWHERE.size_bytes / 3
    )
    with simulator.running(slow) as (running,):
        host = add(database, clock, running)
        pull = begun(database, clock, ModelVerb.PULL, ELSEWHERE.name)
        serving = threading.Thread(target=serve, args=(database, clock, host))
        serving.start()
        wait_until(lambda: part(database, pull).completed > 0, description="some of it came")
        running.kill()
        serving.join(30)
        broken = part(database, pull)
        running.start_again()

        later = OffsetClock(clock.now() + timedelta(minutes=10))
        serve(database, later, host)

        assert not serving.is_alive()
        assert (broken.state, broken.tries <= 1) == (PartState.WAITING, True)
        assert "registry" not in str(broken.error), "the connection to the host broke"
        assert part(database, pull).state is PartState.DONE


def test_a_push_that_the_registry_refuses_says_why(database: Database, clock: Clock) -> None:
    with simulator.running(simulated(models=(HERE,))) as (running,):
        host = add(database, clock, running)
        name = "127.0.0.1:5001/team/here:latest"
        copy = begun(database, clock, ModelVerb.COPY, name, source=HERE.name)
        serve(database, clock, host)
        push = begun(database, clock, ModelVerb.PUSH, name)

        serve(database, clock, host)

        waiting = part(database, push)
        assert part(database, copy).state is PartState.DONE
        assert (waiting.state, waiting.tries) == (PartState.WAITING, 1)
        assert "the registry cannot be reached from the host" in str(waiting.error)


def test_a_model_in_use_is_not_removed_and_the_refusal_counts_its_jobs(
    database: Database, clock: Clock
) -> None:
    with simulator.running(simulated()) as (running,):
        host = add(database, clock, running)
        submit(database, clock, sentences(MODELS[0], 4))

        with pytest.raises(Conflict, match="is in use: 4 queued jobs; no other host has it"):
            begun(database, clock, ModelVerb.REMOVE, MODELS[0])
        assert MODELS[0] in names(host)


def test_jobs_that_came_after_the_decision_keep_their_model(database: Database, clock: Clock) -> None:
    with simulator.running(simulated()) as (running,):
        host = add(database, clock, running)
        removal = begun(database, clock, ModelVerb.REMOVE, MODELS[0])
        batch = submit(database, clock, sentences(MODELS[0], 4))

        serve(database, clock, host)

        refused = part(database, removal)
        assert refused.state is PartState.FAILED
        assert "is in use: 4 queued jobs" in str(refused.error)
        assert counts(database, batch) == {JobState.SUCCEEDED: 4}


def test_jobs_of_a_model_that_was_removed_are_held_with_the_reason_and_go_on_after_the_pull(
    database: Database, clock: Clock
) -> None:
    with simulator.running(simulated(pullable=simulator.demo_models())) as (running,):
        host = add(database, clock, running)
        batch = submit(database, clock, sentences(MODELS[0], 6))
        removal = begun(database, clock, ModelVerb.REMOVE, MODELS[0], force=True)

        serve(database, clock, host)
        tidy(database, clock=clock)

        assert part(database, removal).state is PartState.DONE
        assert MODELS[0] not in names(host)
        assert counts(database, batch) == {JobState.HELD: 6}
        assert f"no host has {MODELS[0]}" in held(database)
        assert "caravan models rm removed it from gpu-1" in held(database)
        assert f"caravan models pull {MODELS[0]} brings it" in held(database)

        begun(database, clock, ModelVerb.PULL, MODELS[0])
        serve(database, clock, host)
        serve(database, clock, host)

        assert counts(database, batch) == {JobState.SUCCEEDED: 6}


def test_a_model_never_goes_from_under_a_running_call(
    database: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    running_then: list[int] = []
    remove = models.remove

    def remove_and_count(gpu: OllamaHost, model: str) -> None:
        running_then.append(counts(database, batch).get(JobState.RUNNING, 0))
        remove(gpu, model)

    monkeypatch.setattr(models, "remove", remove_and_count)
    slow = replace(HERE, tokens_per_second=40.0, answer_tokens=(40, 40))
    with simulator.running(simulated(models=(slow,), time_scale=1.0)) as (running,):
        host = add(database, clock, running)
        batch = submit(database, clock, sentences(slow.name, 12))
        stop = threading.Event()
        serving = threading.Thread(target=serve, args=(database, clock, host), kwargs={"stop": stop})
        serving.start()
        try:
            wait_until(lambda: counts(database, batch).get(JobState.RUNNING, 0) > 0, description="a job runs")
            removal = begun(database, clock, ModelVerb.REMOVE, slow.name, force=True)
            wait_until(lambda: not part(database, removal).is_open, description="the model is removed")
        finally:
            stop.set()
            serving.join(30)

        ended = counts(database, batch)
        assert part(database, removal).state is PartState.DONE
        assert running_then == [0]
        assert ended[JobState.SUCCEEDED] >= 2
        assert ended[JobState.QUEUED] >= 4  # none began any more
        assert ended[JobState.SUCCEEDED] + ended[JobState.QUEUED] == 12
        with database.read() as conn:
            assert conn.scalar(text("SELECT count(*) FROM attempts WHERE outcome <> 'succeeded'")) == 0


def test_a_pull_that_was_cancelled_stops_and_the_host_is_left_at_rest(
    database: Database, clock: Clock
) -> None:
    with simulator.running(
        simulated(models=(HERE,), pullable=(ELSEWHERE,), time_scale=1.0, pull_bytes_per_second=1e6)
    ) as (running,):
        host = add(database, clock, running)
        pull = begun(database, clock, ModelVerb.PULL, ELSEWHERE.name)
        serving = threading.Thread(target=serve, args=(database, clock, host))
        serving.start()
        wait_until(lambda: part(database, pull).state is PartState.WORKING, description="it is pulled")
        with database.write() as conn:
            cancel_models(conn, pull.id, now=clock.now())

        serving.join(30)

        assert not serving.is_alive()
        assert part(database, pull).state is PartState.CANCELLED
        assert ELSEWHERE.name not in names(host)


def test_a_model_that_no_registry_has_fails_at_once_with_what_to_do(database: Database, clock: Clock) -> None:
    with simulator.running(simulated(models=(HERE,))) as (running,):
        host = add(database, clock, running)
        pull = begun(database, clock, ModelVerb.PULL, "nope:1b")

        serve(database, clock, host)

        failed = part(database, pull)
        assert failed.state is PartState.FAILED
        assert "the registry has no such model" in str(failed.error)


def test_a_host_outside_of_its_hours_waits_unless_it_is_to_be_now(database: Database, clock: Clock) -> None:
    with simulator.running(simulated(models=(HERE,), pullable=(ELSEWHERE,))) as (running,):
        host = add(database, clock, running)
        hour = (clock.now().hour + 12) % 24
        hours = parse_windows([f"{hour:02}:00-{hour:02}:30"], zone="UTC")
        assert hours is not None
        with database.write() as conn:
            set_host_windows(conn, "gpu-1", hours.plain)
        pull = begun(database, clock, ModelVerb.PULL, ELSEWHERE.name)

        assert hosts_to_wake(database, clock=clock) == []
        serve(database, clock, host)
        assert part(database, pull).state is PartState.WAITING

        with database.write() as conn:
            cancel_models(conn, pull.id, now=clock.now())
        now = begun(database, clock, ModelVerb.PULL, ELSEWHERE.name, now=True)
        assert hosts_to_wake(database, clock=clock) == ["gpu-1"]
        serve(database, clock, host)
        assert part(database, now).state is PartState.DONE


def test_load_stop_copy_and_create_are_done_on_the_host(database: Database, clock: Clock) -> None:
    with simulator.running(simulated(models=(HERE,))) as (running,):
        host = add(database, clock, running)
        recipe = {"from": HERE.name, "parameters": {"num_ctx": 2048}}

        load = begun(database, clock, ModelVerb.LOAD, HERE.name, num_ctx=4096)
        serve(database, clock, host)
        with opened_gpu(host) as gpu:
            assert [(model.name, model.context_length) for model in gpu.loaded()] == [(HERE.name, 4096)]
        stop = begun(database, clock, ModelVerb.STOP, HERE.name)
        copy = begun(database, clock, ModelVerb.COPY, "twin:1b", source=HERE.name)
        create = begun(database, clock, ModelVerb.CREATE, "small:1b", source=HERE.name, recipe=recipe)
        missing = begun(database, clock, ModelVerb.CREATE, "none:1b", source="nope:1b", recipe=recipe)
        serve(database, clock, host)

        for operation in (load, stop, copy, create):
            assert part(database, operation).state is PartState.DONE, part(database, operation)
        assert "caravan models pull nope:1b first" in str(part(database, missing).error)
        assert names(host) == {HERE.name, "twin:1b", "small:1b"}
        with opened_gpu(host) as gpu:
            assert gpu.loaded() == []


def test_the_same_operation_goes_on_and_another_one_on_its_model_is_refused(
    database: Database, clock: Clock
) -> None:
    with simulator.running(simulated()) as (running,):
        add(database, clock, running)
        first = begun(database, clock, ModelVerb.PULL, MODELS[0])

        assert begun(database, clock, ModelVerb.PULL, MODELS[0]).id == first.id
        with pytest.raises(Conflict, match=f"operation {first.id} on {MODELS[0]} still goes on on gpu-1"):
            begun(database, clock, ModelVerb.REMOVE, MODELS[0])


def test_a_model_larger_than_the_memory_of_its_host_is_loaded_only_by_force(
    database: Database, clock: Clock
) -> None:
    with simulator.running(simulated(models=(HERE,))) as (running,):
        host = add(database, clock, running, memory=1_000_000_000)
        refused = begun(database, clock, ModelVerb.LOAD, HERE.name)
        serve(database, clock, host)
        forced = begun(database, clock, ModelVerb.LOAD, HERE.name, force=True)
        serve(database, clock, host)

        assert part(database, refused).state is PartState.FAILED
        assert "the host 1,000,000,000 for models" in str(part(database, refused).error)
        assert part(database, forced).state is PartState.DONE


def test_a_load_takes_the_window_that_waiting_jobs_need(database: Database, clock: Clock) -> None:
    with simulator.running(simulated(models=(HERE,))) as (running,):
        host = add(database, clock, running)
        jobs = [{**job, "options": {"num_ctx": 2048}} for job in sentences(HERE.name, 2)]
        batch = submit(database, clock, jobs)
        load = begun(database, clock, ModelVerb.LOAD, HERE.name)

        served = serve(database, clock, host, batch_id=batch.id + 1)

        assert (served.jobs, part(database, load).state) == (0, PartState.DONE)
        with opened_gpu(host) as gpu:
            assert [model.context_length for model in gpu.loaded()] == [2048]


def test_what_was_to_be_done_on_a_host_that_was_removed_is_over(database: Database, clock: Clock) -> None:
    with simulator.running(simulated()) as (running,):
        add(database, clock, running)
        pull = begun(database, clock, ModelVerb.PULL, MODELS[0])
        with database.write() as conn:
            remove_host(conn, "gpu-1", now=clock.now())

        tidy(database, clock=clock)

        assert part(database, pull).state is PartState.FAILED
        assert part(database, pull).error == "the host was removed"
        with database.read() as conn:
            assert read_model_operation(conn, pull.id).ended_at is not None


def test_a_pass_that_is_stopped_leaves_its_pull_to_the_next_one(database: Database, clock: Clock) -> None:
    slow = simulated(
        models=(HERE,), pullable=(ELSEWHERE,), time_scale=1.0, pull_bytes_per_second=ELSEWHERE.size_bytes / 2
    )
    with simulator.running(slow) as (running,):
        host = add(database, clock, running)
        pull = begun(database, clock, ModelVerb.PULL, ELSEWHERE.name)
        stop = threading.Event()
        serving = threading.Thread(target=serve, args=(database, clock, host), kwargs={"stop": stop})
        serving.start()
        wait_until(lambda: part(database, pull).completed > 0, description="some of it came")
        stop.set()
        serving.join(30)
        left = part(database, pull)

        serve(database, clock, host)

        assert (left.state, left.tries) == (PartState.WAITING, 0)
        assert 0 < left.completed < left.total
        assert part(database, pull).state is PartState.DONE
        assert running.state()["pulled_bytes"] < 2 * ELSEWHERE.size_bytes


def test_a_recipe_of_a_file_becomes_a_model_with_its_parameters_on_every_host(
    database: Database, clock: Clock
) -> None:
    recipe = checked_recipe(
        {"from": HERE.name, "system": "Be brief.", "parameters": {"num_ctx": 2048, "temperature": 0}}
    )
    with simulator.running(simulated(models=(HERE,)), simulated("gpu-2", models=(HERE,))) as running:
        hosts = [add(database, clock, one) for one in running]
        create = begun(
            database,
            clock,
            ModelVerb.CREATE,
            "brief:3b",
            hosts=("gpu-1", "gpu-2"),
            source=HERE.name,
            recipe=recipe,
        )
        for host in hosts:
            serve(database, clock, host)

        assert [one.state for one in parts(database, create)] == [PartState.DONE] * 2
        for host in hosts:
            with opened_gpu(host) as gpu:
                shown = gpu.show("brief:3b")
            assert "num_ctx" in shown["parameters"] and "2048" in shown["parameters"]
            assert shown["system"] == "Be brief."


def test_a_load_that_fails_is_over_at_once_and_costs_no_job(database: Database, clock: Clock) -> None:
    fault = simulator.Fault("load_failure", text="model failed to load, no room", times=0)
    with simulator.running(simulated(models=(HERE,), faults=(fault,))) as (running,):
        host = add(database, clock, running)
        load = begun(database, clock, ModelVerb.LOAD, HERE.name)

        serve(database, clock, host)

        failed = part(database, load)
        assert (failed.state, failed.next_at) == (PartState.FAILED, None)
        assert "no room" in str(failed.error)


def test_jobs_wait_for_a_model_that_is_on_its_way_and_go_on_when_it_came(
    database: Database, clock: Clock
) -> None:
    with simulator.running(simulated(models=(HERE,), pullable=(ELSEWHERE,))) as (running,):
        host = add(database, clock, running)
        (pull,) = begin_pull(database, [ELSEWHERE.name], ["gpu-1"], clock=clock)
        batch = submit(database, clock, sentences(ELSEWHERE.name, 3))

        tidy(database, clock=clock)
        assert counts(database, batch) == {JobState.QUEUED: 3}
        assert (
            explain(database, str(batch.id), clock=clock)
            .sentences[-1]
            .startswith(f"no host has {ELSEWHERE.name} yet: pulling {ELSEWHERE.name} on gpu-1")
        )
        assert begin_pull(database, [ELSEWHERE.name], ["gpu-1", "gpu-2"], clock=clock) == [pull]
        serve(database, clock, host)

    assert counts(database, batch) == {JobState.SUCCEEDED: 3}


def test_jobs_are_held_with_the_reason_where_their_model_does_not_come(
    database: Database, clock: Clock
) -> None:
    with simulator.running(simulated(models=(HERE,))) as (running,):
        host = add(database, clock, running)
        begin_pull(database, [ELSEWHERE.name], ["gpu-1"], clock=clock)
        batch = submit(database, clock, [*sentences(ELSEWHERE.name, 2), *sentences(HERE.name, 1)])
        serve(database, clock, host)
        tidy(database, clock=clock)

    assert counts(database, batch) == {JobState.SUCCEEDED: 1, JobState.HELD: 2}
    assert "; pull on gpu-1 failed: pull model manifest: file does not exist" in held(database)

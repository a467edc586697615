"""``Caravan.run`` and what a handle does, on both databases, against simulated hosts."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import simulator
from caravan import BatchProgress, Caravan, Conflict, InputRefused, NoHost, NotFound, SettingsRefused
from caravan import BatchState as State
from worker.domain.address import host_name
from worker.domain.hosts import Host
from worker.domain.jobs import JobState
from worker.errors import AlreadyRunning, DatabaseUnavailable, SchemaOutdated
from worker.hosts.registry import register
from worker.hosts.selection import select_hosts
from worker.maintenance.actions import pause_batch, resume_batch
from worker.stack.home import lock_home
from worker.storage.engine import Database
from worker.storage.hosts import record_unreachable

MODEL = "llama3.2:3b"
GONE = "http://127.0.0.1:9"


def settings(name: str, **more: Any) -> simulator.HostSettings:
    said: dict[str, Any] = {"models": simulator.demo_models(), "time_scale": 0.0, **more}
    return simulator.HostSettings(name=name, **said)


@pytest.fixture
def host() -> Iterator[simulator.RunningHost]:
    with simulator.running(settings("gpu-1", num_parallel=2)) as (running,):
        yield running


def states(batch: Any) -> list[str]:
    return [line["state"] for line in batch]


def test_what_is_run_is_answered_and_the_batch_is_settled(
    host: simulator.RunningHost, migrated_url: str, tmp_path: Path
) -> None:
    caravan = Caravan(tmp_path / "home", migrated_url)
    try:
        batch = caravan.run(
            (f"Say {n}." for n in range(12)),
            hosts=[host.url],
            slots=2,
            model=MODEL,
            name="twelve",
            options={"seed": 7},
            priority="high",
        )

        assert states(batch) == ["succeeded"] * 12
        assert batch.progress().batch.state is State.FINISHED
        assert batch.name == "twelve"
        assert list(batch.results({"failed"})) == []
        assert caravan.batch(batch.key) == caravan.batch("twelve") == caravan.batches(limit=1)[0] == batch
    finally:
        caravan.close()
    assert host.state()["requests"] == 12
    assert host.state()["max_concurrent"] <= 2


def test_interrupted_it_stops_and_the_same_call_goes_on(
    host: simulator.RunningHost, migrated_url: str, tmp_path: Path
) -> None:
    jobs = [f"Say {n}." for n in range(40)]
    seen: list[int] = []

    def interrupt(progress: BatchProgress) -> None:
        seen.append(progress.done)
        if progress.done:
            raise KeyboardInterrupt

    host.set_faults(simulator.Fault("drip", times=0, seconds=0.01))
    with Caravan(tmp_path / "home", migrated_url) as caravan:
        with pytest.raises(KeyboardInterrupt):
            caravan.run(jobs, hosts=[host.url], model=MODEL, callback=interrupt, poll=0.01)
        halfway = caravan.batch("@last").progress()
        host.set_faults()
        batch = caravan.run(jobs, hosts=[host.url], model=MODEL)

        assert 0 < halfway.done < 40
        assert not halfway.counts.get(JobState.RUNNING)
        assert batch.id == halfway.batch.id
        assert states(batch) == ["succeeded"] * 40
    assert host.state()["requests"] == 40


def test_two_hosts_share_the_work_and_one_that_is_away_is_done_without(caravan: Caravan) -> None:
    with simulator.running(settings("gpu-1"), settings("gpu-2")) as hosts:
        batch = caravan.run(
            [f"Say {n}." for n in range(60)], hosts=[*(host.url for host in hosts), GONE], model=MODEL
        )

        assert states(batch) == ["succeeded"] * 60
        assert sum(host.state()["requests"] for host in hosts) == 60


def test_hosts_that_all_go_away_end_the_run(caravan: Caravan, host: simulator.RunningHost) -> None:
    host.set_faults(simulator.Fault("drip", times=0, seconds=0.01))
    name = host_name(host.url)

    def kill(progress: BatchProgress) -> None:
        if progress.done:
            host.kill()
            with caravan.database.write() as conn:  # as the host's own thread does after its back-off
                record_unreachable(conn, name, message="connection refused", now=caravan.clock.now())

    with pytest.raises(NoHost, match=f"no host can serve the rest of batch 1: {name} cannot be reached"):
        caravan.run(
            [f"Say {n}." for n in range(200)],
            hosts=[host.url],
            model=MODEL,
            callback=kill,
            poll=0.02,
            wait_hosts=0.0,
        )


def test_a_run_ends_where_the_only_host_with_the_model_is_away_though_another_answers(
    caravan: Caravan, host: simulator.RunningHost
) -> None:
    """As after a night in which one host died, and the other came back with other models."""
    other = simulator.HostSettings("gpu-2", (simulator.SimulatedModel("b:1"),), time_scale=0.001)
    with simulator.running(other) as (answers,):
        lacking, dead = host_name(answers.url), host_name(host.url)
        caravan.run(["x"], hosts=[host.url], model=MODEL)
        caravan.submit(["x", "y"], model=MODEL)
        host.kill()

        missing = f"{lacking} answers, but has no {MODEL}: caravan models pull {MODEL} --host {lacking}"
        with pytest.raises(NoHost, match=f"{dead} cannot be reached .*; {missing}"):
            caravan.run(["x", "y"], hosts=[answers.url, host.url], model=MODEL, poll=0.02, wait_hosts=0.0)


def test_a_model_that_no_host_has_is_refused_before_anything_runs(
    caravan: Caravan, host: simulator.RunningHost
) -> None:
    with pytest.raises(InputRefused, match="llama3") as refused:
        caravan.run(["x"], hosts=[host.url], model="llama3.2:3")

    assert [problem.line for problem in refused.value.problems] == [0]  # of no line: an argument names it
    assert host.state()["requests"] == 0


def test_where_a_fleet_serves_nothing_runs_here(tmp_path: Path) -> None:
    with Caravan(tmp_path, broker_url="redis://127.0.0.1:9/0") as caravan:
        with pytest.raises(SettingsRefused, match="use submit"):
            caravan.run(["x"], hosts=[GONE], model=MODEL)


def test_a_home_that_another_run_serves_is_not_served_twice(caravan: Caravan) -> None:
    with lock_home(caravan.settings.home, command="run"), pytest.raises(AlreadyRunning, match="caravan run"):
        caravan.run(["x"], hosts=[GONE], model=MODEL)


def test_hosts_are_those_named_else_those_added_else_the_one_at_ollama_host(
    caravan: Caravan, host: simulator.RunningHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    from worker.ollama.client import OllamaHost

    def urls(*said: Any) -> list[tuple[str, int]]:
        return [(one.url, one.slots) for one in select_hosts(caravan.database, *said)]

    assert urls(None, None) == [("http://127.0.0.1:11434", 1)]
    monkeypatch.setenv("OLLAMA_HOST", "gpu-7:1234")
    assert urls(None, 3) == [("http://gpu-7:1234", 3)]
    register(
        caravan.database, Host("big", host.url, 2), open_host=lambda h: OllamaHost(h.url), clock=caravan.clock
    )
    assert urls(None, None) == [(host.url, 2)]
    assert urls(["big", GONE], None) == [(host.url, 2), (GONE, 1)]
    assert urls([host.url], None) == [(host.url, 2)]
    assert urls("big", 4) == [(host.url, 4)]


# -- a handle ---------------------------------------------------------------------------------------------------------


def test_waiting_ends_for_a_paused_batch_of_which_nothing_runs(caravan: Caravan) -> None:
    batch = caravan.submit(["x"], model=MODEL)
    pause_batch(caravan.database, batch.id, clock=caravan.clock)

    assert batch.wait(None, 5).batch.state is State.PAUSED

    resume_batch(caravan.database, batch.id, clock=caravan.clock)
    with pytest.raises(TimeoutError):
        batch.wait(timeout=0)


def test_waiting_rides_out_a_database_that_is_away(caravan: Caravan, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = caravan.submit(["x"], model=MODEL)
    batch.cancel()
    read, times = Database.read, iter([True, True])

    def away(database: Database) -> Any:
        if next(times, False):
            raise DatabaseUnavailable("locked")
        return read(database)

    monkeypatch.setattr(Database, "read", away)

    assert batch.wait(poll=0).batch.state is State.CANCELLED
    monkeypatch.setattr("worker.client.handle.DATABASE_SECONDS", 0.0)
    times = iter([True] * 1000)
    with pytest.raises(DatabaseUnavailable):
        batch.wait(poll=0.001)


def test_what_is_cancelled_can_be_asked_again(caravan: Caravan, host: simulator.RunningHost) -> None:
    batch = caravan.submit(["x", "y"], model=MODEL)

    assert batch.cancel() == 2
    assert batch.wait().batch.state is State.CANCELLED
    with pytest.raises(Conflict):
        batch.cancel()
    with pytest.raises(Conflict, match=r"batch 1 of these very jobs was cancelled; new=True asks them"):
        caravan.run(["x", "y"], hosts=[host.url], model=MODEL)
    assert batch.retry(states=["cancelled"]) == 2
    assert states(caravan.run(["x", "y"], hosts=[host.url], model=MODEL)) == ["succeeded", "succeeded"]
    assert batch.retry() == 0


def test_a_state_that_is_none_is_refused(caravan: Caravan) -> None:
    batch = caravan.submit(["x"], model=MODEL)

    with pytest.raises(ValueError, match="'done' is not a valid JobState"):
        batch.results("done")
    assert len(list(batch.results("queued"))) == 1


def test_a_table_of_no_results_has_its_columns(caravan: Caravan) -> None:
    batch = caravan.submit(["x"], model=MODEL)

    table = batch.to_dataframe({"failed"})

    assert len(table) == 0
    assert {"custom_id", "answer", "error_code"} <= set(table.columns)


def test_without_pandas_it_is_said_what_to_install(caravan: Caravan, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = caravan.submit(["x"], model=MODEL)
    monkeypatch.setitem(sys.modules, "pandas", None)

    with pytest.raises(ImportError, match="pip install pandas"):
        batch.to_dataframe()


def test_a_handle_is_shown_by_what_it_means(caravan: Caravan) -> None:
    batch = caravan.submit(["x"], model=MODEL, key="mine", name="one")

    assert repr(batch) == "BatchHandle(id=1, key='mine', name='one')"


# -- submitting -------------------------------------------------------------------------------------------------------


def test_a_key_of_ones_own_is_one_batch_whatever_the_jobs(caravan: Caravan) -> None:
    first = caravan.submit(["x"], model=MODEL, key="day-1")
    second = caravan.submit(["y"], model=MODEL, key="day-1")
    third = caravan.submit(["x"], model=MODEL, key="day-2")

    assert (first.id, third.id) == (second.id, first.id + 1)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"priority": "urgent"}, "priority"),
        ({"options": {"sead": 7}}, "did you mean seed"),
        ({"format": "yaml"}, "format"),
        ({"think": 3}, "think"),
        ({"model": ""}, "model"),
        ({"key": ""}, "key"),
        ({"key": "k" * 201}, "key"),
    ],
)
def test_what_no_host_would_take_is_refused_before_a_job_is_stored(
    caravan: Caravan, said: dict[str, Any], told: str
) -> None:
    with pytest.raises(InputRefused, match=told):
        caravan.submit(["x"], **{"model": MODEL, **said})
    assert caravan.batches() == []


def test_problems_of_all_kinds_come_together_and_the_jobs_corrected_are_taken(caravan: Caravan) -> None:
    with pytest.raises(InputRefused) as refused:
        caravan.submit([{"promt": "x"}, 7, "fine", {"prompt": ""}], model=MODEL, key="k")
    batch = caravan.submit(["fine"], model=MODEL, key="k")

    assert {problem.line for problem in refused.value.problems} == {1, 2, 4}
    assert states(batch) == ["queued"]


@pytest.mark.parametrize("jobs", [[], iter(())])
def test_no_job_at_all_is_refused(caravan: Caravan, jobs: Any) -> None:
    with pytest.raises(InputRefused, match="holds no job"):
        caravan.submit(jobs, model=MODEL)


def test_jobs_may_come_one_by_one_and_be_many(caravan: Caravan) -> None:
    batch = caravan.submit((f"Say {n}." for n in range(6000)), model=MODEL)

    assert batch.progress().counts == {JobState.QUEUED: 6000}
    assert next(batch.results())["custom_id"] == "line-1"


def test_an_unknown_batch_is_not_found(caravan: Caravan) -> None:
    with pytest.raises(NotFound):
        caravan.batch("nothing")


def test_the_database_of_a_fleet_is_checked_and_not_made(sqlite_url: str) -> None:
    with pytest.raises(SchemaOutdated, match="caravan db upgrade"):
        Caravan(database_url=sqlite_url)


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(SettingsRefused, match="unknown setting databse_url, did you mean database_url"):
        Caravan(databse_url="x")


def test_the_workers_of_a_fleet_are_woken(
    migrated_postgres_url: str, redis_url: str, host: simulator.RunningHost
) -> None:
    import redis

    from worker.dispatch.app import host_queue
    from worker.ollama.client import OllamaHost

    with Caravan(database_url=migrated_postgres_url, broker_url=redis_url) as caravan:
        register(
            caravan.database,
            Host("gpu-1", host.url),
            open_host=lambda h: OllamaHost(h.url),
            clock=caravan.clock,
        )
        caravan.submit(["x"], model=MODEL)

    with redis.Redis.from_url(redis_url) as broker:
        assert broker.llen("caravan:" + host_queue("gpu-1")) == 1

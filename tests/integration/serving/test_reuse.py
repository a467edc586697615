"""Jobs that ask what was asked before take the stored answer, and no host is asked."""

import json
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import text

import simulator
from api_schemas.jobs import JobDefaults
from tests.door import submit_lines
from tests.maintenance import tick, tidy
from worker.clock import Clock
from worker.domain.batches import Batch
from worker.domain.hosts import Host
from worker.domain.selection import Selection
from worker.domain.timings import Timings
from worker.exports.results import result_lines
from worker.hosts.registry import register
from worker.maintenance.actions import cancel_jobs, pause_batch
from worker.ollama.client import Deadlines, OllamaHost
from worker.serving.loop import PassResult, serve_host
from worker.serving.session import ServingContext
from worker.storage.check import check_database
from worker.storage.engine import Database
from worker.storage.runs import list_runs

QUICK = Timings(lease=9, renew=2, cancel_poll=0.1, tick=0.5, linger=0.0, idle_poll=0.05, group=0.05, unload=3)
MODEL, OTHER = (model.name for model in simulator.demo_models()[:2])


@contextmanager
def a_host(database: Database, clock: Clock, **settings: Any) -> Iterator[Host]:
    told: dict[str, Any] = {"name": "gpu-1", "models": simulator.demo_models(), "time_scale": 0.0}
    with simulator.running(simulator.HostSettings(**{**told, **settings})) as (running,):
        host = Host(settings.get("name", "gpu-1"), running.url)
        register(database, host, open_host=opened, clock=clock)
        yield host


def opened(host: Host) -> OllamaHost:
    return OllamaHost(host.url, deadlines=Deadlines(connect=2, first_byte=5, silence=5, total=10, load=10))


def submit(database: Database, clock: Clock, *rows: dict[str, Any], **defaults: Any) -> Batch:
    said: dict[str, Any] = {"model": MODEL, "options": {"seed": 1}, "reuse": True, **defaults}
    return submit_lines(
        database,
        [json.dumps(row) for row in rows],
        key=uuid.uuid4().hex,
        name="b",
        defaults=JobDefaults(**said),
        clock=clock,
    ).batch


def serve(database: Database, host: Host, clock: Clock, **more: Any) -> PassResult:
    gpu = opened(host)
    try:
        return serve_host(ServingContext(database, host, gpu, clock, QUICK, **more))
    finally:
        gpu.close()
        tick(database, clock=clock)
        tidy(database, clock=clock)


def lines(database: Database, batch: Batch) -> list[dict[str, Any]]:
    return list(result_lines(database, Selection(batch.id)))


def promises(database: Database, clock: Clock) -> list[str]:
    return [one.name for one in check_database(database, now=clock.now()) if one.broken]


def loads(database: Database) -> int:
    with database.read() as conn:
        return len(list_runs(conn))


ROWS = [{"prompt": f"Say {n}.", "custom_id": f"c{n}"} for n in range(5)]


def test_the_same_request_takes_the_stored_answer_of_another_batch(database: Database, clock: Clock) -> None:
    with a_host(database, clock) as host:
        first = submit(database, clock, *ROWS, reuse=None)
        serve(database, host, clock)
        second = submit(database, clock, *ROWS, {"prompt": "Say something new."})

        served = serve(database, host, clock)

    old, new = lines(database, first), lines(database, second)
    assert [line["answer"] for line in new[:5]] == [line["answer"] for line in old]
    assert [line["reused_from"] for line in new] == [line["job"] for line in old] + [None]
    assert [line["attempts"] for line in new] == [0, 0, 0, 0, 0, 1]
    assert served.jobs == 1
    assert new[0]["eval_seconds"] is None and new[0]["output_tokens"] == old[0]["output_tokens"]
    assert promises(database, clock) == []


def test_nothing_is_loaded_for_jobs_that_all_have_their_answers(database: Database, clock: Clock) -> None:
    with a_host(database, clock) as host:
        submit(database, clock, *ROWS)
        serve(database, host, clock)
        submit(database, clock, {"prompt": "x"}, model=OTHER)
        serve(database, host, clock)  # what was loaded for the first batch is gone
        before = loads(database)
        again = submit(database, clock, *ROWS)

        served = serve(database, host, clock)

    assert (served.jobs, loads(database)) == (0, before)
    assert {line["state"] for line in lines(database, again)} == {"succeeded"}


def test_an_answer_that_was_sampled_by_chance_is_taken_only_where_any_is_asked_for(
    database: Database, clock: Clock
) -> None:
    with a_host(database, clock) as host:
        submit(database, clock, *ROWS, options=None)
        serve(database, host, clock)
        submit(database, clock, *ROWS, options=None)

        unseeded = serve(database, host, clock)
        submit(database, clock, *ROWS, options=None, reuse="any")
        any_of_them = serve(database, host, clock)

    assert (unseeded.jobs, any_of_them.jobs) == (5, 0)


def test_a_row_that_says_so_is_asked_anew(database: Database, clock: Clock) -> None:
    with a_host(database, clock) as host:
        submit(database, clock, *ROWS)
        serve(database, host, clock)
        submit(database, clock, *ROWS[:4], {**ROWS[4], "reuse": False})

        served = serve(database, host, clock)

    assert served.jobs == 1


def test_a_model_that_was_pulled_anew_is_asked_anew(database: Database, clock: Clock) -> None:
    with a_host(database, clock) as host:
        submit(database, clock, *ROWS)
        serve(database, host, clock)
    newer = [replace(model, weights="newer") for model in simulator.demo_models()]
    with a_host(database, clock, models=tuple(newer)) as host:
        submit(database, clock, *ROWS)

        served = serve(database, host, clock)

    assert served.jobs == 5


def test_of_equal_jobs_in_one_batch_those_behind_the_first_take_its_answer(
    database: Database, clock: Clock
) -> None:
    with a_host(
        database, clock, time_scale=0.1
    ) as host:  # else all that was claimed has ended before one is stored
        batch = submit(database, clock, *({"prompt": "Say it."} for _ in range(300)))

        served = serve(database, host, clock)

    found = lines(database, batch)
    assert {line["state"] for line in found} == {"succeeded"}
    assert served.jobs < 30  # nothing waits for the first, so that the next may be asked while it is stored
    assert len({line["answer"] for line in found}) == 1
    assert promises(database, clock) == []


def test_a_cut_answer_is_not_taken_where_it_would_be_a_failure(database: Database, clock: Clock) -> None:
    short = {"seed": 1, "num_predict": 2}
    with a_host(database, clock) as host:
        first = submit(database, clock, *ROWS, options=short)
        serve(database, host, clock)
        submit(database, clock, *ROWS, options=short)

        strict = serve(database, host, clock, fail_on_cut=True)
        submit(database, clock, *ROWS, options=short)
        served = serve(database, host, clock)

    assert {line["cut"] for line in lines(database, first)} == {True}
    assert (strict.jobs, served.jobs) == (5, 0)


def test_a_batch_that_fails_on_cut_does_so_on_whatever_host_and_takes_no_cut_answer(
    database: Database, clock: Clock
) -> None:
    short: dict[str, Any] = {"options": {"seed": 1, "num_predict": 2}, "models": (MODEL,), "reuse": True}

    def strict(key: str, *, fail_on_cut: bool) -> Batch:
        rows = [json.dumps(row) for row in ROWS]
        return submit_lines(database, rows, key=key, clock=clock, fail_on_cut=fail_on_cut, **short).batch

    with a_host(database, clock) as host:
        lenient = strict("lenient", fail_on_cut=False)
        serve(database, host, clock)
        batch = strict("strict", fail_on_cut=True)
        served = serve(database, host, clock)

    assert {line["state"] for line in lines(database, lenient)} == {"succeeded"}
    assert {line["error"]["code"] for line in lines(database, batch)} == {"cut"}
    assert served.jobs == len(ROWS)


def test_what_was_taken_again_is_counted_as_answers_and_not_as_work(database: Database, clock: Clock) -> None:
    with a_host(database, clock) as host:
        first = submit(database, clock, *ROWS)
        serve(database, host, clock)
        second = submit(database, clock, *ROWS)
        serve(database, host, clock)

    with database.read() as conn:
        by_batch = {row.batch: row for row in conn.execute(text("SELECT * FROM report_batches"))}
        days = conn.execute(text("SELECT sum(results), sum(output_tokens) FROM report_models_daily")).one()
        hours = conn.execute(text("SELECT sum(results) FROM report_hosts_hourly")).scalar_one()
        taken = conn.execute(
            text("SELECT count(*) FROM report_results WHERE batch = :b AND reused_from IS NOT NULL"),
            {"b": second.id},
        ).scalar_one()
    old, new = by_batch[first.id], by_batch[second.id]
    assert (old.reused, new.reused, new.succeeded, taken) == (0, 5, 5, 5)
    assert (new.output_tokens, new.gpu_seconds) == (0, 0)
    assert tuple(days) == (10, old.output_tokens)
    assert hours == 5


def test_a_batch_that_is_paused_takes_nothing(database: Database, clock: Clock) -> None:
    with a_host(database, clock) as host:
        submit(database, clock, *ROWS)
        serve(database, host, clock)
        batch = submit(database, clock, *ROWS)
        pause_batch(database, batch.id, clock=clock)

        serve(database, host, clock)

    assert {line["state"] for line in lines(database, batch)} == {"scheduled"}


@pytest.mark.thorough
def test_two_hosts_and_a_cancel_at_once_answer_each_job_once(database: Database, clock: Clock) -> None:
    with a_host(database, clock) as one, a_host(database, clock, name="gpu-2") as two:
        submit(database, clock, *({"prompt": f"Say {n}."} for n in range(600)))
        serve(database, one, clock)
        batch = submit(database, clock, *({"prompt": f"Say {n}."} for n in range(700)))

        with ThreadPoolExecutor(3) as pool:
            served = [pool.submit(serve, database, host, clock) for host in (one, two)]
            cancelled = pool.submit(cancel_jobs, database, Selection(batch.id), clock=clock)
            for each in served:
                each.result()
            cancelled.result()

    states = Counter(line["state"] for line in lines(database, batch))
    assert sum(states.values()) == 700
    assert set(states) <= {"succeeded", "cancelled"}
    assert promises(database, clock) == []

"""``report_comparisons``: two answers to one input, side by side; and loads by model and day."""

from datetime import timedelta
from typing import Any

from sqlalchemy import text

from tests.integration.storage.conftest import NOW, Store, a_result, new_job
from worker.domain.attempts import Succeeded
from worker.storage.runs import close_run, loaded_run, open_run
from worker.storage.tables import batches

LLAMA = {"model": "llama3:8b", "runner_key": "llama3:8b"}


def answer(store: Store, key: str, text_: str, **more: Any) -> None:
    for job in store.claim(runner_key=key, token=f"t{key}"):
        store.finish(job, Succeeded(a_result(answer=f"{text_} {job.custom_id}", **more)))


def rows(store: Store, query: str) -> list[tuple[Any, ...]]:
    with store.database.read() as conn:
        return [tuple(row) for row in conn.execute(text(query))]


def test_linked_batches_stand_side_by_side_without_doubled_rows(store: Store) -> None:
    first = store.submit(new_job(1), new_job(2))
    answer(store, "qwen3:8b", "qwen")
    other = store.submit(new_job(1, **LLAMA), new_job(2, **LLAMA))
    answer(store, "llama3:8b", "other")
    second = store.submit(new_job(1, **LLAMA), new_job(2, **LLAMA))
    answer(store, "llama3:8b", "llama")
    with store.database.write() as conn:
        conn.execute(batches.update().where(batches.c.id == second).values(parent_id=first))

    found = rows(
        store, "SELECT from_batch, batch, custom_id, from_answer, answer FROM report_comparisons ORDER BY 3"
    )

    assert other != second
    assert found == [
        (first, second, "c1", "qwen c1", "llama c1"),
        (first, second, "c2", "qwen c2", "llama c2"),
    ]


def test_an_answer_is_looked_up_by_its_custom_id_without_statistics_too(store: Store) -> None:
    if store.database.dialect != "sqlite":
        return  # it keeps its statistics itself
    query = (
        "SELECT answer FROM report_comparisons WHERE from_batch = 1 AND batch = 2 ORDER BY job_id LIMIT 10"
    )

    steps = [str(row[3]) for row in rows(store, f"EXPLAIN QUERY PLAN {query}")]

    assert sum("(batch_id=? AND custom_id=?" in step for step in steps) == 2


def test_two_models_of_one_batch_stand_side_by_side(store: Store) -> None:
    batch = store.submit(new_job(1), new_job(2, custom_id="c1", **LLAMA), new_job(3))
    answer(store, "qwen3:8b", "qwen")
    answer(store, "llama3:8b", "qwen")

    found = rows(store, "SELECT from_batch, batch, from_model, model, is_same FROM report_comparisons")

    assert [tuple(row[:4]) for row in found] == [(batch, batch, "llama3:8b", "qwen3:8b")]
    assert bool(found[0][4])


def test_loads_and_what_failed_ones_took_are_counted_by_model_and_day(store: Store) -> None:
    with store.database.write() as conn:
        run = open_run(conn, host="gpu-1", runner_key="m:1 num_ctx=8192 num_gpu=2", reason="work", now=NOW)
        loaded_run(conn, run, load_time=timedelta(seconds=4))
        open_run(conn, host="gpu-2", runner_key="m:1", reason="work", now=NOW)
        lost = open_run(conn, host="gpu-2", runner_key="m:1", reason="work", now=NOW)
        close_run(conn, lost, now=NOW + timedelta(seconds=30), error="no memory")

    daily = rows(
        store,
        "SELECT model, loads, loading_seconds, failed_loads, failed_loading_seconds FROM report_models_daily",
    )
    runs = rows(store, "SELECT model, window_tokens, failed_seconds FROM report_runs ORDER BY run")

    assert [(*row[:4], round(row[4])) for row in daily] == [("m:1", 1, 4.0, 1, 30)]
    assert [row[:2] for row in runs] == [("m:1", 8192), ("m:1", None), ("m:1", None)]
    assert [seconds is None or round(seconds) for *_, seconds in runs] == [True, True, 30]


def test_a_result_has_what_was_sent_and_the_durations_as_they_came(store: Store) -> None:
    store.submit(new_job(1, request={"options": {"seed": 7}, "system": "Be brief.", "format": "json"}))
    answer(store, "qwen3:8b", "qwen")

    found = rows(
        store,
        "SELECT system, CAST(options ->> 'seed' AS integer), context_length, total_duration, load_duration, "
        "prompt_eval_duration, eval_duration FROM report_results WHERE format IS NOT NULL",
    )

    assert found == [("Be brief.", 7, 4, 2_500_000_000, 0, 500_000_000, 2_000_000_000)]

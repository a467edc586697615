"""Rows that cannot be are refused by the database itself, whatever code tries to write them."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from tests.integration.storage.conftest import NOW, Store, new_job


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE jobs SET state = 'running'",
        "UPDATE jobs SET lease_token = 't', lease_until = submitted_at",
        "UPDATE jobs SET lease_until = submitted_at",
        "UPDATE jobs SET state = 'succeeded'",
        "UPDATE jobs SET finished_at = submitted_at",
        "UPDATE jobs SET state = 'held'",
        "UPDATE jobs SET hold_code = 'x'",
        "UPDATE jobs SET state = 'sleeping'",
        "UPDATE jobs SET priority = 4",
        "UPDATE jobs SET charged = 1",
        "UPDATE jobs SET charged = -1",
        "UPDATE jobs SET custom_id = 'c1'",
        "UPDATE jobs SET batch_id = 77",
        "UPDATE batches SET state = 'finished'",
        "UPDATE batches SET sealed_at = NULL",
        "UPDATE batches SET state = 'unknown'",
        "UPDATE hosts SET slots = 0",
        "UPDATE hosts SET serving_token = 't'",
        "INSERT INTO fleet (id) VALUES (2)",
        "INSERT INTO payloads (job_id, prompt, request) VALUES (1, '', '{}')",
        "DELETE FROM batches",
    ],
)
def test_an_impossible_row_is_refused(store: Store, change: str) -> None:
    store.submit(new_job(1), new_job(2))

    with pytest.raises(IntegrityError), store.database.write() as conn:
        conn.execute(text(change))


@pytest.mark.parametrize(
    "values",
    [
        "1, 'succeeded', 'an answer', NULL",  # no such job
        "{job}, 'succeeded', NULL, NULL",
        "{job}, 'succeeded', 'an answer', 'bad_reply'",
        "{job}, 'failed', NULL, NULL",
        "{job}, 'cancelled', NULL, NULL",
        "{done}, 'succeeded', 'a second answer', NULL",
    ],
)
def test_an_impossible_result_is_refused(store: Store, values: str) -> None:
    store.submit(new_job(1), new_job(2))
    done, job = store.claim()
    store.finish(done)
    columns = "job_id, state, answer, error_code, batch_id, custom_id, model, host, attempts, finished_at"
    insert = f"INSERT INTO results ({columns}) VALUES ({values}, 1, 'c', 'm', 'gpu-1', 1, :now)"

    with pytest.raises(IntegrityError), store.database.write() as conn:
        conn.execute(text(insert.format(job=job.id, done=done.id)), {"now": NOW.isoformat()})

"""The one message that carries work: at most 1,000 jobs from a producer that speaks Celery, idempotent by key."""

import json
from typing import Any

from api_schemas.submissions import Submission
from worker.clock import Clock
from worker.door.rows import RowStream
from worker.door.submit import Receipt, submit
from worker.errors import InputRefused, Problem
from worker.settings import Settings
from worker.storage.batches import create_batch, refuse_batch
from worker.storage.engine import Database

MOST_JOBS = 1000


def submit_message(
    database: Database,
    clock: Clock,
    settings: Settings,
    *,
    key: str,
    jobs: list[dict[str, Any]],
    name: str | None,
) -> Receipt:
    """Store the jobs as the batch ``key``. A refusal is stored as a batch in state ``refused`` and raised."""
    problem = None
    if not isinstance(jobs, list):
        problem = Problem(0, "jobs", "wrong_type", f"jobs: expected a list, got {type(jobs).__name__}")
    elif len(jobs) > MOST_JOBS:
        problem = Problem(
            0, "jobs", "too_large", f"{len(jobs)} jobs in one message; at most {MOST_JOBS} are taken"
        )
    if problem is not None:
        with database.write() as conn:
            batch, _ = create_batch(conn, key=key, name=name or key, source="celery", now=clock.now())
            refuse_batch(conn, batch.id, [problem], now=clock.now())
        raise InputRefused([problem])
    submission = Submission(key=key, name=name, max_attempts=settings.max_attempts)
    return submit(database, submission, RowStream(map(json.dumps, jobs), "celery"), clock=clock)

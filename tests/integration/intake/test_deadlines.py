"""When jobs are wanted, said with them or later, and what happens when that time passes. On both databases."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from api_schemas.submissions import Submission
from tests.door import submit_file
from tests.integration.storage.conftest import NOW, Store, new_job
from worker.domain.attempts import Retried
from worker.domain.batches import Batch
from worker.domain.jobs import JobState
from worker.door.rows import content_key
from worker.door.submit import Receipt
from worker.errors import Code
from worker.storage.batches import finish_batches, get_batch
from worker.storage.engine import Database
from worker.storage.jobs import expire_due
from worker.storage.types import UtcTime

SIX = datetime(2036, 12, 1, 6, 0, tzinfo=UTC)
EIGHT = SIX + timedelta(hours=2)
OWN = SIX + timedelta(days=1)


@pytest.fixture
def store(database: Database) -> Store:
    return Store(database)


def by(deadline: datetime | None, *, expires: bool | None = None, **more: Any) -> Submission:
    return Submission(models=("m:1",), deadline=deadline, expires=expires, **more)


def lines(path: Path, *more: dict[str, Any]) -> Path:
    given = [{"prompt": "a"}, {"prompt": "b", "deadline": OWN.isoformat()}, *more]
    path.write_text("".join(json.dumps(line) + "\n" for line in given))
    return path


def taken(database: Database, path: Path, recipe: Submission, **more: Any) -> Receipt:
    return submit_file(database, path, recipe, **more)


def dates(database: Database, batch: Batch) -> list[tuple[datetime | None, bool]]:
    with database.read() as conn:
        rows = conn.execute(
            text("SELECT deadline, expires FROM jobs WHERE batch_id = :batch ORDER BY id").columns(
                deadline=UtcTime
            ),
            {"batch": batch.id},
        )
        return [(deadline, bool(expires)) for deadline, expires in rows]


def expire(store: Store) -> int:
    with store.database.write() as conn:
        return expire_due(conn, now=store.now)


def test_a_batch_gives_its_deadline_to_the_jobs_that_have_none(database: Database, tmp_path: Path) -> None:
    batch = taken(database, lines(tmp_path / "a.jsonl"), by(SIX)).batch

    assert batch.deadline == SIX
    assert dates(database, batch) == [(SIX, False), (OWN, False)]


def test_jobs_expire_where_the_batch_or_their_line_asks_for_it(database: Database, tmp_path: Path) -> None:
    file = lines(
        tmp_path / "a.jsonl",
        {"prompt": "c", "expires": False},
        {"prompt": "d", "expires": True, "deadline": OWN.isoformat()},
    )

    batch = taken(database, file, by(SIX, expires=True)).batch
    quiet = taken(database, file, by(None), on_change="new").batch

    assert [expires for _, expires in dates(database, batch)] == [True, True, False, True]
    assert dates(database, quiet) == [(None, False), (OWN, False), (None, False), (OWN, True)]


def test_the_time_is_no_part_of_what_is_asked(database: Database, tmp_path: Path) -> None:
    file = lines(tmp_path / "a.jsonl")

    assert (
        content_key(file, by(SIX, expires=True))
        == content_key(file, by(EIGHT))
        == content_key(file, by(None))
    )


def test_the_same_input_by_another_time_is_the_same_batch_wanted_then(
    database: Database, tmp_path: Path
) -> None:
    file = lines(tmp_path / "a.jsonl")
    first = taken(database, file, by(SIX)).batch

    again = taken(database, file, by(EIGHT, expires=True))

    assert (again.batch.id, again.batch.deadline, again.created) == (first.id, EIGHT, False)
    assert dates(database, first) == [(EIGHT, True), (OWN, False)]
    with database.read() as conn:
        assert get_batch(conn, first.id).deadline == EIGHT


def test_without_a_time_it_stays_as_it_was(database: Database, tmp_path: Path) -> None:
    file = lines(tmp_path / "a.jsonl")
    batch = taken(database, file, by(SIX)).batch

    again = taken(database, file, by(None)).batch

    assert again.deadline == SIX
    assert dates(database, batch) == [(SIX, False), (OWN, False)]


def test_the_rest_of_a_pilot_is_wanted_by_the_time_that_is_given_with_it(
    database: Database, tmp_path: Path
) -> None:
    file = lines(tmp_path / "a.jsonl", {"prompt": "c"})
    pilot = taken(database, file, by(None, limit=1)).batch

    whole = taken(database, file, by(SIX)).batch

    assert (whole.id, whole.deadline) == (pilot.id, SIX)
    assert dates(database, whole) == [(SIX, False), (OWN, False), (SIX, False)]


def test_a_job_expires_at_its_deadline_only_where_its_producer_asked(store: Store) -> None:
    due = NOW + timedelta(hours=1)
    batch = store.submit(
        new_job(1, deadline=due, expires=True),
        new_job(2, deadline=due),
        new_job(3, deadline=due, expires=True),
    )
    assert expire(store) == 0
    (running,) = store.claim(1)
    store.later(3600)

    assert expire(store) == 1
    assert store.counts(batch) == {JobState.EXPIRED: 1, JobState.QUEUED: 1, JobState.RUNNING: 1}

    assert store.finish(running).accepted == [running.id]
    (late,) = store.claim()
    store.finish(late)
    assert store.counts(batch) == {JobState.EXPIRED: 1, JobState.SUCCEEDED: 2}
    with store.database.write() as conn:
        assert finish_batches(conn, now=store.now) == [batch]


def test_one_that_failed_meanwhile_and_would_be_tried_again_expires(store: Store) -> None:
    batch = store.submit(new_job(1, deadline=NOW + timedelta(hours=1), expires=True))
    (job,) = store.claim()
    store.later(3601)
    store.finish(job, Retried(Code.HOST_ERROR, "500", at=store.now + timedelta(seconds=30), charged=True))

    assert expire(store) == 1
    assert store.counts(batch) == {JobState.EXPIRED: 1}

"""Operations on many jobs while processes die: the command returns, the rows follow whoever is killed."""

from typing import Any

import pytest
from sqlalchemy import event, text

from api_schemas.jobs import JobDefaults
from tests.acceptance.conftest import Fleet, keeps_its_promises
from tests.clocks import FakeClock
from tests.door import submit_lines
from tests.integration.storage.conftest import NOW, new_job
from tests.waiting import wait_until
from worker.errors import InputRefused
from worker.maintenance.promote import promote_batches
from worker.storage.batches import create_batch, get_batch, seal_batch
from worker.storage.counts import batch_progress
from worker.storage.engine import Database, open_database
from worker.storage.jobs import insert_jobs
from worker.storage.refusals import list_rejects

JOBS = 30_000
"""More than a command changes in the half second that it works on the rows itself."""


def large_batch(database: Database) -> int:
    clock = database.clock()
    with database.write() as conn:
        batch, _ = create_batch(conn, key="large", name="large", source=None, now=clock.now())
        insert_jobs(conn, batch.id, [new_job(seq, request={}) for seq in range(1, JOBS + 1)], now=clock.now())
        seal_batch(conn, batch.id, jobs=JOBS, now=clock.now())
    promote_batches(database, [batch.id], clock)
    return batch.id


@pytest.mark.thorough
def test_a_cancel_ends_complete_although_control_is_killed_once(fleet: Fleet) -> None:
    batch = large_batch(fleet.database)
    control = fleet.start("control")
    fleet.start("beat")

    def stands() -> str:
        with fleet.database.read() as conn:
            return batch_progress(conn, batch).stands

    told = fleet.run("cancel", str(batch), "--yes").stdout
    assert "more follow in the background" in told
    assert f"of {JOBS:,}" in stands()
    first = stands()
    wait_until(lambda: stands() != first, description="control continues", timeout=60)
    control.kill()
    fleet.start("control")

    wait_until(lambda: stands() == "cancelled", description="all rows have followed", timeout=90)
    with fleet.database.read() as conn:
        assert conn.scalar(text("SELECT count(*) FROM jobs WHERE state <> 'cancelled'")) == 0
    keeps_its_promises(fleet.database)


def test_a_refusal_says_which_line_is_wrong_although_the_rows_go_too_slowly(
    migrated_postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database ends a statement that takes too long: that of the rows, never the decision."""
    monkeypatch.setattr("worker.door.intake.SAMPLE", 1)
    database = open_database(migrated_postgres_url)

    @event.listens_for(database._engine, "before_cursor_execute")
    def slow(conn: Any, cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("DELETE FROM jobs"):
            cursor.execute("SET LOCAL statement_timeout = 1")
            cursor.execute("SELECT pg_sleep(1)")

    upload = [f'{{"prompt": "{n}"}}' for n in range(12_000)] + ['{"prompt": 3}']
    with pytest.raises(InputRefused, match="12001"):
        submit_lines(
            database,
            upload,
            key="up",
            name="up",
            defaults=JobDefaults(model="qwen3:8b"),
            clock=FakeClock(NOW),
        )

    with database.read() as conn:
        [batch] = [get_batch(conn, number) for number in conn.scalars(text("SELECT id FROM batches"))]
        assert batch.state == "refused"
        assert [problem.line for problem in list_rejects(conn, batch.id)] == [12_001]
        assert conn.scalar(text("SELECT count(*) FROM jobs")) == 10_000, "they are dropped later"
    database.close()

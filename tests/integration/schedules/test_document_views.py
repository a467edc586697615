"""``report_schedules`` and ``report_documents``: what a schedule knows of its documents, for reporting tools."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from tests.integration.schedules.nights import MODEL, NAME, Failed, Nights
from tests.maintenance import tidy
from worker.domain.selection import Selection
from worker.errors import Code, InputRefused
from worker.maintenance.keeping import delete_jobs, prune
from worker.storage.actions import retry_some

FIRST = datetime(2026, 3, 26, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def documents(nights: Nights) -> dict[str, Any]:
    with nights.database.read() as conn:
        rows = conn.execute(text("SELECT * FROM report_documents ORDER BY custom_id")).all()
    return {row.custom_id: row for row in rows}


def schedules(nights: Nights) -> Any:
    with nights.database.read() as conn:
        return conn.execute(text("SELECT * FROM report_schedules")).one()


def test_a_document_has_one_row_with_its_latest_answer(nights: Nights) -> None:
    nights.write(a="One.", b="Two.")
    nights.schedule()
    nights.night(FIRST)
    nights.write(a="Changed.")
    nights.night(FIRST + DAY)

    found = documents(nights)

    assert {name: row.answer for name, row in found.items()} == {"a.txt": "of Changed.", "b.txt": "of Two."}
    assert {name: row.change for name, row in found.items()} == {"a.txt": "changed", "b.txt": "reused"}
    row = found["a.txt"]
    assert (row.schedule, row.model, row.path) == (NAME, MODEL, str(nights.folder / "inbox" / "a.txt"))
    assert bool(row.is_current)
    assert row.error_code is None


def test_an_answer_shows_before_its_batch_is_over(nights: Nights) -> None:
    nights.write(a="One.", b="Two.")
    nights.schedule()
    nights.until(FIRST)
    nights.tick()
    nights.work()
    [first] = nights.answer(limit=1)

    found = documents(nights)

    assert [name for name, row in found.items() if row.answer is not None] == [first]


def test_an_answer_outlives_a_job_that_is_pruned(nights: Nights) -> None:
    nights.write(a="One.")
    nights.schedule()
    first = nights.night(FIRST)
    prune(nights.database, [first["batch"]], clock=nights.clock)

    report = nights.night(FIRST + DAY)

    assert report["reused"] == 1
    assert documents(nights)["a.txt"].answer == "of One."
    assert bool(documents(nights)["a.txt"].is_current)


def test_an_answer_that_somebody_deletes_is_gone_and_asked_for_again(nights: Nights) -> None:
    nights.write(a="One.", b="Two.")
    nights.schedule()
    first = nights.night(FIRST)
    delete_jobs(nights.database, [Selection(first["batch"])], clock=nights.clock)
    assert [row.answer for row in documents(nights).values()] == [None, None]

    report = nights.night(FIRST + DAY)

    assert (report["retried"], report["answered"]) == (2, 2)


def test_what_was_answered_after_its_night_counts_the_next(nights: Nights) -> None:
    nights.write(a="One.")
    nights.schedule()
    nights.until(FIRST)
    nights.tick()
    nights.work()
    nights.answer(outcome=Failed(Code.CUT, "cut"))
    nights.settle()
    with nights.database.write() as conn:
        retry_some(conn, Selection(nights.report()["batch"]), now=nights.clock.now(), limit=10)
    nights.tick()
    assert nights.answer() == ["a.txt"]
    tidy(nights.database, clock=nights.clock)

    report = nights.night(FIRST + DAY)
    prune(nights.database, [nights.firings()[-1].batch_id or 0], clock=nights.clock)

    assert report["reused"] == 1
    assert documents(nights)["a.txt"].answer == "of One."


def test_a_document_that_failed_keeps_its_earlier_answer_and_says_so(nights: Nights) -> None:
    nights.write(a="One.", b="Two.")
    nights.schedule()
    nights.night(FIRST)
    nights.write(a="Changed.", b=None)
    nights.until(FIRST + DAY)
    nights.tick()
    nights.work()
    nights.answer(outcome=Failed(Code.CUT, "cut"))
    nights.settle()

    found = documents(nights)

    assert (found["a.txt"].answer, found["a.txt"].error_code) == ("of One.", "cut")
    assert not found["a.txt"].is_current
    assert found["b.txt"].gone_at is not None
    assert found["b.txt"].answer == "of Two."


def test_a_schedule_has_one_row_with_its_last_firing(nights: Nights) -> None:
    schedule = nights.schedule()
    assert schedules(nights).last_state is None
    nights.write(a="One.", b="Two.")
    nights.night(FIRST)
    nights.write(b=None)
    nights.night(FIRST + DAY)

    row = schedules(nights)

    assert (row.schedule, row.cron, row.tz) == (NAME, schedule.spec.cron, "Europe/Berlin")
    assert (row.documents, row.answered, row.failing, row.gone) == (1, 1, 0, 1)
    assert (row.last_state, row.last_new, row.last_reused, row.last_gone) == ("finished", 0, 1, 1)


def test_a_batch_names_its_schedule(nights: Nights) -> None:
    nights.write(a="One.")
    nights.schedule()
    nights.night(FIRST)

    with nights.database.read() as conn:
        assert conn.scalar(text("SELECT schedule FROM report_batches")) == NAME


def test_the_batches_of_a_schedule_are_kept_for_as_long_as_it_says(nights: Nights) -> None:
    nights.write(a="One.")
    nights.schedule(keep="30d")
    nights.night(FIRST)

    with nights.database.read() as conn:
        assert conn.scalar(text("SELECT keep_seconds FROM batches")) == 30 * 86400


def test_a_time_to_keep_that_is_none_is_refused(nights: Nights) -> None:
    with pytest.raises(InputRefused, match="keep"):
        nights.schedule(keep="soon")

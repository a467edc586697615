"""Files of answers say what the database says, whatever happened to them or to the schedule meanwhile."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.integration.schedules.nights import MODEL, NAME, Failed, Nights
from worker.domain.schedules import Schedule
from worker.domain.selection import Selection
from worker.errors import Code
from worker.schedules.answers import write_answers
from worker.storage.actions import retry_some
from worker.storage.schedules import get_schedule

FIRST = datetime(2026, 3, 26, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def names(nights: Nights, folder: str = "answers") -> list[str]:
    """Files of answers, without the reports."""
    return sorted(one.name for one in (nights.folder / folder).iterdir() if not one.name.startswith("_"))


def schedule(nights: Nights) -> Schedule:
    with nights.database.read() as conn:
        return get_schedule(conn, NAME)


def test_a_file_that_was_deleted_or_changed_comes_back_and_a_quiet_night_writes_none(nights: Nights) -> None:
    nights.write(a="One.", b="Two.", c="Three.")
    nights.schedule(output="answers")
    assert nights.night(FIRST)["files"]["written"] == 3
    first = (nights.folder / "answers" / "a.txt.answer.md").read_text()
    (nights.folder / "answers" / "a.txt.answer.md").unlink()
    other = nights.folder / "answers" / "b.txt.answer.md"
    other.write_text(other.read_text() + "by hand")

    files = nights.night(FIRST + DAY)["files"]

    assert files == {"written": 2, "unchanged": 1, "removed": 0, "problems": []}
    assert (nights.folder / "answers" / "a.txt.answer.md").read_text() == first
    assert "by hand" not in other.read_text()
    assert nights.night(FIRST + 2 * DAY)["files"] == {
        "written": 0,
        "unchanged": 3,
        "removed": 0,
        "problems": [],
    }


def test_a_new_folder_gets_all_answers_with_the_next_firing(nights: Nights) -> None:
    nights.write(a="One.", b="Two.")
    nights.schedule(output="answers")
    nights.night(FIRST)
    nights.schedule(output="elsewhere")
    nights.night(FIRST + DAY)

    assert names(nights, "elsewhere") == ["a.txt.answer.md", "b.txt.answer.md"]


def test_a_retry_writes_its_answers_without_another_firing(nights: Nights) -> None:
    nights.write(a="One.", b="Two.")
    nights.schedule(output="answers")
    nights.until(FIRST)
    nights.tick()
    nights.work()
    nights.answer(limit=1, outcome=Failed(Code.CUT, "cut"))
    nights.answer()
    nights.settle()
    assert len(names(nights)) == 1
    with nights.database.write() as conn:
        retry_some(conn, Selection(nights.report()["batch"]), now=nights.clock.now(), limit=10)
    nights.tick()
    nights.answer()

    nights.settle()

    assert names(nights) == ["a.txt.answer.md", "b.txt.answer.md"]


def test_other_models_and_another_form_leave_no_stale_file(nights: Nights) -> None:
    nights.write(a="One.")
    nights.schedule(output="answers", models=[MODEL, "llama3:8b"])
    nights.night(FIRST)
    assert names(nights) == ["a.txt.llama3-8b.answer.md", "a.txt.qwen3-8b.answer.md"]
    nights.schedule(output="answers", models=[MODEL])
    nights.night(FIRST + DAY)
    assert names(nights) == ["a.txt.answer.md", "a.txt.llama3-8b.answer.md"]
    (nights.folder / "answers" / "a.txt.answer.json").write_text("somebody's own")

    nights.schedule(output="answers", models=[MODEL], form="json")
    (nights.folder / "answers" / "a.txt.answer.json").unlink()
    nights.night(FIRST + 2 * DAY)

    assert names(nights) == ["a.txt.answer.json", "a.txt.llama3-8b.answer.md"]


def test_the_files_of_documents_that_are_gone_stay_and_are_not_made_again(nights: Nights) -> None:
    nights.write(a="One.", b="Two.")
    nights.schedule(output="answers")
    nights.night(FIRST)
    nights.write(a=None, b=None)
    (nights.folder / "answers" / "b.txt.answer.md").unlink()

    nights.night(FIRST + DAY)

    assert names(nights) == ["a.txt.answer.md"]


def test_a_file_has_the_hash_of_the_text_that_was_answered(nights: Nights) -> None:
    nights.write(a="One.")
    nights.schedule(output="answers", form="json")
    nights.night(FIRST)
    before = said(nights)
    nights.write(a="Changed.")
    nights.until(FIRST + DAY)
    nights.tick()
    nights.work()
    nights.answer(outcome=Failed(Code.CUT, "cut"))
    nights.settle()

    assert said(nights) == before
    assert write_answers(nights.database, schedule(nights)).unchanged == 1


def said(nights: Nights) -> Any:
    return json.loads((nights.folder / "answers" / "a.txt.answer.json").read_text())

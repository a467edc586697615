"""What a document is known by from one night to the next: rows, files that are being written, models, templates."""

import os
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import text

from tests.integration.schedules.nights import MODEL, Nights, counts
from worker.schedules.letter import letter
from worker.schedules.open import fire_now

FIRST = datetime(2026, 3, 26, 1, tzinfo=UTC)
DAY = timedelta(days=1)
OTHER = "llama3:8b"


def tickets(nights: Nights, *rows: str) -> None:
    (nights.folder / "inbox" / "tickets.csv").write_text("\n".join(("ticket,text", *rows)) + "\n")


def ids(nights: Nights) -> list[str]:
    with nights.database.read() as conn:
        return list(
            conn.scalars(
                text("SELECT custom_id FROM report_documents WHERE gone_at IS NULL ORDER BY custom_id")
            )
        )


def written(nights: Nights, name: str, *, ago: float) -> None:
    """The file was changed ``ago`` seconds before now, by the clock of the test."""
    at = nights.clock.now().timestamp() - ago
    os.utime(nights.folder / "inbox" / name, (at, at))


def test_a_row_put_on_top_of_a_table_asks_that_row_alone(nights: Nights) -> None:
    tickets(nights, "T-1,It burns.", "T-2,It leaks.")
    nights.schedule(documents=["inbox/*.csv"])
    nights.night(FIRST)

    tickets(nights, "T-0,It hums.", "T-1,It burns.", "T-2,It leaks.")
    report = nights.night(FIRST + DAY)

    assert counts(report) == {"new": 1, "reused": 2, "answered": 1}


def test_rows_that_say_the_same_are_each_asked(nights: Nights) -> None:
    tickets(nights, "T-1,It burns.", "T-1,It burns.")
    nights.schedule(documents=["inbox/*.csv"])

    report = nights.night(FIRST)

    assert counts(report) == {"new": 2, "answered": 2}
    first, second = ids(nights)
    assert second == f"{first}-2"


def test_rows_are_known_by_the_column_that_identifies_them(nights: Nights) -> None:
    tickets(nights, "T-1,It burns.", "T/2,It leaks.")
    nights.schedule(documents=["inbox/*.csv"], id="ticket", output="answers")
    nights.night(FIRST)

    tickets(nights, "T/2,It leaks more.", "T-1,It burns.", ",Nobody.", "T-1,Twice.")
    report = nights.night(FIRST + DAY)

    assert counts(report) == {"changed": 1, "reused": 1, "failed": 2, "answered": 1}
    assert {"tickets.csv#T%2F2", "tickets.csv#T-1"} < set(ids(nights))
    told = letter(report)
    assert "no value in the column ticket" in told
    assert "a row before it has the same ticket" in told
    assert (nights.folder / "answers" / "tickets.csv#T-1.answer.md").is_file()


def test_a_file_that_is_being_written_waits_for_the_next_night(nights: Nights) -> None:
    nights.write(a="One.", b="Two.")
    nights.schedule()
    nights.night(FIRST)
    nights.until(FIRST + DAY)
    nights.write(a="One, and half of", c="Half of")
    for name in ("a.txt", "c.txt"):
        written(nights, name, ago=10)

    report = nights.night(FIRST + DAY)

    assert counts(report) == {"reused": 1}
    assert report["unsettled"] == ["a.txt", "c.txt"]
    assert "2 changed just now, and left to the next time" in letter(report)
    nights.write(a="One, and half of it.", c="Half of it.")
    assert counts(nights.night(FIRST + 2 * DAY)) == {"new": 1, "changed": 1, "reused": 1, "answered": 2}


def test_by_hand_a_file_of_just_now_is_asked_unless_the_schedule_says_how_old_it_is_to_be(
    nights: Nights,
) -> None:
    nights.write(a="One.")
    nights.schedule()
    written(nights, "a.txt", ago=10)
    fire_now(nights.database, "nightly", clock=nights.clock)
    nights.work()
    nights.answer()
    nights.settle()
    assert counts(nights.report()) == {"new": 1, "answered": 1}

    nights.schedule(min_age="5m")
    nights.write(b="Two.")
    written(nights, "a.txt", ago=400)
    written(nights, "b.txt", ago=200)
    fire_now(nights.database, "nightly", clock=nights.clock)
    nights.work()
    nights.settle()
    assert counts(nights.report()) == {"reused": 1}


def test_a_template_that_was_changed_back_finds_its_old_answers(nights: Nights) -> None:
    nights.write(a="One.", b="Two.")
    nights.schedule()
    nights.night(FIRST)
    nights.template("In one line: {{ document.text }}")
    nights.night(FIRST + DAY)
    nights.template("Summarise: {{ document.text }}")

    nights.until(FIRST + 2 * DAY)
    nights.tick()
    nights.work()
    asked = nights.answer()
    nights.settle()

    report = nights.report()
    assert asked == []
    assert counts(report) == {"changed": 2, "answered": 2}
    assert report["taken"] == 2
    assert "2 answered (2 stored before)" in letter(report)


def test_a_cut_answer_that_is_asked_for_again_is_not_taken_from_what_is_stored(nights: Nights) -> None:
    from tests.integration.storage.conftest import a_result
    from worker.domain.attempts import Succeeded

    nights.write(a="One.")
    nights.schedule(ask_cut_again=True)
    nights.until(FIRST)
    nights.tick()
    nights.work()
    nights.answer(outcome=Succeeded(a_result(answer="half of", cut=True)))
    nights.settle()

    nights.until(FIRST + DAY)
    nights.tick()
    nights.work()

    assert nights.answer() == ["a.txt"]


def test_other_models_are_told_from_documents_that_are_gone(nights: Nights) -> None:
    nights.write(a="One.", b="Two.")
    nights.schedule(models=[MODEL, OTHER])
    nights.night(FIRST)
    nights.schedule(models=[MODEL])
    nights.write(b=None)

    report = nights.night(FIRST + DAY)

    assert counts(report) == {"reused": 1, "gone": 1}
    assert report["models_dropped"] == {OTHER: 2}
    assert f"{OTHER} is asked no more: its 2 answers stay" in letter(report)
    assert scalar(nights, "SELECT gone FROM report_schedules") == 1
    nights.schedule(models=[MODEL, OTHER])
    assert counts(nights.night(FIRST + 2 * DAY)) == {"reused": 2}
    nights.schedule(models=[MODEL, "mistral:7b"])
    report = nights.night(FIRST + 3 * DAY)
    assert counts(report) == {"new": 1, "reused": 1, "answered": 1}
    assert "mistral:7b is asked for the first time" in letter(report)


def scalar(nights: Nights, query: str) -> Any:
    with nights.database.read() as conn:
        return conn.scalar(text(query))

"""A document that does not fit the model's window: asked in parts by a schedule, with one answer in the end, or refused."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, text

from tests.integration.schedules.nights import MODEL, Failed, Nights, counts
from worker.domain.hosts import HostModel
from worker.domain.selection import Selection
from worker.errors import Code, InputRefused
from worker.exports.columns import Fields, table_columns
from worker.exports.results import result_lines
from worker.storage.hosts import record_probe
from worker.storage.tables import jobs
from worker.storage.tables.schedules import schedule_documents

FIRST = datetime(2026, 3, 26, 1, tzinfo=UTC)
DAY = timedelta(days=1)
LONG = "\n\n".join(f"Paragraph {n} tells of the sea and of the ships upon it." * 6 for n in range(220))
COMBINE = "{% for part in parts %}{{ part.answer }} {% endfor %}Sum it up."


def split_schedule(nights: Nights, **more: object) -> None:
    (nights.folder / "combine.j2").write_text(COMBINE)
    nights.schedule(**{"long": "split", "combine": "combine.j2", "options": {"num_predict": 256}, **more})


def whole_night(nights: Nights, at: datetime) -> dict[str, object]:
    """Parts first, then what is made of them."""
    nights.until(at)
    nights.tick()
    nights.work()
    while nights.answer():
        nights.tick()
    nights.settle()
    return nights.report()


def test_a_long_document_has_one_answer_made_of_those_of_its_parts(nights: Nights) -> None:
    nights.write(book=LONG, note="Short.")
    split_schedule(nights, output="answers")

    report = whole_night(nights, FIRST)

    assert counts(report) == {"new": 2, "answered": 2}
    with nights.database.read() as conn:
        asked = sorted(conn.scalars(select(jobs.c.custom_id)))
        known = sorted(conn.scalars(select(schedule_documents.c.custom_id)))
    assert known == ["book.txt", "note.txt"]
    assert "book.txt#part-1" in asked
    assert len(asked) > 4
    written = sorted(path.name for path in (nights.folder / "answers").iterdir() if path.name[0] != "_")
    assert written == ["book.txt.answer.md", "note.txt.answer.md"]


def test_it_is_not_asked_again_until_it_or_the_second_template_changes(nights: Nights) -> None:
    nights.write(book=LONG, note="Short.")
    split_schedule(nights)
    whole_night(nights, FIRST)

    assert counts(whole_night(nights, FIRST + DAY)) == {"reused": 2}

    (nights.folder / "combine.j2").write_text(COMBINE + " In one sentence.")
    assert counts(whole_night(nights, FIRST + 2 * DAY))["changed"] == 2


def test_where_a_part_fails_the_document_failed_and_is_asked_again_the_next_night(nights: Nights) -> None:
    nights.write(book=LONG)
    split_schedule(nights)
    nights.until(FIRST)
    nights.tick()
    nights.work()
    nights.answer(limit=1, outcome=Failed(Code.CUT, "cut"))
    while nights.answer():
        nights.tick()
    nights.tick()
    nights.settle()

    first = nights.report()
    assert counts(first) == {"new": 1, "failed": 1}

    assert counts(whole_night(nights, FIRST + DAY)) == {"retried": 1, "answered": 1}


def test_where_combining_fails_the_parts_keep_their_answers_and_only_the_combination_is_asked_again(
    nights: Nights,
) -> None:
    nights.write(book=LONG)
    split_schedule(nights)
    nights.until(FIRST)
    nights.tick()
    nights.work()
    first = nights.answer()
    nights.tick()
    nights.answer(outcome=Failed(Code.CONTEXT_OVERFLOW, "the answers do not fit"))
    nights.tick()
    nights.settle()
    assert counts(nights.report()) == {"new": 1, "failed": 1}

    nights.until(FIRST + DAY)
    nights.tick()
    nights.work()
    again = []
    while asked := nights.answer():
        again += asked
        nights.tick()
    nights.tick()
    again += nights.answer()
    nights.settle()

    assert counts(nights.report()) == {"retried": 1, "answered": 1}
    assert len(first) > 4
    assert again == ["book.txt"]


def test_where_the_answers_of_the_parts_do_not_fit_one_prompt_they_are_combined_in_levels(
    nights: Nights,
) -> None:
    nights.write(book=LONG * 2, note="Short.")
    split_schedule(nights, options={"num_predict": 900, "num_ctx": 4096}, output="answers")

    report = whole_night(nights, FIRST)

    assert counts(report) == {"new": 2, "answered": 2}
    with nights.database.read() as conn:
        asked = sorted(conn.scalars(select(jobs.c.custom_id)))
        known = sorted(conn.scalars(select(schedule_documents.c.custom_id)))
    assert {"book.txt#combined-1-1", "book.txt#combined-2-1"} <= set(asked)
    assert known == ["book.txt", "note.txt"]
    written = sorted(path.name for path in (nights.folder / "answers").iterdir() if path.name[0] != "_")
    assert written == ["book.txt.answer.md", "note.txt.answer.md"]
    assert counts(whole_night(nights, FIRST + DAY)) == {"reused": 2}


def test_the_prompt_of_a_combination_is_shown_as_it_was_sent_and_no_document_fills_a_column(
    nights: Nights,
) -> None:
    nights.write(book=LONG, note="Short.")
    split_schedule(nights)
    whole_night(nights, FIRST)
    fields = Fields(more=("prompt",))

    lines = {
        line["custom_id"]: line
        for line in result_lines(nights.database, Selection(1, parts=True), fields=fields)
    }
    columns = [one.column.name for one in table_columns(nights.database, 1)]
    table = [one.column.name for one in table_columns(nights.database, 1, fields=fields)]
    with nights.database.read() as conn:
        stored = {
            row.custom_id: row
            for row in conn.execute(text("SELECT custom_id, prompt, part FROM report_results"))
        }

    parts = sorted((one for one in lines if "#part-" in one), key=lambda name: int(name.rpartition("-")[2]))
    assert lines["book.txt"]["prompt"] == " ".join([*(lines[one]["answer"] for one in parts), "Sum it up."])
    assert "{% for" in stored["book.txt"].prompt
    assert [stored[one].part for one in parts] == list(range(1, len(parts) + 1))
    assert stored["book.txt"].part is None
    assert lines["note.txt"]["prompt"] == "Summarise: Short."
    assert "prompt" not in columns
    assert "prompt" in table


def test_two_models_are_each_asked_the_parts(nights: Nights) -> None:
    other = "llama3.2:3b"
    with nights.database.write() as conn:
        found = [HostModel(MODEL, "sha256:one", False, 8192), HostModel(other, "sha256:two", False, 4096)]
        record_probe(conn, "gpu-1", version="0.24.0", models=found, now=nights.clock.now())
    nights.write(book=LONG)
    split_schedule(nights, models=[MODEL, other])

    report = whole_night(nights, FIRST)

    assert counts(report) == {"new": 2, "answered": 2}
    with nights.database.read() as conn:
        parts = {
            model: len(
                list(
                    conn.scalars(
                        select(jobs.c.id).where(jobs.c.model == model, jobs.c.custom_id.like("%#part-%"))
                    )
                )
            )
            for model in (MODEL, other)
        }
    assert parts[other] > parts[MODEL] > 1, "a smaller window has more parts"


def test_without_a_second_template_a_long_document_is_refused_by_name(nights: Nights) -> None:
    nights.write(book=LONG, note="Short.")
    nights.schedule()

    report = nights.night(FIRST)

    assert counts(report) == {"new": 1, "answered": 1, "failed": 1}
    assert report["failures"] == {"too_large": 1}
    [told] = report["failed_documents"]
    assert told["document"] == "book.txt"
    assert "--long split" in told["message"]


@pytest.mark.parametrize("said", [{"long": "split"}, {"combine": "combine.j2"}])
def test_splitting_needs_a_template_that_combines(nights: Nights, said: dict[str, str]) -> None:
    (nights.folder / "combine.j2").write_text(COMBINE)

    with pytest.raises(InputRefused, match="both"):
        nights.schedule(**said)


def test_a_second_template_has_to_take_the_answers(nights: Nights) -> None:
    with pytest.raises(InputRefused, match="does not use the answers"):
        split_schedule(nights, combine=str(nights.folder / "summary.j2"))

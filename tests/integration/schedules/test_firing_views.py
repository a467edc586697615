"""``report_firings`` and ``report_changes``: how the nights went, and why each job was submitted."""

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import text

from tests.integration.schedules.nights import MODEL, Failed, Nights
from worker.errors import Code
from worker.maintenance.keeping import prune

FIRST = datetime(2026, 3, 26, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def rows(nights: Nights, query: str) -> list[tuple[Any, ...]]:
    with nights.database.read() as conn:
        return [tuple(row) for row in conn.execute(text(query))]


def changes(nights: Nights) -> list[tuple[Any, ...]]:
    return rows(nights, "SELECT custom_id, change FROM report_changes ORDER BY firing, custom_id")


def test_each_firing_says_what_it_found_and_what_came_of_it(nights: Nights) -> None:
    nights.write(a="One.", b="Two.")
    nights.schedule()
    nights.night(FIRST)
    nights.write(a="Changed.", b=None, c="Three.")
    nights.night(FIRST + DAY)

    found = rows(
        nights,
        "SELECT state, new, changed, gone, reused, answered, failed FROM report_firings ORDER BY fire_at",
    )

    assert found == [("finished", 2, 0, 0, 0, 2, 0), ("finished", 1, 1, 1, 0, 2, 0)]
    assert all(seconds > 0 for (seconds,) in rows(nights, "SELECT seconds FROM report_firings"))


def test_what_changed_is_known_after_its_jobs_were_pruned(nights: Nights) -> None:
    nights.write(a="One.", b="Two.")
    nights.schedule()
    first = nights.night(FIRST)
    nights.write(a="Changed.", b=None)
    nights.night(FIRST + DAY)
    prune(nights.database, [first["batch"]], clock=nights.clock)

    assert changes(nights) == [("a.txt", "new"), ("b.txt", "new"), ("a.txt", "changed"), ("b.txt", "gone")]
    assert [row[0] for row in rows(nights, "SELECT DISTINCT model FROM report_changes")] == [MODEL]


def test_a_document_that_is_gone_is_told_once(nights: Nights) -> None:
    nights.write(a="One.", b="Two.")
    nights.schedule()
    nights.night(FIRST)
    nights.write(b=None)
    nights.night(FIRST + DAY)
    nights.night(FIRST + 2 * DAY)

    assert changes(nights)[2:] == [("b.txt", "gone")]


def test_each_result_says_why_its_document_was_asked(nights: Nights) -> None:
    nights.write(a="One.")
    nights.schedule()
    nights.until(FIRST)
    nights.tick()
    nights.work()
    nights.answer(outcome=Failed(Code.CUT, "cut"))
    nights.settle()
    nights.night(FIRST + DAY)
    nights.write(a="Changed.")
    nights.night(FIRST + 2 * DAY)

    assert rows(nights, "SELECT change FROM report_results ORDER BY job_id") == [
        ("new",),
        ("retried",),
        ("changed",),
    ]


def test_the_parts_of_a_long_document_are_told_from_the_whole(nights: Nights) -> None:
    (nights.folder / "combine.j2").write_text("{% for part in parts %}{{ part.answer }}{% endfor %}")
    nights.write(a="\n\n".join(f"Paragraph {n}. " + "word " * 300 for n in range(12)))
    nights.schedule(long="split", combine="combine.j2", options={"num_ctx": 2048})
    nights.until(FIRST)
    nights.tick()
    nights.work()
    for _ in range(4):  # the parts, what combines some of them, and the whole
        nights.answer()
        nights.settle()

    found = rows(nights, "SELECT part, change FROM report_results ORDER BY job_id")

    assert [change for _, change in found] == ["new"] * len(found)
    numbers = [part for part, _ in found]
    first_level = numbers.index(1, 1)
    assert numbers[:first_level] == [*range(1, first_level + 1)], "the parts of the document"
    assert numbers[first_level:] == [*range(1, len(found) - first_level), None], (
        "what combines them, and the whole"
    )
    assert first_level > 3

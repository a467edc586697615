"""Silence is noticed: a time that came and nobody fired; and answers are written over nothing that is not ours."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from typer.testing import CliRunner

from tests.integration.schedules.nights import NAME, Nights
from worker.cli.main import app
from worker.schedules.reading import read_documents
from worker.storage.schedules import pause_schedule, unfired


class Killed(BaseException):
    """Nothing catches it, as nothing catches SIGKILL."""


def late(nights: Nights) -> list[tuple[str, datetime]]:
    with nights.database.read() as conn:
        return unfired(conn, now=nights.clock.now())


def test_a_time_that_nobody_fired_is_known_until_its_documents_are_asked(nights: Nights) -> None:
    nights.write(a="One.")
    schedule = nights.schedule()
    assert schedule.next_at is not None
    assert late(nights) == []

    nights.until(schedule.next_at + timedelta(minutes=20))
    assert late(nights) == [(NAME, schedule.next_at)]
    nights.tick()
    assert [name for name, _ in late(nights)] == [NAME]
    nights.work()
    assert late(nights) == []


def test_whoever_reads_and_died_is_missed_when_its_lease_is_over(nights: Nights) -> None:
    nights.write(a="One.")
    nights.schedule()
    nights.until(datetime(2026, 3, 26, 1, 30, tzinfo=UTC))
    nights.tick()

    def killed(spec, *, left_out=None, settled=None):  # type: ignore[no-untyped-def]
        yield next(read_documents(spec))
        raise Killed

    try:
        nights.work(reading=killed)
    except Killed:
        pass
    assert late(nights) == []
    nights.clock.advance(601)
    assert [name for name, _ in late(nights)] == [NAME]


def test_a_paused_schedule_is_not_missed(nights: Nights) -> None:
    nights.schedule()
    with nights.database.write() as conn:
        pause_schedule(conn, NAME, now=nights.clock.now())

    nights.clock.advance(86_400)

    assert late(nights) == []


def test_answers_are_written_over_their_own_kind_and_nothing_else(nights: Nights) -> None:
    nights.write(a="One.", b="Two.", c="Three.")
    inbox = nights.folder / "inbox"
    mine = inbox / "a.txt.answer.md"
    mine.write_text("My own notes.")
    elsewhere = nights.folder / "elsewhere.md"
    elsewhere.write_text("untouched")
    (inbox / "b.txt.answer.md").symlink_to(elsewhere)
    nights.schedule(beside=True)

    report = nights.night(datetime(2026, 3, 26, 1, 30, tzinfo=UTC))
    nights.write(c="Three, changed.")
    again = nights.night(datetime(2026, 3, 27, 1, 30, tzinfo=UTC))

    assert mine.read_text() == "My own notes."
    assert elsewhere.read_text() == "untouched"
    assert report["files"]["written"] == again["files"]["written"] == 1
    assert len(report["files"]["problems"]) == 2
    assert "changed" in (inbox / "c.txt.answer.md").read_text()


def test_a_link_out_of_the_output_folder_is_not_followed(nights: Nights) -> None:
    outside = nights.folder / "outside"
    outside.mkdir()
    output = nights.folder / "answers"
    output.mkdir()
    (output / "deep").symlink_to(outside)
    deep = nights.folder / "inbox" / "deep"
    deep.mkdir()
    (deep / "a.txt").write_text("One.")
    nights.schedule(documents=["inbox/**/*.txt"], output="answers")

    report = nights.night(datetime(2026, 3, 26, 1, 30, tzinfo=UTC))

    assert list(outside.iterdir()) == []
    assert report["files"]["written"] == 0
    assert "outside of" in report["files"]["problems"][0]


def test_a_result_names_its_schedule_and_its_document_for_reports(nights: Nights) -> None:
    nights.write(a="One.")
    nights.schedule()
    nights.night(datetime(2026, 3, 26, 1, 30, tzinfo=UTC))

    with nights.database.read() as conn:
        found = conn.execute(text("SELECT schedule, document FROM report_results")).all()

    assert [tuple(row) for row in found] == [(NAME, str(nights.folder / "inbox" / "a.txt"))]


def test_the_history_says_for_how_many_missed_times_a_firing_stands(
    nights: Nights, monkeypatch: pytest.MonkeyPatch
) -> None:
    nights.write(a="One.")
    nights.schedule()
    nights.night(datetime(2026, 3, 26, 1, tzinfo=UTC))
    nights.night(datetime(2026, 3, 30, 1, tzinfo=UTC))
    monkeypatch.setenv("CARAVAN_DATABASE_URL", nights.database.url.render_as_string(hide_password=False))

    shown = CliRunner().invoke(app, ["schedule", "history", NAME])
    told = json.loads(CliRunner().invoke(app, ["schedule", "history", NAME, "--json"]).stdout)

    newest, oldest = shown.stdout.splitlines()
    assert [one["missed"] for one in told] == [3, 0]
    assert "3" in newest
    assert "missed" in newest
    assert "missed" not in oldest

"""However a firing ends, those whom its schedule names hear what came of it: by real servers, on both databases."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.integration.schedules.nights import NAME, Failed, Nights
from tests.servers.pinged import Pinged, pinged_here
from tests.servers.smtp import mail_server_here
from worker.domain.health import Telling
from worker.domain.notices import Means
from worker.domain.selection import Selection
from worker.errors import Code
from worker.maintenance.keeping import delete_jobs, prune
from worker.reports.notices import deliver_notices
from worker.storage.notices import list_notices
from worker.storage.schedules import remove_schedule

FIRST = datetime(2026, 3, 26, 1, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def hook() -> Iterator[Pinged]:
    with pinged_here() as seen:
        yield seen


def heard(nights: Nights, hook: Pinged) -> list[dict[str, object]]:
    """What the hook was sent since the last look."""
    before = len(hook.posts)
    deliver_notices(nights.database, clock=nights.clock, means=Means(Telling(), commands=True))
    return [json.loads(body) for _, body in hook.posts[before:]]


def test_a_night_is_told_as_its_report_and_not_before_it_is_over(nights: Nights, hook: Pinged) -> None:
    nights.write(a="One.", b="Two.")
    nights.schedule(webhook=[f"{hook.url}/hook"])
    nights.until(FIRST)
    nights.tick()
    nights.work()
    assert heard(nights, hook) == []

    nights.answer()
    nights.settle()

    [told] = heard(nights, hook)
    assert told["type"] == "firing.finished"
    data = told["data"]
    assert isinstance(data, dict)
    assert (data["schedule"], data["new"], data["answered"], data["failed"]) == (NAME, 2, 2, 0)
    assert data["summary"] == "nightly: 2 new, 0 changed, 0 reused, 0 gone, 0 failed; 2 answered"
    assert heard(nights, hook) == []
    with nights.database.read() as conn:
        assert len(list_notices(conn, data["batch"])) == 1, "notify list BATCH shows it"


def test_a_quiet_night_is_told_too_unless_only_failures_are_wanted(nights: Nights, hook: Pinged) -> None:
    nights.write(a="One.")
    nights.schedule(webhook=[f"{hook.url}/hook"])
    nights.night(FIRST)
    heard(nights, hook)

    nights.night(FIRST + DAY)
    [told] = heard(nights, hook)
    assert told["data"]["batch"] is None  # type: ignore[index]
    assert told["data"]["reused"] == 1  # type: ignore[index]

    nights.schedule(webhook=[f"{hook.url}/hook"], notify="failure")
    nights.night(FIRST + 2 * DAY)
    assert heard(nights, hook) == []


def test_only_failures_are_told_where_that_is_asked(nights: Nights, hook: Pinged) -> None:
    nights.write(a="One.")
    nights.schedule(webhook=[f"{hook.url}/hook"], notify="failure")
    nights.until(FIRST)
    nights.tick()
    nights.work()
    nights.answer(outcome=Failed(Code.CUT, "cut"))
    nights.settle()

    [told] = heard(nights, hook)
    assert told["data"]["failures"] == {"cut": 1}  # type: ignore[index]


def test_of_failures_only_new_ones_are_told_where_that_is_wanted(nights: Nights, hook: Pinged) -> None:
    nights.write(a="One.")
    nights.schedule(webhook=[f"{hook.url}/hook"], notify="new-failures")
    told = []
    for night, name in enumerate(("empty", None, "blank", None)):
        if name is not None:
            nights.write(**{name: ""})
        nights.night(FIRST + night * DAY)
        told.append(len(heard(nights, hook)))

    assert told == [1, 0, 1, 0]


def test_a_firing_that_cannot_begin_is_told_with_its_reason(nights: Nights, hook: Pinged) -> None:
    nights.schedule(webhook=[f"{hook.url}/hook"], notify="failure")
    (nights.folder / "summary.j2").unlink()

    nights.night(FIRST)

    [told] = heard(nights, hook)
    assert told["type"] == "firing.failed"
    assert "summary.j2" in told["data"]["reason"]  # type: ignore[index]
    assert str(told["data"]["summary"]).startswith("nightly: could not begin: ")  # type: ignore[index]


def test_a_firing_that_is_passed_over_is_told_once(nights: Nights, hook: Pinged) -> None:
    nights.write(a="One.")
    nights.schedule(webhook=[f"{hook.url}/hook"], misfire="skip")
    nights.until(FIRST + timedelta(hours=3))
    nights.tick()
    nights.tick()

    told = heard(nights, hook)
    assert [one["type"] for one in told] == ["firing.skipped"]

    nights.until(FIRST + DAY)
    nights.tick()
    nights.work()  # and nobody answers, so that the next finds it unfinished
    nights.until(FIRST + 2 * DAY)
    nights.tick()
    [refused] = heard(nights, hook)
    assert refused["type"] == "firing.skipped"
    assert "has not ended" in refused["data"]["reason"]  # type: ignore[index]


def test_a_mail_is_the_summary_of_the_night(nights: Nights) -> None:
    nights.write(a="One.")
    nights.schedule(mail_to=["ops@example.org"])
    (nights.folder / "inbox" / "empty.txt").write_text("")
    nights.night(FIRST)
    with mail_server_here() as box:
        means = Means(
            Telling(smtp_url=f"smtp://127.0.0.1:{box.port}/?from=caravan@example.org&starttls=never")
        )
        deliver_notices(nights.database, clock=nights.clock, means=means)

    assert box.subjects == ["nightly: 1 new, 0 changed, 0 reused, 0 gone, 1 failed; 1 answered"]


def test_a_schedule_that_is_removed_takes_what_was_to_be_told_with_it(nights: Nights, hook: Pinged) -> None:
    nights.write(a="One.")
    nights.schedule(webhook=[f"{hook.url}/hook"])
    nights.night(FIRST)
    with nights.database.write() as conn:
        remove_schedule(conn, NAME)

    assert heard(nights, hook) == []


def test_a_report_keeps_its_figures_when_its_jobs_are_gone(nights: Nights) -> None:
    nights.write(a="One.")
    (nights.folder / "inbox" / "empty.txt").write_text("")
    nights.schedule()
    before = nights.night(FIRST)
    prune(nights.database, [before["batch"]], clock=nights.clock)
    delete_jobs(nights.database, [Selection(before["batch"])], clock=nights.clock)

    after = nights.report()

    for name in ("answered", "failed", "failures", "output_tokens", "seconds"):
        assert after[name] == before[name], name

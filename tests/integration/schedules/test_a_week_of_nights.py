"""Seven nights of one schedule, each with what befalls it, and each night's report."""

from datetime import UTC, datetime

from tests.integration.schedules.nights import Nights, counts
from worker.domain.schedules import FiringState
from worker.schedules.fire import LEASE
from worker.schedules.reading import read_documents


class Killed(BaseException):
    """Nothing catches it, as nothing catches SIGKILL."""


def utc(day: int, hour: int, minute: int = 0, *, month: int = 3) -> datetime:
    return datetime(2026, month, day, hour, minute, tzinfo=UTC)


def test_each_night_of_a_week_is_reported_right(nights: Nights) -> None:
    nights.write(a="Erster.", b="第二个文件。", c="Third.")
    nights.schedule(cron="30 2 * * *", window=["01:00-06:00"])

    # Thursday: all
    report = nights.night(utc(26, 1, 30))
    assert counts(report) == {"new": 3, "answered": 3}

    # Friday: nothing
    report = nights.night(utc(27, 1, 30))
    assert counts(report) == {"reused": 3}
    assert report["state"] == "finished"
    assert report["batch"] is None

    # Saturday: two changed, one is new
    nights.write(a="Erster, anders.", b="第二个文件,改了。", d="Fourth.")
    report = nights.night(utc(28, 1, 30))
    assert counts(report) == {"new": 1, "changed": 2, "reused": 1, "answered": 3}
    assert report["documents"] == {"changed": ["a.txt", "b.txt"], "new": ["d.txt"]}

    # Sunday: half past two does not come, three o'clock does; one is gone, one cannot be read
    nights.write(c=None, e=" ")
    nights.until(utc(29, 0, 59))
    nights.tick()
    nights.work()
    assert len(nights.firings()) == 3
    report = nights.night(utc(29, 1))
    assert counts(report) == {"reused": 3, "gone": 1, "failed": 1}
    assert report["failures"] == {"no_text": 1}
    assert nights.firings()[0].fire_at == utc(29, 1)

    # Monday: whoever reads is killed over it, and beat is away until four; e can be read by now
    nights.write(e="Fifth.")
    nights.until(utc(30, 0, 30))

    def killed(spec, *, left_out=None, settled=None):  # type: ignore[no-untyped-def]
        yield next(read_documents(spec))
        raise Killed

    nights.tick()
    try:
        nights.work(reading=killed)
    except Killed:
        pass
    nights.tick()
    nights.work()
    assert nights.firings()[0].state is FiringState.READING  # its lease holds
    nights.clock.advance(LEASE.total_seconds())
    nights.work()
    nights.answer()
    nights.settle()
    report = nights.report()
    assert counts(report) == {"new": 1, "reused": 3, "answered": 1}

    # Tuesday: another template touches all
    nights.template("Say in one line: {{ document.text }}")
    report = nights.night(utc(31, 0, 30))
    assert counts(report) == {"changed": 4, "answered": 4}

    # Wednesday: the window is too short
    nights.write(f="Sixth.", g="Seventh.", h="Eighth.")
    nights.until(utc(1, 0, 30, month=4))
    nights.tick()
    nights.work()
    assert len(nights.answer(limit=1)) == 1
    nights.until(utc(1, 4, month=4))
    nights.tick()
    assert nights.answer() == []
    nights.settle()
    report = nights.report()
    assert counts(report) == {"new": 3, "reused": 4, "answered": 1, "left": 2}
    assert report["window"] == {
        "hours": "01:00-06:00 (Europe/Berlin)",
        "open": False,
        "opens_at": "2026-04-01T23:00:00Z",
    }

    # the night after: what is left is answered when the window opens, before the next firing comes
    nights.until(utc(1, 23, month=4))
    nights.tick()
    nights.tick()
    assert len(nights.answer()) == 2
    nights.settle()
    assert counts(nights.report()) == {"new": 3, "reused": 4, "answered": 3}
    assert counts(nights.night(utc(2, 0, 30, month=4))) == {"reused": 7}
    assert [one.state for one in nights.firings()] == [FiringState.FINISHED] * 8
    assert [str(firing.state) for firing in nights.firings()] == ["finished"] * 8


def test_a_beat_that_was_away_over_several_nights_fires_once(nights: Nights) -> None:
    nights.write(a="One.")
    nights.schedule()

    report = nights.night(utc(29, 14))

    assert counts(report) == {"new": 1, "answered": 1}
    assert report["missed"] == 3
    assert [one.fire_at for one in nights.firings()] == [utc(29, 1)]


def test_missed_nights_are_passed_over_where_that_is_said(nights: Nights) -> None:
    nights.write(a="One.")
    nights.schedule(misfire="skip")

    nights.until(utc(29, 14))
    nights.tick()
    nights.work()

    (firing,) = nights.firings()
    assert firing.state is FiringState.SKIPPED
    assert "missed" in str(firing.reason)

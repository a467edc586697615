from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from worker.domain.health import Finding, Kind
from worker.health.letters import Letter, Mailed, next_letter

START = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)
BEAT = Finding(Kind.BEAT, "beat", "beat is away", "start it")
DISK = Finding(Kind.DISK, "/", "the disk is full", "make room")
NOTE = Finding(Kind.JOBS, "held", "3 jobs are held", "look", bad=False)


class Post:
    """What is mailed as time goes on; what is remembered goes through its stored form each time."""

    def __init__(self) -> None:
        self.mailed = Mailed()
        self.minutes = 0

    def at(self, minutes: int, *found: Finding) -> str | None:
        letter = self.letter(minutes, found)
        return None if letter is None else letter.subject.partition(": ")[2]

    def letter(self, minutes: int, found: Sequence[Finding]) -> Letter | None:
        now = START + timedelta(minutes=minutes)
        letter, after = next_letter(self.mailed, found, now=now, place="here")
        self.mailed = Mailed.parse(after.stored)
        return letter


def test_nothing_is_mailed_while_all_is_well() -> None:
    post = Post()

    assert post.at(0) is None
    assert post.at(1, NOTE) is None


def test_what_turned_bad_is_mailed_once_and_so_is_that_it_is_well_again() -> None:
    post = Post()

    told = [post.at(0, BEAT), post.at(1, BEAT), post.at(90, BEAT), post.at(91), post.at(92)]

    assert told == ["beat is away", None, None, "well again", None]


def test_something_new_is_mailed_with_all_that_is_wrong() -> None:
    post = Post()
    post.at(0, BEAT)

    letter = post.letter(1, [BEAT, DISK, NOTE])

    assert letter is not None and letter.subject == "caravan on here: the disk is full (and 1 more)"
    assert all(
        finding.message in letter.text and finding.remedy in letter.text for finding in (BEAT, DISK, NOTE)
    )


def test_what_comes_and_goes_is_mailed_once_an_hour() -> None:
    post = Post()

    told = [post.at(n, *((BEAT,) if n % 2 == 0 else ())) for n in range(121)]

    assert [(n, one) for n, one in enumerate(told) if one] == [
        (0, "beat is away"),
        (1, "well again"),
        (60, "beat is away"),
        (61, "well again"),
        (120, "beat is away"),
    ]


def test_what_came_back_within_the_hour_and_lasts_is_mailed_when_the_hour_is_over() -> None:
    post = Post()

    told = [post.at(0, BEAT), post.at(10), *(post.at(n, BEAT) for n in (30, 59, 60, 61))]

    assert told == ["beat is away", "well again", None, None, "beat is away", None]


def test_what_came_back_and_went_unmailed_is_not_called_well_again() -> None:
    post = Post()

    told = [post.at(0, BEAT), post.at(10), post.at(30, BEAT), post.at(40)]

    assert told == ["beat is away", "well again", None, None]


def test_what_lasts_is_told_again_once_a_day() -> None:
    post = Post()

    told = [post.at(60 * hour, BEAT) for hour in range(50)]

    assert [hour for hour, one in enumerate(told) if one] == [0, 24, 48]


def test_what_another_version_wrote_counts_as_nothing() -> None:
    for stored in ({"at": [1]}, {"at": {"x": 1}}, {"open": 3}, {"bad": 1, "at": None}):
        assert Mailed.parse(stored) == Mailed()

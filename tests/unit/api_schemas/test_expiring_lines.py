"""``expires`` on a line: it needs a deadline, its own or its file's."""

from datetime import UTC, datetime

import pytest

from api_schemas.jobs import JobDefaults, overridden
from tests.unit.api_schemas.lines import line, only, read

TIME = datetime(2026, 12, 1, 5, tzinfo=UTC)
SOON = "2026-12-01T06:00:00+01:00"


def test_a_line_expires_only_where_it_says_so() -> None:
    assert read(line(deadline=SOON, expires=True)).expires
    assert not read(line(deadline=SOON)).expires
    assert not read(line(deadline=SOON, expires=False)).expires
    assert not read(line(deadline=SOON, expires=None)).expires


def test_without_a_deadline_nothing_can_expire() -> None:
    field, code, message = only(line(expires=True))

    assert (field, code) == ("deadline", "missing")
    assert message == "deadline: missing; say when the job expires"


def test_the_files_deadline_is_one_and_the_file_may_ask_for_all() -> None:
    both = JobDefaults(deadline=TIME, expires=True)

    assert read(line(expires=True), defaults=JobDefaults(deadline=TIME)).expires
    assert read(line(), defaults=both).expires
    assert not read(line(expires=False), defaults=both).expires
    assert not read(line(), defaults=JobDefaults(expires=True)).expires


@pytest.mark.parametrize("wanted", [True, False])
def test_overriding_replaces_what_the_line_says(wanted: bool) -> None:
    said = read(line(deadline=SOON, expires=not wanted))

    assert overridden(said, JobDefaults(expires=wanted)).expires is wanted
    assert overridden(said, JobDefaults()).expires is not wanted
    assert not overridden(said._replace(deadline=None), JobDefaults(expires=True)).expires


def test_it_is_true_or_false() -> None:
    assert only(line(deadline=SOON, expires="soon"))[:2] == ("expires", "wrong_type")

"""Messages of Celery producers: one batch whatever happens to them, and a reason for each that cannot be taken."""

import itertools
from typing import Any

import pytest
from sqlalchemy import func, select

from api_schemas.submit_message import SubmitAnswer
from tests.clocks import FakeClock
from worker.dispatch import submit as module
from worker.dispatch.submit import take_message
from worker.domain.batches import BatchState
from worker.domain.selection import Selection
from worker.errors import DatabaseUnavailable
from worker.exports.results import result_lines
from worker.storage.batches import batch_of_key
from worker.storage.engine import Database
from worker.storage.refusals import list_rejects
from worker.storage.tables import submission_parts


def jobs(first: int, last: int) -> list[dict[str, Any]]:
    return [{"custom_id": f"c{n}", "prompt": f"Say {n}."} for n in range(first, last + 1)]


ASKED = {"models": ["m:1"], "options": {"temperature": 0}}


def take(database: Database, clock: Any = None, **arguments: Any) -> SubmitAnswer:
    return take_message(database, clock or database.clock(), arguments, message_id="id-1", max_attempts=3)


def ids(database: Database, answer: SubmitAnswer) -> list[str]:
    return [line["custom_id"] for line in result_lines(database, Selection(answer.batch))]


def parts_kept(database: Database) -> int:
    with database.read() as conn:
        return conn.scalar(select(func.count()).select_from(submission_parts)) or 0


def test_a_message_is_a_batch_and_the_same_key_is_the_same_batch(database: Database) -> None:
    first = take(database, key="k", jobs=jobs(1, 2), submission=ASKED)
    again = take(database, key="k", jobs=jobs(1, 2), submission=ASKED)

    assert (first.state, first.jobs, first.created) == ("open", 2, True)
    assert (again.batch, again.jobs, again.created) == (first.batch, 2, False)
    assert ids(database, first) == ["c1", "c2"]


@pytest.mark.parametrize("order", list(itertools.permutations([1, 2])), ids=str)
def test_parts_make_one_batch_in_their_order_whatever_order_they_come_in(
    database: Database, order: tuple[int, ...]
) -> None:
    for part in (*order, order[0]):  # one of them comes twice
        kept = take(database, upload="u", part=part, jobs=jobs(part * 10, part * 10 + 1))
        assert kept == SubmitAnswer(part=part)

    whole = take(database, key="k", upload="u", part=3, parts=3, jobs=jobs(30, 30), submission=ASKED)

    assert (whole.state, whole.jobs) == ("open", 5)
    assert ids(database, whole) == ["c10", "c11", "c20", "c21", "c30"]
    assert parts_kept(database) == 0


def test_a_batch_of_which_a_part_is_missing_is_refused_and_taken_when_it_is_sent_again(
    database: Database,
) -> None:
    take(database, upload="u", part=1, jobs=jobs(1, 1))

    refused = take(database, key="k", upload="u", part=3, parts=3, jobs=jobs(3, 3), submission=ASKED)
    take(database, upload="v", part=1, jobs=jobs(1, 1))
    take(database, upload="v", part=2, jobs=jobs(2, 2))
    taken = take(database, key="k", upload="v", part=3, parts=3, jobs=jobs(3, 3), submission=ASKED)

    assert refused.state == "refused"
    assert refused.problems[0].message == "parts 2 of 3 did not arrive; submit the jobs again"
    assert (taken.state, taken.batch, ids(database, taken)) == ("open", refused.batch, ["c1", "c2", "c3"])


def test_parts_whose_producer_has_died_are_dropped_after_a_day(database: Database) -> None:
    clock = FakeClock(database.clock().now())
    take(database, clock, upload="dead", part=1, jobs=jobs(1, 1))
    clock.advance(86_401)
    take(database, clock, upload="u", part=1, jobs=jobs(1, 1))
    assert parts_kept(database) == 2

    take(database, clock, key="k", upload="u", part=2, parts=2, jobs=jobs(2, 2), submission=ASKED)

    assert parts_kept(database) == 0


def test_a_template_makes_jobs_of_the_rows_of_all_parts(database: Database) -> None:
    asked = {"models": ["m:1"], "prompt": "Praise {{ title }}.", "id_column": "sku"}
    take(database, upload="u", part=1, jobs=[{"sku": 1, "title": "tea"}])

    whole = take(
        database, key="k", upload="u", part=2, parts=2, jobs=[{"sku": 2, "title": "rain"}], submission=asked
    )

    assert ids(database, whole) == ["1", "2"]
    assert [line["metadata"] for line in result_lines(database, Selection(whole.batch))] == [
        {"sku": 1, "title": "tea"},
        {"sku": 2, "title": "rain"},
    ]


REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    "a wrong line": (
        {"key": "k", "jobs": [{"prompt": "x"}, {"promt": "y"}], "submission": ASKED},
        "k",
        "line 2",
    ),
    "an id that stands twice": (
        {"key": "k", "jobs": [*jobs(1, 1), *jobs(1, 1)], "submission": ASKED},
        "k",
        "'c1' stands on line 1 already",
    ),
    "a job that is no object": (
        {"key": "k", "jobs": [7], "submission": ASKED},
        "k",
        "expected one JSON object",
    ),
    "no job": ({"key": "k", "jobs": [], "submission": ASKED}, "k", "holds no job"),
    "no jobs": ({"key": "k"}, "k", "jobs: Field required"),
    "jobs that are no list": ({"key": "k", "jobs": "x"}, "k", "jobs: Input should be a valid list"),
    "too many jobs": (
        {"key": "k", "jobs": [{}] * 1001},
        "k",
        "1001 jobs in one message; at most 1000 are taken",
    ),
    "no key": ({"jobs": []}, "celery-id-1", "key is missing"),
    "a key that is none": ({"key": 7, "jobs": []}, "celery-id-1", "key: Input should be a valid string"),
    "an unknown argument": ({"key": "k", "jobs": [], "prioritty": 1}, "k", "prioritty: unknown field"),
    "an unknown field of the submission": (
        {"key": "k", "jobs": jobs(1, 1), "submission": {"modle": "m"}},
        "k",
        "modle: unknown field",
    ),
    "a template that is none": (
        {"key": "k", "jobs": jobs(1, 1), "submission": {"models": ["m:1"], "prompt": "{{ x"}},
        "k",
        "prompt",
    ),
    "a part without an upload": ({"key": "k", "part": 1, "jobs": []}, "k", "upload and part belong together"),
    "nothing at all": ({}, "celery-id-1", "jobs: Field required"),
}


@pytest.mark.parametrize(("arguments", "key", "told"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_taken_is_a_refused_batch_with_its_reason(
    database: Database, arguments: dict[str, Any], key: str, told: str
) -> None:
    answer = take(database, **arguments)

    shown = "; ".join(f"line {one.line}: {one.message}" for one in answer.problems)
    assert (answer.state, answer.key) == ("refused", key)
    assert told in shown
    with database.read() as conn:
        batch = batch_of_key(conn, key)
        assert batch is not None
        assert (batch.id, batch.state) == (answer.batch, BatchState.REFUSED)
        stored = list_rejects(conn, batch.id)
    assert [one.message for one in stored] == [one.message for one in answer.problems]


def test_a_batch_that_was_accepted_stays_when_a_later_message_of_its_key_is_refused(
    database: Database,
) -> None:
    accepted = take(database, key="k", jobs=jobs(1, 2), submission=ASKED)

    refused = take(database, key="k", jobs="x")

    assert refused.state == "refused"
    assert ids(database, accepted) == ["c1", "c2"]
    with database.read() as conn:
        batch = batch_of_key(conn, "k")
    assert batch is not None
    assert batch.state is BatchState.OPEN


def test_a_database_that_is_away_is_said_to_the_producer(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any, **__: Any) -> None:
        raise DatabaseUnavailable("the database is away")

    monkeypatch.setattr(module, "submit", away)

    answer = take(database, key="k", jobs=jobs(1, 1), submission=ASKED)

    assert (answer.state, answer.unavailable) == (None, "the database is away")

"""Names that stand in a batch already are found by the database, so that no upload remembers all of them. On both databases."""

import json
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest

from api_schemas.submissions import Submission
from tests.door import Watching
from worker.domain.jobs import JobState
from worker.domain.selection import Selection
from worker.door.rows import InputLine, RowStream
from worker.door.submit import Receipt, submit
from worker.errors import InputRefused, Problem
from worker.exports.results import result_lines
from worker.storage.check import check_database
from worker.storage.counts import batch_progress
from worker.storage.engine import Database, open_database


@pytest.fixture
def database(migrated_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    monkeypatch.setattr("worker.door.upload.CHUNK", 4)
    monkeypatch.setattr("worker.door.intake.SAMPLE", 1)
    opened = open_database(migrated_url)
    yield opened
    opened.close()


def lines(*names: str) -> list[str]:
    return [
        json.dumps({"custom_id": name, "prompt": f"{name} on {n}"}) for n, name in enumerate(names, start=1)
    ]


def submitted(
    database: Database, upload: list[str], observer: Watching | None = None, **fields: Any
) -> Receipt:
    submission = Submission(**{"key": "k", "models": ("m:1",), **fields})
    return submit(database, submission, RowStream(upload, "test"), observer=observer or Watching())


def names(database: Database, receipt: Receipt) -> list[str]:
    return [line["custom_id"] for line in result_lines(database, Selection(receipt.batch.id))]


def test_a_name_that_a_stored_chunk_has_is_refused_with_both_lines(database: Database) -> None:
    with pytest.raises(InputRefused) as refused:
        submitted(database, lines(*"abcdefgb", "x", "c", "x"))

    assert [(problem.line, str(problem.code)) for problem in refused.value.problems] == [
        (8, "duplicate_custom_id"),
        (10, "duplicate_custom_id"),
        (11, "duplicate_custom_id"),
    ]
    assert "custom_id 'b' stands on line 2 already" in str(refused.value.problems[0])
    assert "custom_id 'x' stands on line 9 already" in str(refused.value.problems[2])


@pytest.mark.parametrize("models", [("m:1",), ("m:1", "n:1", "o:1")])
def test_lines_with_such_names_are_left_out_whole_and_the_others_go_on(
    database: Database, models: tuple[str, ...]
) -> None:
    wrong: list[tuple[int, Any]] = []

    def reject(problem: Problem, line: InputLine) -> None:
        wrong.append((problem.line, line.raw))

    upload = lines(*"abcdeafghibj")
    receipt = submitted(database, upload, Watching(reject=reject), on_bad_line="skip", models=models)

    assert [line for line, _ in wrong] == [6, 11]
    assert [raw for _, raw in wrong] == [upload[5], upload[10]]
    assert names(database, receipt) == [name for name in "abcdefghij" for _ in models]
    assert (receipt.rejected, receipt.batch.jobs) == (2, 10 * len(models))
    with database.read() as conn:
        assert batch_progress(conn, receipt.batch.id).counts[JobState.QUEUED] == 10 * len(models)
    assert [
        check.name for check in check_database(database, now=database.clock().now()) if check.broken
    ] == []


def test_a_job_waits_for_one_of_an_earlier_chunk(database: Database) -> None:
    upload = [*lines(*"abcdefgh"), json.dumps({"prompt": "more", "after": "b", "carry": "none"})]

    receipt = submitted(database, upload)

    with database.read() as conn:
        counts = batch_progress(conn, receipt.batch.id).counts
    assert (counts[JobState.QUEUED], counts[JobState.WAITING]) == (8, 1)


def test_an_upload_that_goes_on_does_not_take_its_own_lines_for_others(database: Database) -> None:
    def broken() -> Iterator[str]:
        yield from lines(*"abcdefgh")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        submit(database, Submission(key="k", models=("m:1",)), RowStream(broken(), "test"))

    receipt = submitted(database, lines(*"abcdefghij"))

    assert names(database, receipt) == list("abcdefghij")


@pytest.mark.thorough
def test_memory_does_not_grow_with_the_rows(migrated_url: str) -> None:
    database = open_database(migrated_url)

    def peak(count: int) -> int:
        upload = (json.dumps({"custom_id": f"sku-{n:09}", "prompt": "Say it."}) for n in range(count))
        tracemalloc.start()
        submit(database, Submission(key=f"k{count}", models=("m:1",)), RowStream(upload, "test"))
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    try:
        few, many = peak(5_500), peak(16_000)
    finally:
        database.close()
    assert many - few < 1_000_000, (few, many)

"""What goes in comes out, and what no database can hold stops nobody."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Column, Integer, MetaData, Table, text
from sqlalchemy.exc import StatementError

from tests.integration.storage.conftest import (
    KEY,
    NOW,
    Store,
    a_result,
    ending,
    new_job,
    refuse_batch,
    stored_context,
)
from worker.domain.attempts import Cancelled, Failed, Held, Outcome, Retried, Succeeded
from worker.domain.jobs import JobState
from worker.domain.selection import Selection
from worker.errors import Code, InputRefused, Problem
from worker.storage.batches import create_batch, find_batch, list_batches
from worker.storage.engine import Database
from worker.storage.finishes import finish_jobs
from worker.storage.jobs import hold_jobs
from worker.storage.refusals import list_rejects
from worker.storage.results import iter_results, list_attempts
from worker.storage.types import UtcTime, utc_text

ODD = "a\0b \ud800 c"
CLEAN = "a\ufffdb \ufffd c"


@pytest.mark.fault(28)
@pytest.mark.parametrize(
    ("outcome", "state"),
    [
        (Failed(Code.BAD_REPLY, ODD, partial=ODD), JobState.FAILED),
        (Retried(Code.HOST_ERROR, ODD, NOW, charged=True, partial=ODD), JobState.SCHEDULED),
        (Held(Code.RUNNER_DIED, ODD), JobState.HELD),
        (Cancelled(partial=ODD), JobState.CANCELLED),
        (Succeeded(a_result(answer=ODD, reasoning=ODD, done_reason=ODD * 20)), JobState.SUCCEEDED),
    ],
)
def test_no_text_of_a_host_keeps_an_outcome_from_being_stored(
    store: Store, outcome: Outcome, state: JobState
) -> None:
    store.submit(new_job(1))
    [job] = store.claim()

    finished = store.finish(job, outcome, digest="sha256:" + "f" * 100)

    assert finished.accepted == [job.id]
    assert store.counts() == {state: 1}
    with store.database.read() as conn:
        [attempt] = list_attempts(conn, job.id)
    assert {attempt.error_message, attempt.partial} <= {None, CLEAN}


def test_one_odd_outcome_costs_the_others_of_its_group_nothing(store: Store) -> None:
    batch = store.submit(*(new_job(seq) for seq in range(1, 4)))
    first, odd, last = store.claim()

    with store.database.write() as conn:
        group = [ending(first), ending(odd, Failed(Code.BAD_REPLY, ODD)), ending(last)]
        finished = finish_jobs(conn, group, now=NOW)

    assert finished.refused == []
    assert [row.state for row in iter_results(store.database, Selection(batch))] == [
        "succeeded",
        "failed",
        "succeeded",
    ]


def test_a_group_of_answers_is_stored_as_it_was_sent(store: Store) -> None:
    marks = ["\\N", "a\tb", "\\t\\", "one\r\ntwo\n", "\\.", "", "NULL", "{}", "é 文 \x7f"]
    answers = [f"{mark}{number}{mark}" for number in range(3) for mark in marks]
    batch = store.submit(*(new_job(seq, prompt=answer) for seq, answer in enumerate(answers, 1)))
    jobs = store.claim(limit=len(answers))

    with store.database.write() as conn:
        results = (a_result(answer=job.prompt, embedding=job.prompt.encode()) for job in jobs)
        group = [ending(job, Succeeded(result)) for job, result in zip(jobs, results, strict=True)]
        assert finish_jobs(conn, group, now=NOW).refused == []

    rows = list(iter_results(store.database, Selection(batch)))
    assert [row.answer for row in rows] == [job.prompt for job in jobs] == answers
    assert [row.embedding for row in rows] == [answer.encode() for answer in answers]


@pytest.mark.parametrize("year", [1, 999, 9999])
def test_a_deadline_of_any_year_is_claimed_as_it_was_submitted(store: Store, year: int) -> None:
    deadline = datetime(year, 1, 1, tzinfo=UTC)
    store.submit(new_job(1, deadline=deadline))

    [job] = store.claim()

    assert job.deadline == deadline


def test_a_time_without_a_zone_is_refused(database: Database) -> None:
    table = Table("hosts", MetaData(), Column("slots", Integer), Column("added_at", UtcTime))

    with pytest.raises(StatementError, match="no time zone"), database.write() as conn:
        conn.execute(table.update().values(added_at=datetime(2026, 11, 23)))


@given(
    st.lists(
        st.datetimes(
            min_value=datetime(1, 1, 2),
            max_value=datetime(9999, 12, 30),
            timezones=st.sampled_from([UTC, timezone(timedelta(hours=9)), timezone(-timedelta(hours=8))]),
        ),
        min_size=2,
    )
)
def test_times_in_a_sqlite_file_sort_as_times_do(times: list[datetime]) -> None:
    texts = [utc_text(time) for time in times]

    assert sorted(texts) == [utc_text(time) for time in sorted(times)]
    assert [datetime.fromisoformat(written) for written in texts] == times


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    prompt=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
    metadata=st.dictionaries(
        st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
        st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text("aß漢😀\ufffd'\"\\"),
    ),
    context=st.lists(st.integers(0, 2**31), max_size=50),
)
def test_prompt_request_metadata_and_context_come_back_as_they_came(
    store: Store, prompt: str, metadata: dict[str, Any], context: list[int]
) -> None:
    request = {"system": prompt, "options": {"num_ctx": 4096, "temperature": 0.1}, "think": "high"}
    batch = store.submit(new_job(1, prompt=prompt, request=request, metadata=metadata))

    [job] = store.claim()
    store.finish(job, Succeeded(a_result(answer=prompt, context=tuple(context))), digest="sha256:abc")

    [row] = iter_results(store.database, Selection(batch))
    assert (job.prompt, job.request) == (prompt, request)
    assert (row.answer, row.metadata) == (prompt, metadata)
    with store.database.read() as conn:
        assert stored_context(conn, job.id) == (context, "sha256:abc")


def test_a_report_reads_json_and_times_with_the_same_sql_on_both_databases(store: Store) -> None:
    store.submit(new_job(1, metadata={"topic": "空"}, request={"options": {"seed": 7}}))

    with store.database.read() as conn:
        query = """
            SELECT payloads.metadata->>'topic', payloads.request->'options'->>'seed', count(*)
            FROM payloads JOIN jobs ON jobs.id = payloads.job_id
            WHERE jobs.submitted_at >= '2026-11-23' GROUP BY 1, 2"""
        [(topic, seed, jobs)] = conn.execute(text(query)).all()

    assert (topic, str(seed), jobs) == ("空", "7", 1)


def test_problems_and_names_of_a_batch_may_hold_any_text(store: Store) -> None:
    with store.database.write() as conn:
        batch, _ = create_batch(conn, key="k", name=ODD + "n" * 400, source=ODD, now=NOW)
        refuse_batch(conn, batch.id, [Problem(1, "x" * 400, "invalid_value", ODD)], now=NOW)

        assert list_batches(conn)[0].name.startswith(CLEAN)
        assert list_rejects(conn, batch.id)[0].message == CLEAN


@pytest.mark.parametrize("key", ["", "k" * 201, "a\0b", "a\ud800b"])
def test_a_key_that_cannot_be_stored_is_refused_with_its_field(store: Store, key: str) -> None:
    with pytest.raises(InputRefused) as caught, store.database.write() as conn:
        create_batch(conn, key=key, name="b", source=None, now=NOW)

    assert caught.value.problems[0].field == "key"


@pytest.mark.parametrize("reference", ["", "²", "99999999999999999999", "%", "_"])
def test_an_odd_reference_finds_no_batch(store: Store, reference: str) -> None:
    store.submit(new_job(1), key="abc")

    with store.database.read() as conn, pytest.raises(Exception, match="no batch"):
        find_batch(conn, reference)


def test_a_reason_for_holding_may_be_any_text(store: Store) -> None:
    batch = store.submit(new_job(1))

    with store.database.write() as conn:
        hold_jobs(conn, runner_key=KEY, code="model_missing", reason=ODD)

    [row] = iter_results(store.database, Selection(batch))
    assert (row.state, row.error_code, row.error_message) == ("held", "model_missing", CLEAN)

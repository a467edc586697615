"""Whether an answer is empty, and the log probabilities of its tokens, are stored and read back on both databases."""

import json
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import select, text

from tests.integration.storage.conftest import Store, a_result, new_job
from worker.domain.attempts import Failed, Succeeded
from worker.domain.selection import Selection
from worker.errors import Code
from worker.exports.columns import fields_of
from worker.exports.files import ResultWriter
from worker.exports.results import result_lines
from worker.storage.migrate import scripts
from worker.storage.reuse import reuse_waiting
from worker.storage.tables import results


def test_a_result_says_whether_its_answer_is_empty(store: Store) -> None:
    batch = store.submit(*(new_job(seq) for seq in range(1, 5)))
    first, second, third, _ = store.claim(4)
    store.finish(first, Succeeded(a_result(answer="0")))
    store.finish(second, Succeeded(a_result(answer=" \n\u200b")))
    store.finish(third, Failed(Code.CUT, "cut", result=a_result(answer="")))

    lines = list(result_lines(store.database, Selection(batch)))
    with store.database.read() as conn:
        rows = conn.execute(text("SELECT job_id, empty FROM report_results ORDER BY job_id")).all()

    assert [line["empty"] for line in lines] == [False, True, True, None]
    assert [bool(row.empty) for row in rows] == [False, True, True]


def test_log_probabilities_are_stored_as_they_came(store: Store) -> None:
    store.submit(new_job(1), new_job(2))
    first, second = store.claim(2)
    logprobs = [{"token": "天", "logprob": -0.1, "bytes": [229], "top_logprobs": []}]
    store.finish(first, Succeeded(a_result(logprobs=logprobs)))
    store.finish(second, Succeeded(a_result()))

    with store.database.read() as conn:
        rows = conn.scalars(select(results.c.logprobs).order_by(results.c.job_id)).all()
        nulls = conn.scalar(text("SELECT count(*) FROM results WHERE logprobs IS NULL"))

    assert rows == [logprobs, None]
    assert nulls == 1


def test_an_upgrade_marks_the_empty_answers_of_before(store: Store) -> None:
    store.submit(*(new_job(seq) for seq in range(1, 5)))
    answers: list[Any] = ["", " \r\n\t", "a"]
    for job, answer in zip(store.claim(3), answers, strict=True):
        store.finish(job, Succeeded(a_result(answer=answer)))
    store.finish(store.claim(1)[0], Failed(Code.CUT, "cut", partial=""))

    with store.database.write() as conn:
        config = Config()
        config.set_main_option("script_location", str(scripts()))
        config.attributes["connection"] = conn
        command.downgrade(config, "0013")
        command.upgrade(config, "head")

    with store.database.read() as conn:
        marks = conn.scalars(select(results.c.empty).order_by(results.c.job_id)).all()
    assert marks == [True, True, False, False]


def test_log_probabilities_stand_in_lines_and_tables_of_batches_that_have_some(
    store: Store, tmp_path: Path
) -> None:
    plain = store.submit(new_job(1))
    store.finish(store.claim(1)[0], Succeeded(a_result()))
    batch = store.submit(new_job(1), new_job(2))
    first, second = store.claim(2)
    store.finish(first, Succeeded(a_result(logprobs=[{"token": "a", "logprob": -0.5}])))
    store.finish(second, Succeeded(a_result()))

    lines = list(result_lines(store.database, Selection(batch)))
    without = list(result_lines(store.database, Selection(batch), fields=fields_of([], ["logprobs"])))
    headers = []
    for number in (plain, batch):
        ResultWriter(store.database, Selection(number)).file(tmp_path / f"{number}.csv")
        headers.append((tmp_path / f"{number}.csv").read_text("utf-8-sig").splitlines()[0])
    with store.database.read() as conn:
        views = conn.scalars(text("SELECT CAST(logprobs AS TEXT) FROM report_results ORDER BY job_id")).all()

    assert lines[0]["logprobs"] == [{"token": "a", "logprob": -0.5}]
    assert "logprobs" not in lines[1]
    assert "logprobs" not in without[0]
    assert [header.endswith(",logprobs") for header in headers] == [False, True]
    assert [json.loads(view) if view else None for view in views] == [None, lines[0]["logprobs"], None]


@pytest.mark.parametrize(
    ("allow_empty", "fields", "taken"),
    [
        (False, {"answer": ""}, False),
        (True, {"answer": ""}, True),
        (False, {"answer": "", "cut": True}, True),
        (False, {"answer": "a"}, True),
    ],
)
def test_an_empty_answer_is_reused_only_where_it_would_be_a_success(
    store: Store, allow_empty: bool, fields: dict[str, Any], taken: bool
) -> None:
    request: dict[str, Any] = {"options": {"seed": 1}}
    store.submit(new_job(1, request=request, reuse=True))
    store.finish(store.claim(1)[0], Succeeded(a_result(**fields)), digest="d1")
    asked = request | ({"allow_empty": True} if allow_empty else {})
    store.submit(new_job(1, prompt="Say 1.", request=asked, reuse=True))

    with store.database.write() as conn:
        looked = reuse_waiting(conn, "qwen3:8b", "d1", now=store.now, limit=10)

    assert looked.hits == int(taken)

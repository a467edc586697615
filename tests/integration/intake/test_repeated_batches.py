"""An input that is a batch already: what a command gives is applied to that batch, or refused by its name. On both databases."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from api_schemas.submissions import Submission
from tests.door import submit_file
from worker.domain.jobs import Priority
from worker.domain.selection import Selection
from worker.door.rows import InputLine
from worker.door.submit import Receipt
from worker.errors import Code, InputRefused, Problem
from worker.exports.output.batches import batch_output
from worker.storage.actions import hold_some
from worker.storage.counts import batch_progress
from worker.storage.engine import Database

PLAIN = Submission(models=("m:1",))
LINES = ({"prompt": "a"}, {"prompt": "b", "priority": "bulk"}, {"prompt": "c", "options": {"seed": 7}})


def written(path: Path, *more: str) -> Path:
    path.write_text("".join(f"{json.dumps(line)}\n" for line in LINES) + "".join(f"{one}\n" for one in more))
    return path


def taken(database: Database, path: Path, recipe: Submission = PLAIN, **more: Any) -> Receipt:
    return submit_file(database, path, recipe, **more)


def with_defaults(**defaults: Any) -> Submission:
    return PLAIN.model_copy(update=defaults)


def column(database: Database, arrived: Receipt, name: str) -> list[Any]:
    with database.read() as conn:
        return list(
            conn.scalars(
                text(f"SELECT {name} FROM jobs WHERE batch_id = :batch ORDER BY id"),
                {"batch": arrived.batch.id},
            )
        )


def test_missing_models_are_pulled_and_jobs_that_were_held_for_them_go_on(
    database: Database, tmp_path: Path
) -> None:
    path = written(tmp_path / "in.jsonl")
    first = taken(database, path)
    with database.write() as conn:
        hold_some(
            conn,
            Selection(first.batch.id),
            frozenset(),
            code=Code.MODEL_MISSING,
            reason="",
            after=0,
            limit=99,
        )
    looked: list[Mapping[str, int]] = []

    def check(wanted: Mapping[str, int]) -> list[Problem]:
        looked.append(wanted)
        return []

    taken(database, path, check_models=check)
    assert looked == []
    again = taken(database, path, check_models=check, pull_missing=True)

    assert (again.batch.id, looked) == (first.batch.id, [{"m:1": 0}])
    assert set(column(database, first, "state")) <= {"scheduled", "queued"}


def test_models_that_cannot_be_pulled_refuse_the_command(database: Database, tmp_path: Path) -> None:
    path = written(tmp_path / "in.jsonl")
    taken(database, path)

    with pytest.raises(InputRefused, match="no host"):
        taken(
            database,
            path,
            pull_missing=True,
            check_models=lambda wanted: [Problem(0, "model", "model_missing", "no host has it")],
        )


def test_lines_that_are_wrong_are_set_aside_again_or_refused(database: Database, tmp_path: Path) -> None:
    path = written(tmp_path / "in.jsonl", '{"promt": "d"}')
    rejects: list[int] = []

    def reject(problem: Problem, line: InputLine) -> None:
        rejects.append(line.line)

    first = taken(database, path, reject=reject, on_bad_line="skip")
    again = taken(database, path, reject=reject, on_bad_line="skip")

    assert rejects == [4, 4]
    assert (again.batch.id, again.created, again.rejected) == (first.batch.id, False, 1)
    with pytest.raises(InputRefused, match="promt"):
        taken(database, path, on_bad_line="refuse")
    assert taken(database, path).batch.id == first.batch.id


def test_a_priority_holds_for_jobs_that_have_not_ended_and_name_none_themselves(
    database: Database, tmp_path: Path
) -> None:
    path = written(tmp_path / "in.jsonl")
    first = taken(database, path)

    again = taken(database, path, with_defaults(priority="high"))
    same = taken(database, path, with_defaults(priority="high"))

    assert again.batch.id == same.batch.id == first.batch.id
    assert column(database, first, "priority") == [Priority.HIGH, Priority.BULK, Priority.HIGH]


def test_stored_answers_may_be_taken_where_that_is_given_later(database: Database, tmp_path: Path) -> None:
    path = written(tmp_path / "in.jsonl")
    first = taken(database, path)
    before = column(database, first, "reuse")

    taken(database, path, with_defaults(reuse=True))

    assert before == [None, None, None]
    assert column(database, first, "reuse") == [None, None, 1]


def test_reuse_that_no_row_allows_is_said(database: Database, tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text('{"prompt": "a"}\n')

    (remark,) = taken(database, path, with_defaults(reuse=True)).remarks

    assert "--reuse-any" in remark
    assert taken(database, path, with_defaults(reuse="any"), on_change="new").remarks == ()


def test_expiring_without_a_deadline_is_refused_for_a_new_batch_and_for_one_that_is_there(
    database: Database, tmp_path: Path
) -> None:
    path = written(tmp_path / "in.jsonl")
    expiring = with_defaults(expires=True)

    with pytest.raises(InputRefused, match="no job has a deadline"):
        taken(database, path, expiring)
    taken(database, path)
    with pytest.raises(InputRefused, match="it has no deadline"):
        taken(database, path, expiring)


def test_what_a_changed_input_leaves_out_is_counted_too(database: Database, tmp_path: Path) -> None:
    path = written(tmp_path / "in.jsonl")
    taken(database, path)
    written(path, '{"promt": "d"}', '{"prompt": "e"}')

    arrived = taken(database, path, ask=lambda *_: "extend", reject=lambda *_: None, on_bad_line="skip")

    assert arrived.difference is not None and arrived.difference.new == 1
    assert arrived.rejected == 1


def test_the_terms_of_a_batch_are_stored_and_shown_by_their_names(database: Database, tmp_path: Path) -> None:
    path = written(tmp_path / "in.jsonl")

    first = taken(database, path, max_failures="5%", fail_on_cut=True)

    with database.read() as conn:
        shown = batch_output(batch_progress(conn, first.batch.id))
    assert shown.terms == {"max_failures": "5%", "fail_on_cut": True}
    with pytest.raises(InputRefused, match="made with '5%'"):
        taken(database, path, max_failures="6%")

"""An input that comes again: as it was, grown, changed, or asked otherwise. On both databases."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from api_schemas.submissions import Submission
from tests.door import submit_file
from tests.maintenance import tidy
from worker.clock import Clock
from worker.domain.attempts import Failed, Finish
from worker.domain.batches import BatchState
from worker.domain.jobs import ClaimedJob, JobState
from worker.domain.selection import Selection
from worker.door.rows import InputLine
from worker.door.submit import Receipt
from worker.errors import Code, Conflict, InputRefused, Problem
from worker.exports.results import result_lines
from worker.maintenance.actions import cancel_jobs
from worker.storage.claims import claim_jobs
from worker.storage.counts import batch_progress
from worker.storage.engine import Database
from worker.storage.finishes import finish_jobs

ASKED = Submission(prompt="Sell {{ title }}", id_column="sku", models=("m:1",))


def table(path: Path, rows: dict[str, str], encoding: str = "utf-8") -> Path:
    with path.open("w", encoding=encoding, newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["sku", "title"])
        writer.writerows(rows.items())
    return path


def with_fields(submission: Submission, **fields: Any) -> Submission:
    return submission.model_copy(update=fields)


def taken(database: Database, clock: Clock, path: Path, recipe: Submission = ASKED, **more: Any) -> Receipt:
    return submit_file(database, path, recipe, clock=clock, **more)


def prompts(database: Database, arrived: Receipt) -> dict[str, str]:
    with database.read() as conn:
        rows = conn.execute(
            text(
                "SELECT j.custom_id, p.prompt FROM jobs j JOIN payloads p ON p.job_id = j.id "
                "WHERE j.batch_id = :batch ORDER BY j.id"
            ),
            {"batch": arrived.batch.id},
        )
        return {row[0]: row[1] for row in rows}


def counts(database: Database, arrived: Receipt) -> dict[JobState, int]:
    with database.read() as conn:
        found = batch_progress(conn, arrived.batch.id)
    return {state: n for state, n in found.counts.items() if n}


def claimed(database: Database, clock: Clock, limit: int = 99) -> list[ClaimedJob]:
    now = clock.now()
    with database.write() as conn:
        return claim_jobs(
            conn,
            host="gpu-1",
            runner_keys=["m:1 num_ctx>=4096"],
            limit=limit,
            token="t",
            now=now,
            lease_until=now,
        )


def finish_all(database: Database, clock: Clock) -> None:
    now = clock.now()
    jobs = claimed(database, clock)
    with database.write() as conn:
        finish_jobs(
            conn,
            [
                Finish(
                    job.id, job.batch_id, "t", job.attempt, "gpu-1", now, now, Failed(Code.BAD_REPLY, "no")
                )
                for job in jobs
            ],
            now=now,
        )
    tidy(database, clock=clock)


def test_each_row_of_a_table_is_a_job_with_its_columns_as_metadata(
    database: Database, clock: Clock, tmp_path: Path
) -> None:
    arrived = taken(
        database,
        clock,
        table(tmp_path / "p.csv", {"A1": "red shoes", "A2": "绿茶和红茶杯子，质量很好的商品"}, "gb18030"),
    )

    assert prompts(database, arrived) == {"A1": "Sell red shoes", "A2": "Sell 绿茶和红茶杯子，质量很好的商品"}
    lines = list(result_lines(database, Selection(arrived.batch.id)))
    assert [line["metadata"] for line in lines] == [
        {"title": "red shoes"},
        {"title": "绿茶和红茶杯子，质量很好的商品"},
    ]


def test_a_row_is_asked_of_each_model(database: Database, clock: Clock, tmp_path: Path) -> None:
    recipe = with_fields(ASKED, models=("m:1", "n:1", "m:1"))

    arrived = taken(database, clock, table(tmp_path / "p.csv", {"A1": "x", "A2": "y"}), recipe)

    lines = list(result_lines(database, Selection(arrived.batch.id)))
    assert [(line["custom_id"], line["model"]) for line in lines] == [
        ("A1", "m:1"),
        ("A1", "n:1"),
        ("A2", "m:1"),
        ("A2", "n:1"),
    ]


def test_the_same_input_under_the_same_recipe_is_the_same_batch(
    database: Database, clock: Clock, tmp_path: Path
) -> None:
    path = table(tmp_path / "p.csv", {"A1": "x"})

    first, second = taken(database, clock, path), taken(database, clock, path)

    assert first.batch.id == second.batch.id
    assert (first.created, second.created) == (True, False)


def test_a_pilot_goes_on_with_the_rest_in_the_order_of_the_input(
    database: Database, clock: Clock, tmp_path: Path
) -> None:
    path = table(tmp_path / "p.csv", {f"A{n}": f"t{n}" for n in range(30)})
    pilot = taken(database, clock, path, with_fields(ASKED, sample=5, seed=7))
    assert counts(database, pilot) == {JobState.QUEUED: 5}
    finish_all(database, clock)

    whole = taken(database, clock, path)

    assert whole.batch.id == pilot.batch.id
    assert whole.difference is not None
    assert (whole.difference.kept, whole.difference.new) == (5, 25)
    assert list(prompts(database, whole)) == [f"A{n}" for n in range(30)]
    assert counts(database, whole) == {JobState.FAILED: 5, JobState.QUEUED: 25}
    assert whole.batch.state is BatchState.OPEN
    assert taken(database, clock, path).difference is None


def test_a_changed_input_is_refused_where_nobody_can_be_asked_and_says_the_flags(
    database: Database, clock: Clock, tmp_path: Path
) -> None:
    path = tmp_path / "p.csv"
    taken(database, clock, table(path, {"A1": "x", "A2": "y"}))

    with pytest.raises(InputRefused, match=r"--extend.*--new") as refused:
        taken(database, clock, table(path, {"A1": "x", "A2": "z", "A3": "new"}))

    assert "1 kept, 1 new, 1 changed" in str(refused.value)


def test_an_extended_batch_keeps_what_is_equal_and_asks_the_rest(
    database: Database, clock: Clock, tmp_path: Path
) -> None:
    path = tmp_path / "p.csv"
    taken(database, clock, table(path, {"A1": "x", "A2": "y"}))
    finish_all(database, clock)
    table(path, {"A0": "first now", "A1": "x", "A2": "z"})

    arrived = taken(database, clock, path, ask=lambda batch, difference: "extend")

    assert counts(database, arrived) == {JobState.FAILED: 1, JobState.QUEUED: 2}
    assert prompts(database, arrived)["A2"] == "Sell z"
    again = taken(database, clock, path)
    assert (again.batch.id, again.difference) == (arrived.batch.id, None)
    finish_all(database, clock)
    assert counts(database, arrived) == {JobState.FAILED: 3}


def test_a_changed_job_that_runs_is_left_and_the_next_run_asks_again(
    database: Database, clock: Clock, tmp_path: Path
) -> None:
    path = tmp_path / "p.csv"
    taken(database, clock, table(path, {"A1": "x", "A2": "y"}))
    claimed(database, clock, 1)
    table(path, {"A1": "changed", "A2": "y"})

    arrived = taken(database, clock, path, ask=lambda batch, difference: "extend")

    assert arrived.difference is not None
    assert arrived.difference.running == 1
    assert prompts(database, arrived)["A1"] == "Sell x"
    with pytest.raises(InputRefused, match="1 changed"):
        taken(database, clock, path)


def test_a_new_batch_of_a_changed_input_leaves_the_old_one_alone(
    database: Database, clock: Clock, tmp_path: Path
) -> None:
    path = tmp_path / "p.csv"
    first = taken(database, clock, table(path, {"A1": "x"}))

    second = taken(database, clock, table(path, {"A1": "z"}), ask=lambda batch, difference: "new")
    third = taken(database, clock, path, on_change="new")

    assert len({first.batch.id, second.batch.id, third.batch.id}) == 3


def test_a_name_ties_inputs_of_different_files_together(
    database: Database, clock: Clock, tmp_path: Path
) -> None:
    first = taken(database, clock, table(tmp_path / "monday.csv", {"A1": "x"}), name="nightly")

    second = taken(
        database,
        clock,
        table(tmp_path / "tuesday.csv", {"A1": "x", "A2": "y"}),
        name="nightly",
        ask=lambda batch, difference: "extend",
    )

    assert second.batch.id == first.batch.id
    assert second.batch.name == "nightly"


def test_a_cancelled_batch_is_asked_again_only_as_a_new_one(
    database: Database, clock: Clock, tmp_path: Path
) -> None:
    path = table(tmp_path / "p.csv", {"A1": "x"})
    first = taken(database, clock, path)
    cancel_jobs(database, Selection(batch_id=first.batch.id), clock=clock)

    with pytest.raises(Conflict, match="--new"):
        taken(database, clock, path)
    assert taken(database, clock, path, on_change="new").batch.id != first.batch.id


def test_lines_that_are_wrong_are_handed_out_where_the_others_go_on(
    database: Database, clock: Clock, tmp_path: Path
) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text('{"prompt": "a"}\n{"promt": "b"}\n\n{"prompt": "c"}\nnot json\n', encoding="utf-8")
    wrong: list[tuple[int, str]] = []

    def reject(problem: Problem, line: InputLine) -> None:
        wrong.append((line.line, problem.code))

    arrived = taken(database, clock, path, Submission(models=("m:1",)), reject=reject)

    assert counts(database, arrived) == {JobState.QUEUED: 2}
    assert arrived.rejected == 2
    assert [line for line, _ in wrong] == [2, 5]


def test_what_is_said_for_all_fills_gaps_or_replaces(
    database: Database, clock: Clock, tmp_path: Path
) -> None:
    path = tmp_path / "p.jsonl"
    line = {"prompt": "a", "model": "own:1", "options": {"num_ctx": 1024}, "priority": "high"}
    path.write_text(json.dumps(line) + "\n", encoding="utf-8")

    gaps = Submission(models=("m:1",), options={"num_ctx": 8192, "seed": 1}, priority="bulk")
    filled = taken(database, clock, path, gaps, on_change="new")
    replaced = taken(database, clock, path, with_fields(gaps, override=True), on_change="new")

    def keys(arrived: Receipt) -> list[tuple[str, int]]:
        with database.read() as conn:
            rows = conn.execute(
                text("SELECT runner_key, priority FROM jobs WHERE batch_id = :b"), {"b": arrived.batch.id}
            )
            return [(row[0], row[1]) for row in rows]

    assert keys(filled) == [("own:1 num_ctx=1024", 1)]
    assert keys(replaced) == [("m:1 num_ctx=8192", 3)]


@pytest.mark.parametrize(
    ("recipe", "told"),
    [
        (Submission(prompt="Sell {{ titel }}", models=("m:1",)), "did you mean"),
        (Submission(prompt="Sell it", models=("m:1",)), "{{"),
        (Submission(prompt="{{ title }}", id_column="id", models=("m:1",)), "--id"),
        (Submission(models=("m:1",)), "--prompt"),
        (Submission(prompt="{{ title }}", options={"num_ctxx": 1}), "num_ctx"),
    ],
)
def test_a_recipe_that_does_not_fit_the_input_is_refused_before_anything_is_stored(
    database: Database, clock: Clock, tmp_path: Path, recipe: Submission, told: str
) -> None:
    with pytest.raises(InputRefused) as refused:
        taken(database, clock, table(tmp_path / "p.csv", {"A1": "x"}), recipe)

    assert told in str(refused.value) or told in str(refused.value.problems[0])
    with database.read() as conn, pytest.raises(Exception, match="no batch"):
        batch_progress(conn, 1)


def test_a_row_whose_prompt_renders_blank_is_refused_by_its_line(
    database: Database, clock: Clock, tmp_path: Path
) -> None:
    with pytest.raises(InputRefused) as refused:
        taken(
            database,
            clock,
            table(tmp_path / "p.csv", {"A1": "x", "A2": " "}),
            with_fields(ASKED, prompt="{{ title }}"),
        )

    assert (refused.value.problems[0].line, refused.value.problems[0].code) == (3, "blank_prompt")


def test_metadata_that_changed_alone_asks_nothing_again_and_stands_in_the_results(
    database: Database, clock: Clock, tmp_path: Path
) -> None:
    path = tmp_path / "shop.csv"
    path.write_text("sku,title,price\nA,shoe,5\nB,hat,7\n")
    first = taken(database, clock, path)
    finish_all(database, clock)
    path.write_text("sku,title,price\nA,shoe,6\nB,hat,7\n")

    again = taken(database, clock, path)

    assert (again.batch.id, str(again.difference)) == (
        first.batch.id,
        "2 kept (1 with other metadata), 0 new, 0 changed",
    )
    assert [line["metadata"]["price"] for line in result_lines(database, Selection(first.batch.id))] == [
        "6",
        "7",
    ]
    assert claimed(database, clock) == []

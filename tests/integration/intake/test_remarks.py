"""What is said of an input as a whole, once for the batch."""

import json
from pathlib import Path
from typing import Any

import pytest

from api_schemas.submissions import Submission
from tests.door import submit_file
from worker.door.intake import Intake
from worker.door.rows import open_input
from worker.storage.engine import open_database


def test_stream_is_noted_once_for_a_batch_and_not_for_each_line(tmp_path: Path, migrated_url: str) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text('{"prompt":"a"}\n' + '{"prompt":"b","stream":false}\n' * 3)
    database = open_database(migrated_url)
    try:
        arrived = submit_file(database, path, Submission(models=("m:1",)))
    finally:
        database.close()

    (remark,) = arrived.remarks
    assert remark.startswith("stream has no effect")
    assert "3 lines" in remark
    assert "line 2" in remark
    assert (arrived.batch.jobs, arrived.noted) == (4, 0)


def remarks(path: Path, *lines: dict[str, Any], **recipe: Any) -> tuple[str, ...]:
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    given = Submission(**{"models": ("m:1",)} | recipe)
    intake = Intake(given)
    assert list(intake.read(open_input(path, given)))
    return intake.remarks()


def test_a_model_that_no_row_is_asked_of_is_noted(tmp_path: Path) -> None:
    own = {"prompt": "a", "model": "own:1"}

    (remark,) = remarks(tmp_path / "in.jsonl", own, own)

    assert remark.startswith("--model m:1 has no effect")
    assert "--override" in remark
    assert remarks(tmp_path / "in.jsonl", own, {"prompt": "b"}) == ()
    assert remarks(tmp_path / "in.jsonl", own, override=True) == ()


def test_fields_of_a_job_that_a_template_makes_metadata_of_are_noted(tmp_path: Path) -> None:
    line = {"text": "a", "options": {"temperature": 1}}

    (remark,) = remarks(tmp_path / "in.jsonl", line, {"text": "b"}, prompt="Sum up: {{ text }}")

    assert "options" in remark and "line 1" in remark


@pytest.mark.parametrize(
    ("prompt", "hidden"), [("Sum up: {{ text }}", True), ("{{ text }} {{ tools }}", False)]
)
def test_a_column_for_chats_that_a_template_makes_metadata_of_is_noted(
    tmp_path: Path, prompt: str, hidden: bool
) -> None:
    path = tmp_path / "in.csv"
    path.write_text("text,tools\na,[]\nb,\n")
    given = Submission(models=("m:1",), prompt=prompt, chat=True)
    intake = Intake(given)

    assert list(intake.read(open_input(path, given)))

    found = intake.remarks()
    assert bool(found) is hidden
    assert all("tools" in remark and "line 2" in remark for remark in found)


def test_a_system_for_all_rows_leaves_alone_those_that_have_their_own(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text('{"prompt": "a", "system": "own"}\n{"prompt": "b"}\n')

    def systems(**more: Any) -> list[str]:
        recipe = Submission(models=("m:1",), system="of all", render_system=True, **more)
        intake = Intake(recipe)
        return [job.request["system"] for job in intake.read(open_input(path, recipe))]

    assert systems() == ["own", "of all"]
    assert systems(override=True) == ["of all", "of all"]


def test_an_input_of_which_no_line_is_a_job_is_refused_with_the_first_reason(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text("[1]\n{]\n")
    submission = Submission(models=("m:1",), on_bad_line="skip")
    intake = Intake(submission)
    assert not list(intake.read(open_input(path, submission)))
    intake.check_whole()
    assert intake.problems.first[0].message.startswith(
        "none of the 2 lines is a job; line 1: expected one JSON object a line, got a list"
    )

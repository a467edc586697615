"""Images that a row names by a file."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from api_schemas.jobs import JobDefaults
from api_schemas.submissions import Submission
from worker.door.rows import InputLine, open_input
from worker.errors import InputRefused

PICTURE = b"\x89PNG picture"
AS_TEXT = base64.b64encode(PICTURE).decode()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "cup.png").write_bytes(PICTURE)
    (tmp_path / "empty.png").touch()
    (tmp_path / "words.png").write_text("a cup")
    return tmp_path


def lines(folder: Path, *jobs: dict[str, Any], **asked: Any) -> list[InputLine]:
    file = folder / "in.jsonl"
    file.write_text("".join(json.dumps(job) + "\n" for job in jobs))
    return list(open_input(file, Submission.of_defaults(JobDefaults(model="m"), **asked)))


def job(line: InputLine) -> dict[str, Any]:
    assert line.raw is not None, line.problem
    value: dict[str, Any] = json.loads(line.raw)
    return value


def test_a_file_beside_the_rows_becomes_its_base64_in_prompts_and_messages(folder: Path) -> None:
    turn = {"role": "user", "content": "What?", "images": ["file:cup.png", AS_TEXT]}

    prompt, chat, absolute = lines(
        folder,
        {"prompt": "What?", "images": ["file:cup.png"]},
        {"messages": [turn, {"role": "assistant", "content": "A cup."}]},
        {"prompt": "What?", "images": [f"file:{folder / 'cup.png'}"]},
    )

    assert job(prompt) == {"prompt": "What?", "images": [AS_TEXT]}
    assert job(chat)["messages"][0]["images"] == [AS_TEXT, AS_TEXT]
    assert job(absolute)["images"] == [AS_TEXT]


def test_a_column_of_a_table_may_name_files(folder: Path) -> None:
    file = folder / "in.csv"
    file.write_text('id,prompt,images\na,What?,"[""file:cup.png""]"\n')

    (line,) = open_input(file, Submission.of_defaults(JobDefaults(model="m"), id_column="id"))

    assert job(line)["images"] == [AS_TEXT]


@pytest.mark.parametrize(
    ("named", "told"),
    [
        ("file:nothing.png", "images: no file nothing.png"),
        ("file:empty.png", "empty.png is empty"),
        ("file:words.png", "words.png is not a PNG, JPEG, WebP, GIF or BMP image"),
        ("file:", "images: no file"),
    ],
)
def test_a_file_that_is_no_image_is_named_and_takes_no_other_row_with_it(
    folder: Path, named: str, told: str
) -> None:
    wrong, right = lines(folder, {"prompt": "What?", "images": [named]}, {"prompt": "And?"})

    assert wrong.problem is not None
    assert wrong.problem.field == "images"
    assert told in wrong.problem.message
    assert job(right) == {"prompt": "And?"}


def test_a_prompt_that_speaks_of_a_file_stays_as_it_is(folder: Path) -> None:
    (line,) = lines(folder, {"prompt": 'What is "file:cup.png"?', "metadata": {"image": "file:cup.png"}})

    assert job(line) == {"prompt": 'What is "file:cup.png"?', "metadata": {"image": "file:cup.png"}}


def test_columns_that_are_named_hold_paths_of_images_and_stay_as_they_are(folder: Path) -> None:
    file = folder / "in.csv"
    file.write_text("id,photo,title\na,cup.png,Cup\nb,,Pot\nc,gone.png,Pan\n")
    asked = Submission(models=("m",), prompt="Describe the {{ title }}.", image_columns=("photo",))

    shown, without, missing = open_input(file, asked)

    assert job(shown)["images"] == [AS_TEXT]
    assert job(shown)["metadata"] == {"id": "a", "photo": "cup.png", "title": "Cup"}
    assert "images" not in job(without) or job(without)["images"] == []
    assert missing.problem is not None
    assert (missing.line, missing.problem.message) == (
        4,
        f"images: no file gone.png, neither in {folder} nor here",
    )
    chat = next(iter(open_input(file, asked.model_copy(update={"chat": True}))))
    assert job(chat)["messages"] == [
        {"role": "user", "content": "Describe the Cup.", "images": [AS_TEXT]},
    ]
    with pytest.raises(InputRefused, match="did you mean 'photo'"):
        open_input(file, asked.model_copy(update={"image_columns": ("foto",)}))

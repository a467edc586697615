"""What ``caravan submit`` makes of inputs that come again, by a pipe or with lines that are left out."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from worker.cli.main import app


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CARAVAN_HOME", str(tmp_path / "home"))
    return tmp_path


def caravan(*arguments: str, **more: Any) -> Any:
    return CliRunner().invoke(app, list(arguments), **more)


def batches() -> list[tuple[str, int]]:
    listed = json.loads(caravan("status", "--json").stdout)
    return [(batch["name"], batch["total"]) for batch in listed]


def test_each_text_that_is_piped_is_a_batch_of_its_own_and_the_same_text_the_same_batch() -> None:
    for prompt in ("one", "two", "one"):
        done = caravan("submit", "-", "--model", "m:1", input=f'{{"prompt": "{prompt}"}}\n')
        assert done.exit_code == 0, done.output

    assert batches() == [("stdin", 1), ("stdin", 1)]


def test_with_a_name_a_piped_text_is_compared_with_the_one_before() -> None:
    command = ("submit", "-", "--model", "m:1", "--name", "ads")
    caravan(*command, input='{"prompt": "one"}\n')

    refused = caravan(*command, input='{"prompt": "two"}\n')
    extended = caravan(*command, "--extend", input='{"prompt": "two"}\n')

    assert (refused.exit_code, extended.exit_code) == (2, 0)
    assert batches() == [("ads", 1)]


def test_a_file_of_rejects_that_a_refused_command_wrote_is_written_again(folder: Path) -> None:
    (folder / "in.jsonl").write_text('{"promt": "a"}\n')
    command = ("submit", "in.jsonl", "--model", "m:1", "--on-bad-line", "skip")
    first = caravan(*command)
    (folder / "in.jsonl").write_text('{"promt": "a"}\n{"prompt": "b"}\n')

    again = caravan(*command)

    assert (first.exit_code, again.exit_code) == (2, 0), again.output
    assert len((folder / "in.rejects.jsonl").read_text().splitlines()) == 1


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (("--model", "n:1"), "--model"),
        (("--set", "temperature=0"), "--set temperature"),
        (("--prompt", "Praise {{ title }}"), "the prompt (--prompt, --template)"),
        (("--no-think",), "--think"),
        (("--image", "photo"), "--image"),
    ],
)
def test_the_same_rows_asked_otherwise_are_a_batch_of_their_own_and_the_message_says_what_differs(
    folder: Path, change: tuple[str, ...], part: str
) -> None:
    (folder / "in.csv").write_text("title,photo\nshoe,\nhat,\n")
    command = ("submit", "in.csv", "--prompt", "Sell {{ title }}", "--model", "m:1")
    changed = tuple(word for word in command if change[0] != "--model" or word not in ("--model", "m:1"))
    caravan(*command)

    done = caravan(*changed, *change)

    assert done.exit_code == 0, done.output
    assert batches() == [("in.csv", 2), ("in.csv", 2)]
    assert f"A new batch, because {part} differs from that of batch 1 (in.csv)" in " ".join(
        done.stderr.split()
    )
    assert caravan(*command).stdout == "1\n"
    assert caravan(*changed, *change).stdout == "2\n"


def test_changed_rows_are_compared_with_the_batch_that_was_asked_in_the_same_way(folder: Path) -> None:
    rows = folder / "in.csv"
    rows.write_text("title\nshoe\nhat\n")
    command = ("submit", "in.csv", "--prompt", "Sell {{ title }}", "--model")
    caravan(*command, "m:1")
    caravan(*command, "n:1")
    rows.write_text("title\nshoe\ncap\n")

    refused = caravan(*command, "m:1")
    extended = caravan(*command, "m:1", "--extend")

    assert refused.exit_code == 2
    assert "batch 1 (in.csv) asked this input before its rows changed: 1 kept, 0 new, 1 changed (line-3)" in (
        refused.stderr
    )
    assert (extended.stdout, batches()) == ("1\n", [("in.csv", 2), ("in.csv", 2)])


def test_changed_rows_with_images_are_compared_too(folder: Path) -> None:
    rows = folder / "in.csv"
    rows.write_text("title,photo\nshoe,\nhat,\n")
    command = ("submit", "in.csv", "--prompt", "Sell {{ title }}", "--model", "m:1", "--image", "photo")
    caravan(*command)
    rows.write_text("title,photo\nshoe,\ncap,\n")

    refused = caravan(*command)

    assert refused.exit_code == 2, refused.stderr
    assert "asked this input before its rows changed: 1 kept, 0 new, 1 changed (line-3)" in refused.stderr


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("in.csv", "question,after\nWhy?,7\nAnd?,\n"),
        ("in.jsonl", '{"question": "Why?", "after": 7}\n{"question": "And?"}\n'),
    ],
)
def test_rows_that_would_follow_others_do_not_beside_a_template_and_the_command_says_so(
    folder: Path, name: str, text: str
) -> None:
    (folder / name).write_text(text)
    command = ("submit", name, "--chat", "--model", "m:1", "--prompt")

    hidden = caravan(*command, "{{ question }}")
    shown = caravan(*command, "{{ question }} {{ after }}", "--name", "other")

    first = 2 if name == "in.csv" else 1
    assert (
        "after is metadata beside a template, so these rows follow no job; with a column prompt in place of the "
        f"template they do (line {first})" in " ".join(hidden.stderr.split())
    )
    assert "follow no job" not in shown.stderr


def test_a_setting_that_no_row_takes_and_a_priority_make_no_new_batch(folder: Path) -> None:
    (folder / "in.jsonl").write_text('{"prompt": "a", "model": "own:1", "think": false}\n')
    caravan("submit", "in.jsonl", "--model", "m:1")

    assert caravan("submit", "in.jsonl", "--model", "n:1").stdout == "1\n"
    assert caravan("submit", "in.jsonl", "--model", "m:1", "--priority", "high").stdout == "1\n"


def test_a_refused_command_leaves_no_batch_behind(folder: Path) -> None:
    (folder / "good.jsonl").write_text('{"prompt": "a"}\n')
    (folder / "bad.jsonl").write_text('{"prompt": "a"}\n{"prompt": 3}\n')
    caravan("submit", "good.jsonl", "--model", "m:1")

    refused = caravan("submit", "bad.jsonl", "--model", "m:1")

    assert refused.exit_code == 2
    assert batches() == [("good.jsonl", 1)]
    assert json.loads(caravan("status", "@last", "--json").stdout)["name"] == "good.jsonl"


def test_rows_that_are_no_longer_in_the_input_stay_until_they_are_dropped(folder: Path) -> None:
    rows = folder / "in.csv"
    rows.write_text("id,title\n1,shoe\n2,hat\n3,cap\n")
    command = ("submit", "in.csv", "--prompt", "Sell {{ title }}", "--id", "id", "--model", "m:1", "--extend")
    caravan(*command)
    rows.write_text("id,title\n1,shoe\n3,cap\n")

    def ids() -> list[str]:
        listed = json.loads(caravan("jobs", "1", "--json").stdout)
        return [job["custom_id"] for job in listed]

    stayed = caravan(*command)
    assert "1 no longer in the input (they stay; --drop-missing deletes them)" in stayed.stderr
    assert ids() == ["1", "2", "3"]

    dropped = caravan(*command, "--drop-missing")
    assert "1 no longer in the input (deleted)" in dropped.stderr, dropped.output
    assert ids() == ["1", "3"]
    assert "no longer" not in caravan(*command, "--drop-missing").stderr
    assert caravan(*command[:-1], "--drop-missing").exit_code == 2


def test_another_priority_of_a_named_batch_is_no_other_batch(folder: Path) -> None:
    (folder / "in.jsonl").write_text('{"prompt": "a"}\n')
    command = ("submit", "in.jsonl", "--model", "m:1")
    caravan(*command, "--name", "ads")

    done = caravan(*command, "--priority", "high")

    assert done.exit_code == 0 and batches() == [("ads", 1)]


def test_a_command_without_a_model_asks_for_it_once(folder: Path) -> None:
    (folder / "in.jsonl").write_text('{"prompt": "a"}\n' * 9)

    assert caravan("submit", "in.jsonl").stderr == "caravan: give --model MODEL\n"

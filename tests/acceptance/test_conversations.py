"""Conversations as a person has them answered: each turn goes on from the one before."""

import json
from pathlib import Path

import pytest

import simulator
from tests.acceptance.conftest import caravan
from tests.repo.docs.pages import DOCS, blocks

Environment = dict[str, str]
Hosts = tuple[simulator.RunningHost, ...]
REASONER = "deepseek-r1:8b"


def read(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def write(path: Path, lines: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_fifty_conversations_of_four_turns_are_each_built_on_the_turn_before(
    environment: Environment, hosts: Hosts, tmp_path: Path
) -> None:
    lines: list[dict[str, object]] = []
    for chain in range(50):
        for turn in range(1, 5):
            line: dict[str, object] = {
                "custom_id": f"{chain}-{turn}",
                "model": REASONER,
                "prompt": f"Turn {turn} of talk {chain}: and then?",
                "options": {"seed": chain, "num_predict": 60},
            }
            lines.append(line | ({"after": f"{chain}-{turn - 1}"} if turn > 1 else {}))
    file = write(tmp_path / "talks.jsonl", lines)

    caravan("run", str(file), "--host", hosts[0].url, env=environment)
    caravan(
        *["results", "@last", "-o", str(tmp_path / "out.jsonl"), "--with", "context,reasoning"],
        env=environment,
    )

    answers = {str(line["custom_id"]): line for line in read(tmp_path / "out.jsonl")}
    assert len(answers) == 200
    assert all(line["state"] == "succeeded" and line["reasoning"] for line in answers.values())
    for chain in range(50):
        for turn in range(2, 5):
            before, now = (answers[f"{chain}-{n}"]["context"] for n in (turn - 1, turn))
            assert isinstance(before, list)
            assert isinstance(now, list)
            assert now[: len(before)] == before
            assert len(now) > len(before)
    assert len({tuple(line["context"]) for line in answers.values()}) == 200  # type: ignore[arg-type]
    check = caravan("db", "check", env=environment)
    assert "wrong" not in check.stdout
    assert int(hosts[0].state()["loads"]) == 1


@pytest.mark.parametrize(
    ("second", "told"),
    [
        ({"after": "c9"}, "line 2: after: no line that was read has the custom_id 'c9'"),
        ({"after": 99}, "line 2: after: there is no job 99"),
        ({"after": "c2"}, "line 2: after: a job cannot wait for itself"),
        ({"after": ["c1", "c3"], "carry": "context"}, "line 2: carry: 2 jobs have 2 contexts"),
        ({"after": "c3"}, "after: these wait for each other: c"),
        (
            {"after": "c1", "raw": True},
            "line 2: after: goes on from the context of that job, which excludes raw",
        ),
        ({"after": "c1", "model": REASONER}, "a context goes only to the model it came from"),
        ({"carry": "none"}, "line 2: carry: means nothing without after"),
        ({"after": []}, "line 2: after: expected a custom_id of this input, the number of a job, or a list"),
    ],
)
def test_what_no_conversation_can_be_is_refused_with_its_line(
    environment: Environment, hosts: Hosts, tmp_path: Path, second: dict[str, object], told: str
) -> None:
    lines: list[dict[str, object]] = [
        {"custom_id": f"c{n}", "model": "llama3.2:3b", "prompt": "Say."} for n in (1, 2, 3)
    ]
    lines[1] |= second
    lines[2] |= {"after": "c2"}

    done = caravan(
        "run", str(write(tmp_path / "in.jsonl", lines)), "--host", hosts[0].url, env=environment, check=False
    )

    assert done.returncode == 2
    assert told in " ".join(done.stderr.split())
    assert int(hosts[0].state()["requests"]) == 0


def test_the_conversation_of_the_page_is_answered_as_it_says(
    environment: Environment, hosts: Hosts, tmp_path: Path
) -> None:
    example = next(blocks(DOCS / "howto/conversations.md", "jsonl")).text
    file = tmp_path / "talk.jsonl"
    file.write_text(example)

    caravan("run", str(file), "--host", hosts[0].url, "-o", str(tmp_path / "out.jsonl"), env=environment)

    lines = read(tmp_path / "out.jsonl")
    assert [line["state"] for line in lines] == ["succeeded"] * len(example.splitlines())


def test_a_conversation_that_was_added_to_an_input_goes_on_from_what_was_answered_before(
    environment: Environment, hosts: Hosts, tmp_path: Path
) -> None:
    first: dict[str, object] = {"custom_id": "c1", "model": "llama3.2:3b", "prompt": "Say."}
    file = write(tmp_path / "in.jsonl", [first])
    caravan("run", str(file), "--host", hosts[0].url, env=environment)

    write(file, [first, {"custom_id": "c2", "model": "llama3.2:3b", "prompt": "And?", "after": "c1"}])
    caravan(
        *["run", str(file), "--host", hosts[0].url, "--extend", "-o", str(tmp_path / "out.jsonl")],
        env=environment,
    )

    assert [line["state"] for line in read(tmp_path / "out.jsonl")] == ["succeeded"] * 2
    assert int(hosts[0].state()["requests"]) == 2


def test_turns_that_are_asked_again_follow_each_other_again(
    environment: Environment, hosts: Hosts, tmp_path: Path
) -> None:
    lines: list[dict[str, object]] = [
        {"custom_id": "c1", "model": "llama3.2:3b", "prompt": "Say."},
        {"custom_id": "c2", "model": "llama3.2:3b", "prompt": "And?", "after": "c1"},
    ]
    caravan("run", str(write(tmp_path / "in.jsonl", lines)), "--host", hosts[0].url, env=environment)

    caravan(
        *["run", "--from", "@last", "--model", "qwen2.5:7b", "--host", hosts[0].url],
        *["-o", str(tmp_path / "out.jsonl")],
        env=environment,
    )
    caravan("results", "@last", "-o", str(tmp_path / "full.jsonl"), "--with", "context", env=environment)

    one, two = (line["context"] for line in read(tmp_path / "full.jsonl"))
    assert two[: len(one)] == one  # type: ignore[index, arg-type]

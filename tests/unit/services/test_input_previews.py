"""What is said of an input before it is asked, and what is refused that no model here can do."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from api_schemas.submissions import Submission
from worker.door.intake import Intake
from worker.door.preview import summary, warnings
from worker.door.rows import open_input
from worker.storage.models import ModelFacts

PLAIN = "llama3.2:3b"
TOLD = {
    PLAIN: ModelFacts(False, 1000, frozenset({"completion"})),
    "qwen3:8b": ModelFacts(True, 40_960, frozenset({"completion", "thinking", "tools", "vision"})),
    "old:1b": ModelFacts(False, 2048, None),
}


def read(folder: Path, name: str, text: str, told: Mapping[str, ModelFacts] = TOLD, **asked: Any) -> Intake:
    (folder / name).write_text(text)
    submission = Submission(**{"models": (PLAIN,), **asked})
    intake = Intake(submission, model_facts=told)
    for _ in intake.read(open_input(folder / name, submission)):
        pass
    return intake


TABLE = "id,title,price,note\n1,Cup,3,\n2,,,\n3,Pot, ,x\n"


def test_rows_empty_cells_and_the_longest_prompt_are_counted_in_the_one_reading(tmp_path: Path) -> None:
    prompt = "Sell {{ title }} at {{ price }}{% if note %} ({{ note }}){% endif %} {{ id|default('') }}"

    preview = read(tmp_path, "a.csv", TABLE, prompt=prompt).preview

    assert preview.empty == {"title": (1, 3), "price": (2, 3)}
    assert summary(preview) == (
        "3 rows; the longest prompt has about 7 tokens (line 4); llama3.2:3b takes 1,000."
    )
    assert warnings(preview) == ["Empty cells: 2 in price (first line 3), 1 in title (first line 3)."]


def test_prompts_over_the_window_are_warned_of_for_each_model(tmp_path: Path) -> None:
    lines = "".join(json.dumps({"prompt": "word " * n}) + "\n" for n in (10, 900, 700))

    intake = read(tmp_path, "a.jsonl", lines, models=(PLAIN, "qwen3:8b"))

    assert summary(intake.preview).endswith("llama3.2:3b takes 1,000, qwen3:8b takes 40,960.")
    assert warnings(intake.preview) == [
        "2 prompts are probably longer than the 1,000 tokens that llama3.2:3b takes; the longest has about 1,500 (line 2)."
    ]


def test_a_window_that_is_named_counts_where_it_is_the_smaller(tmp_path: Path) -> None:
    line = json.dumps({"prompt": "word " * 900}) + "\n"
    named = read(tmp_path, "a.jsonl", line, models=("qwen3:8b",), options={"num_ctx": 512})
    assert "longer than the 512 tokens that qwen3:8b takes" in warnings(named.preview)[0]


TOOL = {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}
IMAGE = "iVBORw0KGgo="


@pytest.mark.parametrize(
    ("job", "field", "words"),
    [
        ({"prompt": "x", "think": True}, "think", "cannot reason"),
        ({"prompt": "x", "images": [IMAGE]}, "images", "sees no images"),
        ({"messages": [{"role": "user", "content": "x"}], "tools": [TOOL]}, "tools", "calls no tools"),
        ({"messages": [{"role": "user", "content": "x", "images": [IMAGE]}]}, "images", "sees no images"),
    ],
)
def test_what_no_host_tells_of_a_model_is_refused_once_with_one_that_can(
    tmp_path: Path, job: dict[str, Any], field: str, words: str
) -> None:
    lines = (json.dumps(job) + "\n") * 3

    (problem,) = read(tmp_path, "a.jsonl", lines).problems.first

    assert (problem.line, problem.field, problem.code) == (1, field, "unsupported")
    assert problem.message.startswith(f"{PLAIN} {words}, as its hosts say")
    assert problem.message.endswith("ask one that does: qwen3:8b")
    assert "--think" not in problem.message, "the line says it, and no option"
    for model in ("qwen3:8b", "old:1b", "unknown:1b"):
        assert not read(tmp_path, "a.jsonl", lines, models=(model,)).problems


def test_an_option_that_no_host_tells_of_a_model_is_named_as_the_option(tmp_path: Path) -> None:
    (problem,) = read(tmp_path, "a.jsonl", '{"prompt": "x"}\n', think=True).problems.first

    assert (problem.line, "leave --think out" in problem.message) == (0, True)


def test_lines_that_ask_too_much_are_left_out_one_by_one_where_bad_lines_are(tmp_path: Path) -> None:
    lines = '{"prompt": "a", "think": true}\n{"prompt": "b"}\n{"prompt": "c", "think": true}\n'
    intake = read(tmp_path, "a.jsonl", lines, on_bad_line="skip")
    assert (intake.rejected, intake.accepted, intake.problems.first) == (2, 1, [])

"""What a model may be made of: a host ignores what it does not know, so it is checked before."""

import json
from pathlib import Path
from typing import Any

import pytest

from worker.errors import InputRefused
from worker.hosts.recipes import checked_recipe, parameter, read_recipe


def messages(recipe: dict[str, Any]) -> list[str]:
    with pytest.raises(InputRefused) as raised:
        checked_recipe(recipe)
    return [problem.message for problem in raised.value.problems]


def test_a_recipe_that_a_host_understands_is_taken_as_it_is() -> None:
    recipe = {
        "from": "qwen3:8b",
        "system": "Be brief.",
        "parameters": {"num_ctx": 8192, "stop": ["END"], "temperature": 0.5},
        "quantize": "q4_k_m",
    }

    assert checked_recipe(recipe) == recipe | {"quantize": "Q4_K_M"}


def test_a_parameter_that_a_host_would_swallow_is_refused_with_the_one_that_was_meant() -> None:
    (message,) = messages({"from": "qwen3:8b", "parameters": {"num_ctxx": 8192}})

    assert "'num_ctxx' is not a parameter that a host knows" in message
    assert "did you mean 'num_ctx'?" in message


def test_everything_that_is_wrong_is_said_at_once() -> None:
    found = messages(
        {"form": "qwen3:8b", "parameters": {"mirostat": 1, "num_ctx": "many"}, "quantize": "q9", "system": 7}
    )

    assert len(found) == 6
    assert any("did you mean 'from'?" in message for message in found)
    assert any("no server reads it any more" in message for message in found)
    assert any("parameters.num_ctx" in message for message in found)
    assert any("Expected one of F32, F16" in message for message in found)
    assert any("system: expected a text" in message for message in found)
    assert any("from: missing" in message for message in found)


def test_a_stop_text_alone_is_taken_as_a_host_takes_it() -> None:
    assert checked_recipe({"from": "a", "parameters": {"stop": "END"}})["parameters"] == {"stop": "END"}


def test_values_on_the_command_line_are_numbers_where_they_look_like_ones() -> None:
    assert parameter("num_ctx=8192") == ("num_ctx", 8192)
    assert parameter("stop=END") == ("stop", "END")
    with pytest.raises(InputRefused, match="expected NAME=VALUE"):
        parameter("num_ctx")


@pytest.mark.parametrize("content", ["FROM qwen3:8b", "[1]", "{"])
def test_a_file_that_is_no_object_says_what_was_expected(tmp_path: Path, content: str) -> None:
    file = tmp_path / "recipe.json"
    file.write_text(content)

    with pytest.raises(InputRefused, match="xpected"):
        read_recipe(file)


def test_a_recipe_is_read_from_json(tmp_path: Path) -> None:
    file = tmp_path / "recipe.json"
    file.write_text(json.dumps({"from": "a"}))

    assert read_recipe(file) == {"from": "a"}

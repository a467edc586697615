"""What may be said by name in Python, and the recipe that it makes."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy
import pytest
from pydantic import BaseModel

from worker.client import asked
from worker.errors import InputRefused


class Shape(BaseModel):
    mood: str


def test_a_template_is_a_text_with_braces_or_a_file(tmp_path: Path) -> None:
    file = tmp_path / "t.j2"
    file.write_text("Sell {{ title }}.")

    from_text = asked(template="Sell {{ title }}.").recipe
    from_path = asked(template=file).recipe
    from_name = asked(template=str(file)).recipe
    from_prompt = asked(prompt="Sell {{ title }}.").recipe

    assert from_text.prompt == from_path.prompt == from_name.prompt == from_prompt.prompt
    assert (from_text.prompt_source, from_path.prompt_source) == ("template", str(file))


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(InputRefused, match=r"nowhere\.j2"):
        asked(template="nowhere.j2")


def test_several_models_are_each_asked_and_named_twice_once() -> None:
    assert asked(model="a").recipe.models == ("a",)
    assert asked(model=["a", "b", "a"]).recipe.models == ("a", "b")
    assert asked().recipe.models == ()


def test_a_system_prompt_is_a_template_only_where_there_is_one() -> None:
    plain = asked(system="Write {{ this }}.").recipe
    templated = asked(system="You sell {{ title }}.", prompt="Sell {{ title }}.").recipe

    assert (plain.system, plain.defaults.system) == (None, "Write {{ this }}.")
    assert (templated.system, templated.defaults.system) == ("You sell {{ title }}.", None)


def test_values_of_other_libraries_become_plain() -> None:
    defaults = asked(format=Shape, options={"seed": numpy.int64(1)}).recipe.defaults

    assert defaults.format == Shape.model_json_schema()
    assert defaults.options == {"seed": 1}


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"options": {"stop": {"a"}}}, "options: a value of type set"),
        ({"prompt": "{{ a }}", "template": "{{ a }}"}, "prompt and template both"),
        ({"limit": 0}, "limit: expected a whole number from 1, got 0"),
        ({"max_failures": "many"}, "max-failures"),
        ({"model": ["a", ""]}, "model"),
        ({"format": {"type": "text"}}, "format"),
    ],
)
def test_what_cannot_be_meant_is_refused(said: dict[str, Any], told: str) -> None:
    with pytest.raises(InputRefused, match=told):
        asked(**said)


@pytest.mark.parametrize(
    ("keep", "kept"),
    [
        ("30d", timedelta(days=30)),
        (timedelta(hours=2), timedelta(hours=2)),
        ("forever", timedelta(0)),
        (None, None),
    ],
)
def test_a_batch_is_kept_as_long_as_it_was_said(keep: Any, kept: timedelta | None) -> None:
    assert asked(keep=keep).keep == kept


@pytest.mark.parametrize("keep", ["30", "soon", timedelta(days=-1)])
def test_a_time_to_keep_that_is_none_is_refused(keep: Any) -> None:
    with pytest.raises(InputRefused, match="keep"):
        asked(keep=keep)


def test_stored_answers_are_taken_where_that_is_asked_for() -> None:
    assert asked(reuse="any").recipe.defaults.reuse == "any"
    assert asked(reuse=True).recipe.kept == asked().recipe.kept  # it is the same batch
    with pytest.raises(InputRefused, match="reuse"):
        asked(reuse="sometimes")  # type: ignore[arg-type]

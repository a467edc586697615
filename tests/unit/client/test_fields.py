"""What may be said by name in Python, and the recipe that it makes."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy
import pytest
from pydantic import BaseModel

from api_schemas.submissions import Submission, SubmissionFields
from worker.client import Fields, submission_of
from worker.errors import InputRefused


class Shape(BaseModel):
    mood: str


def test_a_template_is_a_text_with_braces_or_a_file(tmp_path: Path) -> None:
    file = tmp_path / "t.j2"
    file.write_text("Sell {{ title }}.")

    from_text = submission_of(template="Sell {{ title }}.")
    from_path = submission_of(template=file)
    from_name = submission_of(template=str(file))
    from_prompt = submission_of(prompt="Sell {{ title }}.")

    assert from_text.prompt == from_path.prompt == from_name.prompt == from_prompt.prompt
    assert (from_text.prompt_source, from_path.prompt_source) == ("template", str(file))


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(InputRefused, match=r"nowhere\.j2"):
        submission_of(template="nowhere.j2")


def test_several_models_are_each_asked_and_named_twice_once() -> None:
    assert submission_of(model="a").models == ("a",)
    assert submission_of(model=["a", "b", "a"]).models == ("a", "b")
    assert submission_of().models == ()


def test_a_system_prompt_is_a_template_only_where_there_is_one() -> None:
    plain = submission_of(system="Write {{ this }}.")
    templated = submission_of(system="You sell {{ title }}.", prompt="Sell {{ title }}.")

    assert (plain.system_template, plain.defaults.system) == (None, "Write {{ this }}.")
    assert (templated.system_template, templated.defaults.system) == ("You sell {{ title }}.", None)


def test_values_of_other_libraries_become_plain() -> None:
    defaults = submission_of(format=Shape, options={"seed": numpy.int64(1)}).defaults

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
        submission_of(**said)


@pytest.mark.parametrize(
    ("keep", "kept"),
    [
        ("30d", "30d"),
        (timedelta(hours=2), "7200s"),
        (timedelta(0), "forever"),
        ("forever", "forever"),
        (None, None),
    ],
)
def test_a_batch_is_kept_as_long_as_it_was_said(keep: Any, kept: str | None) -> None:
    assert submission_of(keep=keep).keep == kept


@pytest.mark.parametrize("keep", ["30", "soon", timedelta(days=-1)])
def test_a_time_to_keep_that_is_none_is_refused(keep: Any) -> None:
    with pytest.raises(InputRefused, match="keep"):
        submission_of(keep=keep)


def test_stored_answers_are_taken_where_that_is_asked_for() -> None:
    assert submission_of(reuse="any").defaults.reuse == "any"
    assert submission_of(reuse=True).recipe == submission_of().recipe  # it is the same batch
    with pytest.raises(InputRefused, match="reuse"):
        submission_of(reuse="sometimes")  # type: ignore[arg-type]


def test_every_field_of_a_submission_may_be_said_by_name_but_for_those_that_belong_to_files_and_commands() -> (
    None
):
    of_files = {"prompt_source", "render_system", "encoding", "quote", "delimiter", "sheet"}
    of_commands = {"models", "on_change", "pull_missing", "notices", "max_attempts"}

    assert set(SubmissionFields.__annotations__) == Submission.model_fields.keys() - of_files - of_commands
    assert set(Fields.__annotations__) - set(SubmissionFields.__annotations__) == {
        *("model", "template", "new", "extend")
    }


def test_fields_of_a_submission_are_said_by_their_names() -> None:
    submission = submission_of(chat=True, sample=3, window=("mon-fri 20:00-06:00",), tz="Europe/Berlin")

    assert (submission.chat, submission.sample, submission.tz) == (True, 3, "Europe/Berlin")
    with pytest.raises(TypeError, match="'modle'; did you mean 'model'"):
        submission_of(modle="m:1")  # type: ignore[call-arg]
    with pytest.raises(InputRefused, match="sample"):
        submission_of(sample=0)

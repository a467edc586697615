import json
from typing import Any

import pytest

from api_schemas.job_line import FIELDS
from api_schemas.jobs import ParsedLine, read_job_line
from worker.documents.job_lines import column_problems, job_values


def job(values: dict[str, Any], **given: Any) -> dict[str, Any]:
    asked: dict[str, Any] = {"prompt": None, "system": None, "id_column": None, "reserved": FIELDS} | given
    return job_values(values, **asked)


def test_with_a_template_every_column_but_the_id_becomes_metadata() -> None:
    values = {"sku": "A-1", "model": "Air Max", "text": "shoe", "size": None}

    assert job(values, prompt="Describe shoe", system="Be brief", id_column="sku") == {
        "prompt": "Describe shoe",
        "system": "Be brief",
        "custom_id": "A-1",
        "metadata": {"model": "Air Max", "text": "shoe", "size": None},
    }


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (12, "12"),
        (12.0, "12"),
        (12.5, "12.5"),
        (" A-1 ", "A-1"),
        ("007", "007"),
        (None, ""),
        ("", ""),
        (True, "true"),
        ([1, "ä"], '[1, "ä"]'),
    ],
)
def test_an_id_is_text_and_a_whole_number_has_no_point(value: Any, text: str) -> None:
    made = job({"id": value}, prompt="x", id_column="id")
    own = {} if isinstance(value, str | None) else {"metadata": {"id": value}}
    assert made == {"prompt": "x", "custom_id": text, **own}


def test_without_a_template_columns_named_as_fields_are_those_fields() -> None:
    values = {
        "prompt": "Say hello",
        "model": "qwen3:8b",
        "system": "",
        "priority": "high",
        "custom_id": 7.0,
        "options": '{"num_ctx": 8192}',
        "format": "json",
        "think": "TRUE",
        "keep_alive": "5m",
        "deadline": None,
        "note": "",
    }

    assert job(values) == {
        "prompt": "Say hello",
        "model": "qwen3:8b",
        "priority": "high",
        "custom_id": "7",
        "options": {"num_ctx": 8192},
        "format": "json",
        "think": True,
        "keep_alive": "5m",
        "metadata": {"note": ""},
    }


def test_such_a_job_is_one_that_the_reader_of_lines_takes() -> None:
    values = {"prompt": "Say {}", "model": "m", "format": '{"type": "object"}', "images": "", "colour": "red"}

    parsed = read_job_line(json.dumps(job(values)), line=3)

    assert isinstance(parsed, ParsedLine)
    assert parsed.request == {"format": {"type": "object"}}
    assert parsed.metadata == {"colour": "red"}


def test_an_empty_id_and_an_empty_prompt_are_refused_by_the_reader_of_lines() -> None:
    parsed = read_job_line(json.dumps(job({"prompt": " ", "model": "m", "id": ""}, id_column="id")), line=3)

    assert isinstance(parsed, list)
    assert {problem.field for problem in parsed} == {"prompt", "custom_id"}


def test_a_column_of_metadata_is_joined_by_the_other_columns() -> None:
    values = {"prompt": "x", "metadata": '{"a": 1, "b": 2}', "b": "column"}

    assert job(values)["metadata"] == {"a": 1, "b": 2}


def test_metadata_that_is_no_object_is_left_for_the_reader_to_refuse() -> None:
    assert job({"prompt": "x", "metadata": "text", "b": "column"})["metadata"] == "text"


def test_a_table_without_template_and_prompt_is_refused_with_an_example() -> None:
    (problem,) = column_problems(("Product name", "text"), templated=False, id_column=None)

    assert problem.code == "no_prompt"
    assert problem.message == (
        "no column named prompt; say how a prompt is made of 'Product name', 'text': "
        "--prompt '{{ row[\"Product name\"] }}'"
    )


def test_an_id_column_that_is_not_there_is_refused_with_the_nearest() -> None:
    (problem,) = column_problems(("Product name", "text"), templated=True, id_column="product_name")

    assert problem.message == "--id: no column 'product_name'; did you mean 'Product name'?"
    assert column_problems(("text", "prompt"), templated=False, id_column="text") == []

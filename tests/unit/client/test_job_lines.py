"""What a producer may give as jobs, and what becomes of it: job lines, rows, problems by place."""

import io
import json
from datetime import UTC, date, datetime
from types import MappingProxyType
from typing import Any

import numpy
import pandas
import pytest
from pydantic import BaseModel

from worker.client.job_lines import write_lines
from worker.errors import InputRefused, Problem


def written(jobs: Any, *, rows: bool = False) -> list[Any]:
    out = io.BytesIO()
    written = write_lines(jobs, out, rows=rows)
    lines = out.getvalue().splitlines()
    assert written.problems == {}
    assert written.count == len(lines)
    return [json.loads(line) for line in lines]


def problems(jobs: Any) -> dict[int, Problem]:
    return write_lines(jobs, io.BytesIO(), rows=False).problems


class Shape(BaseModel):
    mood: str


class Job(BaseModel):
    prompt: str
    priority: str | None = None
    deadline: datetime | None = None


def test_texts_dictionaries_and_models_become_job_lines() -> None:
    jobs = ["a\nb", {"prompt": "c"}, Job(prompt="d", deadline=datetime(2026, 1, 2, tzinfo=UTC))]

    assert written(iter(jobs)) == [
        {"prompt": "a\nb"},
        {"prompt": "c"},
        {"prompt": "d", "deadline": "2026-01-02T00:00:00Z"},
    ]


def test_a_class_within_a_job_is_its_schema_and_json_stays() -> None:
    lines = written([{"prompt": "a", "format": Shape}, {"prompt": "b", "format": "json"}])

    assert lines[0]["format"] == Shape.model_json_schema()
    assert lines[1]["format"] == "json"


def test_values_that_json_does_not_know_are_written_as_what_they_mean() -> None:
    metadata = {
        "count": numpy.int64(3),
        "vector": numpy.array([1.5, 2]),
        "day": date(2026, 1, 2),
        "shape": Shape(mood="glad"),
        "view": MappingProxyType({"a": 1}),
        "pair": (1, 2),
    }

    (line,) = written([{"prompt": "x", "metadata": metadata}])

    assert line["metadata"] == {
        "count": 3,
        "vector": [1.5, 2.0],
        "day": "2026-01-02",
        "shape": {"mood": "glad"},
        "view": {"a": 1},
        "pair": [1, 2],
    }


def test_columns_that_are_fields_are_fields_and_empty_cells_are_absent() -> None:
    table = pandas.DataFrame(
        {
            "custom_id": [1, 2],
            "prompt": ["x", "y"],
            "priority": ["high", None],
            "options": [{"seed": 7}, '{"seed": 8}'],
            "stars": [5, None],
            "seen": [pandas.Timestamp("2026-01-02"), pandas.NaT],
            "tags": [numpy.array(["a", "b"]), None],
            "whole": pandas.array([4, None], dtype="Int64"),
        }
    )

    assert written(table) == [
        {
            "custom_id": "1",
            "prompt": "x",
            "priority": "high",
            "options": {"seed": 7},
            "metadata": {"stars": 5.0, "seen": "2026-01-02T00:00:00", "tags": ["a", "b"], "whole": 4},
        },
        {"custom_id": "2", "prompt": "y", "options": {"seed": 8}},
    ]


def test_two_columns_of_one_name_are_refused() -> None:
    table = pandas.DataFrame([["x", "y"]], columns=["prompt", "prompt"])

    with pytest.raises(InputRefused, match="several columns are named 'prompt'"):
        written(table)


@pytest.mark.parametrize("one", ["hello", b"hello", {"prompt": "x"}, Job(prompt="x")])
def test_one_job_without_a_list_around_it_is_refused(one: Any) -> None:
    with pytest.raises(InputRefused, match="expected a list of jobs"):
        written(one)


def test_what_cannot_be_a_line_is_a_problem_at_its_place_and_the_others_are_looked_at() -> None:
    itself: dict[str, Any] = {"prompt": "x"}
    itself["metadata"] = itself

    found = problems(["fine", 7, {"prompt": "x", "metadata": {"a": {1}}}, "fine", itself])

    assert sorted(found) == [2, 3, 5]
    assert "got int" in found[2].message
    assert "a value of type set has no form in JSON" in found[3].message


def test_endless_bad_jobs_are_not_all_read() -> None:
    read = []

    def endless() -> Any:
        while True:
            read.append(7)
            yield 7

    assert len(problems(endless())) == len(read) == 20


def test_a_lone_surrogate_is_written_escaped() -> None:
    assert written(["a\ud800"]) == [{"prompt": "a\ud800"}]


def test_rows_stay_as_they_are_with_what_they_leave_empty() -> None:
    table = pandas.DataFrame({"title": ["x", "y"], "stars": [5, None], "options": ["a", None]})

    assert written(table, rows=True) == [
        {"title": "x", "stars": 5.0, "options": "a"},
        {"title": "y", "stars": None, "options": None},
    ]
    assert written([Job(prompt="x")], rows=True) == [{"prompt": "x", "priority": None, "deadline": None}]
    assert written(["a text"], rows=True) == [{"prompt": "a text"}]

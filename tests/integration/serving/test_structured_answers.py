"""Answers in a ``format``, from a simulated Ollama into both databases."""

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest

import simulator
from tests.integration.serving.test_serve import add, serve, simulated, submit
from worker.clock import Clock
from worker.domain.batches import Batch
from worker.domain.selection import Selection
from worker.errors import Code
from worker.exports.files import ResultWriter
from worker.exports.results import result_lines
from worker.storage.engine import Database

REASONS = "deepseek-r1:8b"
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
NEVER = {
    "type": "object",
    "properties": {"a": {"type": "string", "maxLength": 1}},
    "required": ["a"],
}
DOCS = Path(__file__).parents[3] / "docs"


def asked(
    database: Database, clock: Clock, jobs: list[dict[str, Any]], **settings: Any
) -> tuple[Batch, list[dict[str, Any]], dict[str, Any]]:
    with simulator.running(simulated(**settings)) as (running,):
        host = add(database, clock, running)
        batch = submit(database, clock, jobs)
        serve(database, clock, host)
        return batch, list(result_lines(database, Selection(batch.id))), running.state()


@pytest.mark.parametrize("line", ["O", "H"])
def test_a_model_that_reasons_thinks_first_and_is_held_to_the_schema_then(
    database: Database, clock: Clock, line: str
) -> None:
    jobs = [{"model": REASONS, "prompt": f"How many? {n}", "format": SCHEMA, "think": True} for n in range(4)]

    batch, results, state = asked(database, clock, jobs, line=line)

    assert {one["state"] for one in results} == {"succeeded"}
    for one in results:
        assert json.loads(one["answer"]) == one["parsed"]
        assert isinstance(one["parsed"]["n"], int)
        assert one["reasoning"]
    assert state["completed"] == 8
    assert state["loads"] == 1

    out = io.StringIO()
    ResultWriter(database, Selection(batch.id)).csv(out)
    out.seek(0)
    assert [json.loads(row["parsed"]) for row in csv.DictReader(out)] == [one["parsed"] for one in results]


def test_without_thinking_one_call_is_enough(database: Database, clock: Clock) -> None:
    _, results, state = asked(database, clock, [{"model": REASONS, "prompt": "How many?", "format": SCHEMA}])

    assert results[0]["parsed"].keys() == {"n"}
    assert results[0]["reasoning"] is None
    assert state["completed"] == 1


def test_an_answer_that_never_fits_fails_after_its_repairs_with_the_text_kept(
    database: Database, clock: Clock
) -> None:
    job = {"model": "qwen2.5:7b", "prompt": "Anything?", "format": NEVER, "repairs": 1}

    _, results, state = asked(database, clock, [job])

    assert results[0]["error"]["code"] == Code.INVALID_OUTPUT
    assert "is too long" in results[0]["error"]["message"]
    assert json.loads(results[0]["answer"]).keys() == {"a"}
    assert results[0]["parsed"] is None
    assert state["completed"] == 2


def test_the_example_of_the_page_ends_as_it_says(database: Database, clock: Clock) -> None:
    page = (DOCS / "howto/json_answers.md").read_text(encoding="utf-8")
    job = json.loads(re.findall(r"```json\n(.*?)```", page, re.DOTALL)[0])

    _, results, _ = asked(database, clock, [job])

    assert results[0]["parsed"].keys() == {"name", "tents"}
    assert results[0]["reasoning"]

"""The files under ``examples/`` and the lines and results that the documents show."""

import ast
import json
import re
from collections import Counter
from typing import get_args

import pytest

import caravan
from api_schemas.jobs import JobDefaults, ParsedLine, read_job_line
from api_schemas.results import ResultLine
from simulator.faults import FaultKind
from tests.repo.docs.pages import DOCS, ROOT, blocks, blocks_of
from worker.domain.jobs import Priority
from worker.domain.runners import runner_key
from worker.kinds.registry import shapes
from worker.policy.first_come import first_come_loads

BULK = ROOT / "examples" / "bulk.jsonl"
REASONING = "deepseek-r1:8b"


@pytest.fixture(scope="module")
def bulk() -> list[ParsedLine]:
    parsed = [read_job_line(raw, line=n) for n, raw in enumerate(BULK.read_bytes().splitlines(), start=1)]
    jobs = [job for job in parsed if isinstance(job, ParsedLine)]
    assert len(jobs) == len(parsed), [problem for problem in parsed if not isinstance(problem, ParsedLine)]
    return jobs


def test_the_bulk_file_has_enough_jobs_and_each_its_own_name(
    bulk: list[ParsedLine],
) -> None:
    assert len(bulk) >= 132
    assert len({job.custom_id for job in bulk}) == len(bulk)
    assert all(job.metadata for job in bulk)
    assert not any(job.notes for job in bulk)


def test_the_bulk_file_is_spread_over_three_models_one_of_which_reasons(
    bulk: list[ParsedLine],
) -> None:
    models = Counter(job.model for job in bulk)

    assert len(models) == 3
    assert min(models.values()) >= 40
    assert models[REASONING]


def test_first_come_first_served_would_load_over_a_hundred_times(
    bulk: list[ParsedLine],
) -> None:
    keys = [runner_key(job.model, job.request).text for job in bulk]

    assert len(set(keys)) == 3
    assert first_come_loads(keys, hosts=2) > 100


def test_the_priorities_of_the_bulk_file_cost_no_load(bulk: list[ParsedLine]) -> None:
    models = {priority: {job.model for job in bulk if job.priority == priority} for priority in Priority}

    assert len(models[Priority.INTERACTIVE] | models[Priority.HIGH]) == 1
    assert len(models[Priority.BULK]) == 1


def test_the_bulk_file_asks_in_english_and_chinese_of_every_model(
    bulk: list[ParsedLine],
) -> None:
    chinese = Counter(job.model for job in bulk if re.search(r"[\u4e00-\u9fff]", job.prompt))

    assert len(chinese) == 3
    assert 30 <= sum(chinese.values()) < len(bulk) / 2


def test_the_bulk_file_shows_the_fields_a_producer_uses(bulk: list[ParsedLine]) -> None:
    used = {field for job in bulk for field in job.request}
    options = {option for job in bulk for option in job.request.get("options", {})}

    assert used >= {"system", "options", "format"}
    assert options >= {"temperature", "seed", "num_predict"}
    assert len({job.priority for job in bulk}) == len(Priority)


def test_the_first_lines_run_on_any_model(bulk: list[ParsedLine]) -> None:
    """The demo on a real host takes them for whatever models are there, which may not be able to reason."""
    assert not any(
        field in job.request for job in bulk[:24] for field in ("think", "suffix", "images", "context")
    )


def test_the_job_lines_that_are_shown_are_taken() -> None:
    shown = [(block, raw) for block in blocks_of("jsonl") for raw in block.text.splitlines()]

    read = {
        f"{block.place}: {raw}": read_job_line(
            raw, line=1, defaults=JobDefaults(model="qwen3:8b"), shapes=shapes()
        )
        for block, raw in shown
    }

    assert {raw: line for raw, line in read.items() if not isinstance(line, ParsedLine)} == {}


def test_the_results_that_are_shown_are_result_lines_with_every_field() -> None:
    shown = blocks_of("json", containing='"tokens_per_second"')

    for block in shown:
        line = json.loads(block.text)
        ResultLine.model_validate(line)
        assert set(line) == set(ResultLine.model_fields) - {"logprobs", "tool_calls", "embedding"}, (
            block.place
        )


def test_the_python_that_is_shown_is_well_formed_and_imports_what_is_there() -> None:
    for block in blocks_of("python"):
        tree = ast.parse(block.text, filename=block.place)
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module == "caravan":
                missing = [name.name for name in node.names if not hasattr(caravan, name.name)]
                assert not missing, f"{block.place}: caravan has no {missing}"


def test_the_test_with_a_simulated_host_that_is_shown_passes() -> None:
    [shown] = blocks(DOCS / "howto/simulator.md", "python")

    exec(shown.text, {})


def test_the_page_of_the_simulator_lists_every_kind_of_fault() -> None:
    page = (DOCS / "howto/simulator.md").read_text(encoding="utf-8")

    assert [kind for kind in get_args(FaultKind) if f"`{kind}`" not in page] == []

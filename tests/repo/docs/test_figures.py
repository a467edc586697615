"""Numbers and messages that the documents show are those of the code."""

import re
import tomllib
from dataclasses import asdict
from pathlib import Path

import pytest

from api_schemas.job_problems import LineProblem
from api_schemas.jobs import JobDefaults, read_job_line
from tests.repo.docs.pages import PAGES, blocks_of
from worker.cli.exits import explain
from worker.errors import InputRefused, Problem, SettingsRefused
from worker.policy.facts import Parameters
from worker.settings import Settings, load_settings

ROW = re.compile(r"^\| ([a-z_]+) \| ([^|]+?) \|", re.MULTILINE)


def test_the_numbers_of_the_policy_are_those_of_the_code() -> None:
    numbers = asdict(Parameters())

    tables = [dict(ROW.findall(page.read_text(encoding="utf-8"))) for page in PAGES]
    [shown] = [table for table in tables if set(table) >= set(numbers)]

    assert set(shown) - {"name"} == set(numbers)
    for name, value in numbers.items():
        words = shown[name].replace(",", "")
        if isinstance(value, dict):
            for priority, each in value.items():
                number = "–" if each == float("inf") else f"{each:g}"
                assert f"{priority.name.lower()} {number}" in words
        else:
            assert words.split()[0] == f"{value:g}"


def test_the_error_of_a_misspelt_setting_is_the_one_that_is_shown() -> None:
    shown = blocks_of("text", containing="CARAVAN_LEASE_SECOND")

    with pytest.raises(SettingsRefused) as raised:
        load_settings({"CARAVAN_LEASE_SECOND": "30"})

    assert {block.text for block in shown} == {"\n".join(explain(raised.value))}


def test_the_settings_files_that_are_shown_are_taken(tmp_path: Path) -> None:
    path = tmp_path / "caravan.toml"
    for block in blocks_of("toml"):
        path.write_text(block.text, encoding="utf-8")

        settings = load_settings({"CARAVAN_CONFIG": str(path)})

        assert settings == Settings(config=path, **tomllib.loads(block.text)), block.place


def test_the_refusal_that_is_shown_is_the_one_a_producer_gets() -> None:
    for block in blocks_of("console", containing="line 7"):
        wrong = re.search(r"options\.(\w+)", block.text)
        assert wrong, block.place
        problems = read_job_line(
            f'{{"prompt": "Hello", "options": {{"{wrong[1]}": 0.2}}}}',
            line=7,
            defaults=JobDefaults(model="qwen3:8b"),
        )
        assert isinstance(problems, list), block.place

        refused = InputRefused([_problem(problem) for problem in problems])

        assert block.text.splitlines()[1:] == list(explain(refused)), block.place


def _problem(problem: LineProblem) -> Problem:
    return Problem(problem.line, problem.field, problem.code, problem.message)

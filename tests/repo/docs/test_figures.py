"""Numbers, names and messages in the prose are those of the code."""

import re
import tomllib
from dataclasses import asdict
from pathlib import Path

import pytest

from api_schemas.jobs import JobDefaults, LineProblem, read_job_line
from tests.repo.docs.pages import DOCS, ROOT, blocks
from worker.cli.exits import explain
from worker.dispatch.app import CHORES_QUEUE
from worker.dispatch.submit import MOST_JOBS
from worker.errors import InputRefused, Problem, SettingsRefused
from worker.policy.facts import Parameters
from worker.policy.request import NUM_PREDICT, NUM_PREDICT_THINKING
from worker.policy.retry import (
    LONGEST_WAIT,
    MOST_LOSSES,
    SUSPECT_AFTER,
    backoff,
    host_pause,
    load_pause,
)
from worker.services.intake import PROBLEMS_SHOWN
from worker.settings import Settings, load_settings

WORDS = {3: "three", 2: "two", 5: "five", 8: "eight", 20: "twenty", 10: "ten"}
JOBS = len((ROOT / "examples" / "bulk.jsonl").read_bytes().splitlines())

PHRASES = [
    ("README.md", f"an example of {JOBS} jobs over three models"),
    (
        "docs/running.md",
        f"({NUM_PREDICT:,} tokens where a line says nothing, {NUM_PREDICT_THINKING:,} where the model reasons)",
    ),
    (
        "docs/running.md",
        f"with every problem (at most {WORDS[PROBLEMS_SHOWN]} in full)",
    ),
    ("docs/errors.md", f"at most {WORDS[PROBLEMS_SHOWN]} in full"),
    ("docs/fleet.md", f"at most {MOST_JOBS:,} in a message"),
    ("docs/fleet.md", f'queue="{CHORES_QUEUE}"'),
    (
        "docs/fleet.md",
        f"steps back for {host_pause(1).seconds} to {host_pause(99).seconds} seconds",
    ),
    (
        "docs/fleet.md",
        f"{load_pause(1).seconds} seconds to {load_pause(99).seconds // 60} minutes",
    ),
    ("docs/architecture.md", f"at most {MOST_JOBS:,} jobs"),
    ("docs/job_lifecycle.md", f"at most {WORDS[LONGEST_WAIT.seconds // 60]} minutes"),
    (
        "docs/job_lifecycle.md",
        f"the host ({host_pause(1).seconds} to {host_pause(99).seconds} s)",
    ),
    (
        "docs/job_lifecycle.md",
        f"({load_pause(1).seconds} s to {load_pause(99).seconds // 60} min)",
    ),
    ("docs/job_lifecycle.md", f"its host or worker died {WORDS[MOST_LOSSES]} times"),
    ("docs/job_lifecycle.md", {2: "that happened twice is a suspect"}[SUSPECT_AFTER]),
]


@pytest.mark.parametrize(("page", "phrase"), PHRASES)
def test_a_figure_in_the_prose_is_that_of_the_code(page: str, phrase: str) -> None:
    assert phrase in " ".join((ROOT / page).read_text(encoding="utf-8").split())


def test_the_policy_s_numbers_are_told() -> None:
    page = (DOCS / "scheduling.md").read_text(encoding="utf-8")
    told = dict(re.findall(r"^\| ([a-z_]+) \| ([^|]+?) \|", page, re.MULTILINE))
    told.pop("name")

    numbers = asdict(Parameters())
    assert set(told) == set(numbers)
    for name, value in numbers.items():
        words = told[name].replace(",", "")
        if isinstance(value, dict):
            for priority, each in value.items():
                shown = "–" if each == float("inf") else f"{each:g}"
                assert f"{priority.name.lower()} {shown}" in words
        else:
            assert words.split()[0] == f"{value:g}"


def test_the_back_off_is_the_fourth_power_that_the_page_tells() -> None:
    assert [backoff(n).total_seconds() for n in (1, 2, 3)] == [n**4 for n in (1, 2, 3)]


def test_the_error_of_a_misspelt_setting_is_the_one_that_is_shown() -> None:
    shown = next(block.text for block in blocks(DOCS / "configuration.md", "text"))

    with pytest.raises(SettingsRefused) as raised:
        load_settings({"CARAVAN_LEASE_SECOND": "30"})

    assert list(explain(raised.value)) == [shown]


def test_the_settings_file_that_is_shown_is_taken(tmp_path: Path) -> None:
    shown = next(block.text for block in blocks(DOCS / "configuration.md", "toml"))
    path = tmp_path / "caravan.toml"
    path.write_text(shown, encoding="utf-8")

    settings = load_settings({"CARAVAN_CONFIG": str(path)})

    assert settings == Settings(config=path, **tomllib.loads(shown))


def test_the_refusal_that_is_shown_is_the_one_a_producer_gets() -> None:
    block = next(block for block in blocks(DOCS / "running.md", "console") if "line 7" in block.text)
    wrong = re.search(r"options\.(\w+):", block.text)
    assert wrong
    read = read_job_line(
        f'{{"prompt": "Hello", "options": {{"{wrong[1]}": 0.2}}}}',
        line=7,
        defaults=JobDefaults(model="qwen3:8b"),
    )
    assert isinstance(read, list)

    refused = InputRefused([_problem(problem) for problem in read])

    assert block.text.splitlines()[1:] == list(explain(refused))


def _problem(problem: LineProblem) -> Problem:
    return Problem(problem.line, problem.field, problem.code, problem.message)

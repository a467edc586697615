"""A prompt that is made of the answers of other jobs."""

from dataclasses import replace
from typing import Any

import pytest

from tests.asking import attempt_job
from tests.clocks import FakeClock
from worker.domain.attempts import Failed, Retried
from worker.domain.jobs import ClaimedJob, Part, Priority
from worker.door.combine import combined_prompt, template_problem
from worker.errors import Code, HostError
from worker.ollama.client import Call
from worker.serving.attempt import Ending

TEMPLATE = "{{ document.name }}:{% for part in parts %} {{ part.number }}={{ part.answer }}{% endfor %}"


def part(number: int, answer: str | None) -> Part:
    return Part(f"a.pdf#part-{number}", answer, None, {"part": {"number": number}})


JOB = ClaimedJob(
    id=2**24 + 3,
    batch_id=1,
    custom_id="a.pdf",
    model="m:1",
    runner_key="m:1 num_ctx>=4096",
    priority=Priority.NORMAL,
    attempt=1,
    charged=0,
    max_attempts=3,
    token="t",
    prompt=TEMPLATE,
    request={"combine": {"document": {"name": "a.pdf"}}},
    parts=(part(1, "first"), part(2, "second")),
)


def attempted(job: ClaimedJob) -> tuple[Ending, list[Any]]:
    asked: list[Any] = []

    def ask(body: Any, call: Call) -> Any:
        asked.append(body)
        raise HostError(Code.HOST_ERROR, "seen enough")

    ending = attempt_job(
        job, ask=ask, call=Call(), host="gpu-1", host_model=None, window=4096, clock=FakeClock()
    )
    return ending, asked


def test_the_prompt_has_the_answers_in_their_order() -> None:
    assert combined_prompt(JOB) == "a.pdf: 1=first 2=second"

    _, [body] = attempted(JOB)

    assert body["prompt"] == "a.pdf: 1=first 2=second"
    assert "combine" not in body


@pytest.mark.parametrize("parts", [(part(1, "first"), part(2, None)), ()])
def test_without_all_answers_nothing_is_asked(parts: tuple[Part, ...]) -> None:
    ending, asked = attempted(replace(JOB, parts=parts))

    assert isinstance(ending.finish.outcome, Failed)
    assert ending.finish.outcome.code is Code.PARENT_FAILED
    assert asked == []


def test_answers_that_are_longer_than_expected_get_a_larger_window_before_anything_is_asked() -> None:
    ending, asked = attempted(replace(JOB, parts=(part(1, "word " * 4000),)))

    assert isinstance(ending.finish.outcome, Retried)
    assert ending.finish.outcome.runner_key == "m:1 num_ctx>=12288"
    assert not ending.finish.outcome.charged
    assert asked == []


@pytest.mark.parametrize(
    ("prompt", "told"),
    [
        ("{% for part in parts %}", "prompt line 1"),
        ("{{ document.name }}", "does not use the answers"),
        ("{{ parts }} {{ titel }}", "no column 'titel'"),
    ],
)
def test_a_template_that_cannot_be_is_told_before_any_part_is_asked(prompt: str, told: str) -> None:
    problem = template_problem(prompt, {"document": {}}, line=7)

    assert problem is not None
    assert problem.line == 7
    assert told in problem.message

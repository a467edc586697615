"""What counts as an answer: empty replies, replies to half a prompt, and what is kept of them."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.asking import attempt_job
from tests.clocks import FakeClock
from worker.domain.attempts import Failed, Outcome, Retried, Succeeded
from worker.domain.hosts import HostModel
from worker.domain.jobs import ClaimedJob, Priority
from worker.domain.replies import Reply
from worker.errors import Code
from worker.ollama.client import Call

CLOCK = FakeClock(datetime(2026, 11, 23, 2, 0, tzinfo=UTC))
REPLY = Reply(
    model="m:1",
    response="Blue.",
    thinking="",
    done_reason="stop",
    context=None,
    total_duration=1000,
    load_duration=0,
    prompt_eval_count=5,
    prompt_eval_duration=0,
    eval_count=12,
    eval_duration=1000,
    chunks=2,
)
EMPTY = [
    pytest.param({"response": "", "thinking": "The Tagus, I think."}, id="only reasoning"),
    pytest.param({"response": "<think>The Tagus, I think.</think>\n"}, id="only reasoning in tags"),
    pytest.param({"response": "", "eval_count": 1}, id="nothing"),
    pytest.param({"response": " \n\u200b"}, id="white space"),
    pytest.param({"response": "", "done_reason": "load", "eval_count": 0}, id="load"),
]


@pytest.mark.parametrize("fields", EMPTY)
def test_an_empty_answer_is_tried_again_and_then_fails_with_its_reply(fields: dict[str, Any]) -> None:
    first = outcome_of(a_job(), **fields)
    last = outcome_of(a_job(charged=2), **fields)

    assert isinstance(first, Retried)
    assert (first.code, first.charged) == (Code.EMPTY_ANSWER, True)
    assert isinstance(last, Failed)
    assert last.code is Code.EMPTY_ANSWER
    assert last.result is not None
    assert last.result.empty
    assert last.result.output_tokens == fields.get("eval_count", 12)
    if "Tagus" in str(fields):
        assert last.result.reasoning == "The Tagus, I think."
        assert "Tagus" in first.partial


@pytest.mark.parametrize("options", [{"temperature": 0}, {"seed": 7}])
def test_an_empty_answer_that_would_come_again_is_not_tried_again(options: dict[str, Any]) -> None:
    outcome = outcome_of(a_job(options=options), response="")

    assert isinstance(outcome, Failed)
    assert outcome.code is Code.EMPTY_ANSWER


@pytest.mark.parametrize("fields", EMPTY)
def test_an_empty_answer_succeeds_where_it_is_allowed(fields: dict[str, Any]) -> None:
    outcome = outcome_of(a_job(allow_empty=True), **fields)

    assert isinstance(outcome, Succeeded)
    assert outcome.result.empty


@pytest.mark.parametrize(
    "fields",
    [
        {"response": "", "thinking": "Okay, the"},
        {"response": "<think>\nOkay, the"},
        {"response": "<|channel|>analysis<|message|>Okay, the"},
        {"response": ""},
    ],
)
def test_an_answer_that_num_predict_ended_within_its_reasoning_is_cut_and_empty(
    fields: dict[str, Any],
) -> None:
    outcome = outcome_of(a_job(), done_reason="length", **fields)

    assert isinstance(outcome, Succeeded)
    assert (outcome.result.cut, outcome.result.empty, outcome.result.answer) == (True, True, "")
    assert outcome.result.reasoning == (None if fields == {"response": ""} else "Okay, the")


def test_an_empty_answer_to_a_job_with_a_format_is_an_empty_answer() -> None:
    ended = outcome_of(a_job(format="json", repairs=0), response="")
    cut = outcome_of(a_job(format="json", repairs=0), response="", done_reason="length")

    assert isinstance(ended, Retried)
    assert ended.code is Code.EMPTY_ANSWER
    assert isinstance(cut, Failed)
    assert cut.code is Code.INVALID_OUTPUT


def test_a_job_of_which_the_host_read_half_goes_to_a_larger_window_and_then_fails_with_its_reply() -> None:
    half: dict[str, Any] = {"context": tuple(range(5000)), "prompt_eval_count": 2048, "eval_count": 6}

    first = outcome_of(a_job("m:1 num_ctx>=4096"), window=4096, **half)
    second = outcome_of(a_job("m:1 num_ctx>=8192", widened=True), window=8192, **half)
    named = outcome_of(a_job("m:1 num_ctx=2048", options={"num_ctx": 2048}), window=2048, **half)

    assert isinstance(first, Retried)
    assert (first.code, first.runner_key) == (Code.CONTEXT_OVERFLOW, "m:1 num_ctx>=8192")
    for outcome in (second, named):
        assert isinstance(outcome, Failed)
        assert outcome.code is Code.CONTEXT_OVERFLOW
        assert outcome.result is not None
        assert (outcome.result.prompt_fit, outcome.result.answer) == ("no", "Blue.")


def test_a_job_that_allows_the_host_to_cut_its_prompt_succeeds() -> None:
    half: dict[str, Any] = {"context": tuple(range(5000)), "prompt_eval_count": 2048, "eval_count": 6}

    outcome = outcome_of(a_job("m:1 num_ctx=2048", truncate=True), window=2048, **half)

    assert isinstance(outcome, Succeeded)
    assert outcome.result.prompt_fit == "no"


def test_a_count_as_large_as_the_window_leaves_it_unknown_whether_the_prompt_fitted() -> None:
    outcome = outcome_of(a_job("m:1 num_ctx=2048"), window=2048, prompt_eval_count=2048)

    assert isinstance(outcome, Succeeded)
    assert outcome.result.prompt_fit == "unknown"


def test_log_probabilities_are_part_of_the_result() -> None:
    outcome = outcome_of(a_job(logprobs=True), logprobs=[{"token": "Blue", "logprob": -0.5}])

    assert isinstance(outcome, Succeeded)
    assert outcome.result.logprobs == [{"token": "Blue", "logprob": -0.5}]


def test_what_caravan_alone_needs_to_know_is_not_sent() -> None:
    sent: list[Mapping[str, Any]] = []

    outcome_of(a_job(allow_empty=True), sent=sent)

    assert "allow_empty" not in sent[0]


def outcome_of(
    job: ClaimedJob,
    *,
    window: int = 4096,
    sent: list[Mapping[str, Any]] | None = None,
    **fields: Any,
) -> Outcome:
    def ask(body: Mapping[str, object], call: Call) -> Reply:
        if sent is not None:
            sent.append(body)
        return replace(REPLY, **fields)

    ending = attempt_job(
        job,
        ask=ask,
        call=Call(),
        host="gpu-1",
        host_model=HostModel("m:1", "d", thinking=False, trained_context=131_072),
        window=window,
        clock=CLOCK,
    )
    return ending.finish.outcome


def a_job(
    key: str = "m:1 num_ctx>=4096", *, charged: int = 0, widened: bool = False, **request: Any
) -> ClaimedJob:
    return ClaimedJob(
        id=1,
        batch_id=1,
        custom_id="c1",
        model="m:1",
        runner_key=key,
        priority=Priority.NORMAL,
        attempt=1,
        charged=charged,
        max_attempts=3,
        token="t",
        prompt="Name a river.",
        request=request,
        widened=widened,
    )

"""What becomes of a job that a host refused as too long, and which window its request names."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from tests.asking import attempt_job
from tests.clocks import FakeClock
from worker.domain.attempts import Failed, Outcome, Retried
from worker.domain.hosts import HostModel
from worker.domain.jobs import ClaimedJob, Priority
from worker.domain.replies import Reply
from worker.errors import Code, HostError
from worker.ollama.client import Call

CLOCK = FakeClock(datetime(2026, 11, 23, 2, 0, tzinfo=UTC))
OLDER = "the input length exceeds the context length"
NEWER = '{"error":{"type":"exceed_context_size_error","n_prompt_tokens":9000,"n_ctx":4096}}'


def test_the_request_names_the_window_that_is_loaded() -> None:
    asked: list[Mapping[str, Any]] = []

    outcome_of(a_job("m:1 num_ctx>=4096"), OLDER, num_ctx=16_384, asked=asked)

    assert asked[0]["options"]["num_ctx"] == 16_384


def test_a_window_that_the_job_names_is_sent_as_it_is() -> None:
    asked: list[Mapping[str, Any]] = []
    job = a_job("m:1 num_ctx=2048", request={"options": {"num_ctx": 2048}})

    outcome_of(job, OLDER, num_ctx=2048, asked=asked)

    assert asked[0]["options"]["num_ctx"] == 2048


def test_a_prompt_that_was_too_long_is_asked_once_more_in_a_larger_window_for_nothing() -> None:
    older = outcome_of(a_job("m:1 num_ctx>=4096"), OLDER, num_ctx=4096)
    newer = outcome_of(a_job("m:1 num_ctx>=4096"), NEWER, num_ctx=4096)

    assert isinstance(older, Retried)
    assert isinstance(newer, Retried)
    assert (older.runner_key, newer.runner_key) == ("m:1 num_ctx>=6144", "m:1 num_ctx>=12288")
    assert (older.charged, older.lost, newer.charged, newer.lost) == (False, False, False, False)


def test_the_second_refusal_is_final() -> None:
    job = a_job("m:1 num_ctx>=12288", widened=True)

    assert_too_long(outcome_of(job, NEWER, num_ctx=12_288))


def test_a_window_that_was_named_and_one_that_is_the_model_s_largest_do_not_grow() -> None:
    assert_too_long(outcome_of(a_job("m:1 num_ctx=4096"), NEWER, num_ctx=4096))
    assert_too_long(outcome_of(a_job("m:1 num_ctx>=4096"), NEWER, num_ctx=4096, trained=4096))


def test_a_prompt_that_no_window_takes_is_said_with_its_length_and_the_window() -> None:
    outcome = outcome_of(a_job("m:1 num_ctx>=4096"), OLDER, num_ctx=4096, trained=4096)

    assert isinstance(outcome, Failed)
    assert outcome.message.startswith(f"{OLDER}: about ")
    assert outcome.message.endswith(" tokens, in a window of 4,096, the most that m:1 takes")


def outcome_of(
    job: ClaimedJob,
    refusal: str,
    *,
    num_ctx: int,
    trained: int | None = 131_072,
    asked: list[Mapping[str, Any]] | None = None,
) -> Outcome:
    def ask(body: Mapping[str, object], call: Call) -> Reply:
        if asked is not None:
            asked.append(body)
        raise HostError(Code.CONTEXT_OVERFLOW, refusal, status=400)

    ending = attempt_job(
        job,
        ask=ask,
        call=Call(),
        host="gpu-1",
        host_model=HostModel("m:1", "d", thinking=False, trained_context=trained),
        window=num_ctx,
        clock=CLOCK,
        num_ctx=num_ctx,
    )
    return ending.finish.outcome


def a_job(key: str, *, request: Mapping[str, Any] | None = None, widened: bool = False) -> ClaimedJob:
    return ClaimedJob(
        id=1,
        batch_id=1,
        custom_id="c1",
        model="m:1",
        runner_key=key,
        priority=Priority.NORMAL,
        attempt=1,
        charged=0,
        max_attempts=3,
        token="t",
        prompt="x",
        request=request or {},
        widened=widened,
    )


def assert_too_long(outcome: Outcome) -> None:
    assert isinstance(outcome, Failed)
    assert outcome.code is Code.CONTEXT_OVERFLOW

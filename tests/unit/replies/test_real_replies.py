"""The four replies of a real DeepSeek-R1 host, and what a producer gets for them."""

import json
from pathlib import Path
from typing import Any

import pytest

from worker.domain.replies import Reply, Result
from worker.replies.contexts import pack_context, unpack_context
from worker.replies.read import read_reply

SEED = Path(__file__).parent / "seed"
NAMES = ("keep-alive-10m", "length-inside-think", "stop", "stream-final-chunk")


def sent(name: str) -> dict[str, Any]:
    text = (SEED / f"deepseek-r1-32b.{name}.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def reply_of(name: str) -> Reply:
    body = sent(name)
    return Reply(
        model=body["model"],
        response=body["response"],
        thinking="",
        done_reason=body["done_reason"],
        context=tuple(body["context"]),
        total_duration=body["total_duration"],
        load_duration=body["load_duration"],
        prompt_eval_count=body["prompt_eval_count"],
        prompt_eval_duration=body["prompt_eval_duration"],
        eval_count=body["eval_count"],
        eval_duration=body["eval_duration"],
        chunks=1,
    )


def read(name: str, *, expects: bool | None = None, guarded: bool = False) -> Result:
    return read_reply(reply_of(name), expects_reasoning=expects, guarded=guarded)


def by_hand(response: str) -> tuple[str, str]:
    """As the document of these replies does it: find the tags, strip what lies between and behind."""
    start, end = response.find("<think>"), response.find("</think>")
    return response[start + len("<think>") : end].strip(), response[end + len("</think>") :].strip()


@pytest.mark.parametrize("expects", [True, False, None])
@pytest.mark.parametrize("name", ["stop", "keep-alive-10m"])
def test_reasoning_and_answer_are_those_found_by_hand(name: str, expects: bool | None) -> None:
    result = read(name, expects=expects)

    assert (result.reasoning, result.answer) == by_hand(sent(name)["response"])
    assert "人工智能（Artificial Intelligence, AI）" in result.answer
    assert result.reasoning is not None
    assert not result.reasoning_open
    assert not result.cut


@pytest.mark.parametrize("expects", [True, False, None])
def test_a_reply_cut_inside_its_reasoning_has_no_answer_and_says_so(
    expects: bool | None,
) -> None:
    result = read("length-inside-think", expects=expects)

    assert result.answer == ""
    assert result.reasoning == "嗯，用户让我生成一个关于人工智能"
    assert result.reasoning_open
    assert result.cut
    assert result.done_reason == "length"


def test_the_whole_result_of_a_real_reply() -> None:
    result = read("length-inside-think", guarded=True)

    assert result == Result(
        answer="",
        reasoning="嗯，用户让我生成一个关于人工智能",
        reasoning_open=True,
        done_reason="length",
        cut=True,
        prompt_fit="yes",
        prompt_tokens=13,
        output_tokens=10,
        tokens_per_second=10 / 318_000_000 * 10**9,
        prompt_tokens_per_second=13 / 3_829_000_000 * 10**9,
        total_seconds=18.876756388,
        load_seconds=14.726802999,
        prompt_eval_seconds=3.829,
        eval_seconds=0.318,
        total_duration=18_876_756_388,
        load_duration=14_726_802_999,
        prompt_eval_duration=3_829_000_000,
        eval_duration=318_000_000,
        context=reply_of("length-inside-think").context,
    )


def test_seconds_and_speed_are_those_that_the_document_prints() -> None:
    stop, kept = read("stop"), read("keep-alive-10m")

    assert (
        stop.total_seconds,
        stop.load_seconds,
        stop.prompt_eval_seconds,
        stop.eval_seconds,
    ) == (
        10.020507026,
        0.063824681,
        0.028,
        9.926,
    )
    assert kept.tokens_per_second == 30.18346813967252


def test_the_last_record_of_a_stream_alone_has_no_text() -> None:
    result = read("stream-final-chunk")

    assert (result.answer, result.reasoning, result.reasoning_open) == ("", None, False)
    assert (result.prompt_tokens, result.output_tokens) == (13, 289)


@pytest.mark.parametrize("name", NAMES)
def test_no_real_reply_looks_cut_though_its_context_counts_tokens_differently(
    name: str,
) -> None:
    assert read(name, guarded=True).prompt_fit == "yes"
    assert read(name, guarded=False).prompt_fit in ("yes", "unknown")


@pytest.mark.parametrize("name", NAMES)
def test_a_real_context_takes_three_bytes_a_token_and_comes_back(name: str) -> None:
    context = sent(name)["context"]

    packed = pack_context(context)

    assert packed is not None
    assert unpack_context(packed) == context
    assert len(packed) == 1 + 3 * len(context)

"""Bytes as they come from a host → Reply."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.ollama.recordings import VERSIONS, Exchange, all_generate, exchange
from worker.domain.replies import Reply
from worker.errors import Code, HostError
from worker.kinds.generate.kind import ReplyReader

both_versions = pytest.mark.parametrize("version", VERSIONS)


def read(pieces: Iterable[bytes]) -> Reply:
    reader = ReplyReader()
    try:
        for piece in pieces:
            if (reply := reader.feed(piece)) is not None:
                return reply
        return reader.end()
    except HostError as error:
        error.partial = reader.partial
        raise


def failure(*pieces: bytes) -> HostError:
    with pytest.raises(HostError) as caught:
        read(pieces)
    return caught.value


def line(**fields: Any) -> bytes:
    return json.dumps({"model": "m", "response": "", "done": False} | fields).encode() + b"\n"


DONE = {"done": True, "done_reason": "stop"}


@pytest.mark.parametrize(
    "recorded", [one for one in all_generate() if '"done":true' in one.lines[-1]], ids=lambda one: one.id
)
def test_every_recorded_reply_is_read_as_its_records_say(recorded: Exchange) -> None:
    records = [json.loads(text) for text in recorded.lines]
    last = records[-1]

    reply = read([recorded.body])

    assert reply == Reply(
        model=last["model"],
        response="".join(record["response"] for record in records),
        thinking="".join(record.get("thinking", "") for record in records),
        done_reason=last["done_reason"],
        context=tuple(last["context"]) if "context" in last else None,
        total_duration=last.get("total_duration", 0),
        load_duration=last.get("load_duration", 0),
        prompt_eval_count=last.get("prompt_eval_count", 0),
        prompt_eval_duration=last.get("prompt_eval_duration", 0),
        eval_count=last.get("eval_count", 0),
        eval_duration=last.get("eval_duration", 0),
        chunks=len(records),
        logprobs=[entry for record in records for entry in record.get("logprobs", [])] or None,
        created_at=f"{datetime.fromisoformat(last['created_at']).astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}",
    )


@pytest.mark.parametrize(
    "recorded", [one for one in all_generate() if '"done":true' not in one.lines[-1]], ids=lambda one: one.id
)
def test_no_recorded_stream_without_its_last_record_is_a_reply(recorded: Exchange) -> None:
    text = "".join(json.loads(record).get("response", "") for record in recorded.lines)

    error = failure(recorded.body)

    assert error.code in {Code.REPEATED_OUTPUT, Code.RUNNER_DIED, Code.REPLY_CUT}
    assert error.partial == text


@both_versions
def test_the_repeat_abort_is_told_from_a_cut(version: str) -> None:
    recorded = exchange(version, "repeat-abort", "streamed")

    error = failure(recorded.body)

    assert error.code is Code.REPEATED_OUTPUT
    assert error.partial == " again" * 31
    assert "again" in error.message


def test_thirty_pieces_of_white_space_from_the_start_are_a_repeat_abort() -> None:
    error = failure(*[line(response=white) for white in ("\n", " ", "\n\n") * 10])

    assert error.code is Code.REPEATED_OUTPUT


def test_a_few_equal_pieces_before_a_cut_are_a_cut() -> None:
    error = failure(*[line(response="ha") for _ in range(29)])

    assert error.code is Code.REPLY_CUT


def test_repeated_reasoning_counts_as_well() -> None:
    error = failure(*[line(thinking="hm ") for _ in range(31)])

    assert error.code is Code.REPEATED_OUTPUT
    assert error.partial == "<think>" + "hm " * 31


@both_versions
def test_an_error_line_after_chunks_is_a_failure_with_the_text_so_far(version: str) -> None:
    recorded = exchange(version, "runner-dies", "streamed; runner killed after two seconds")

    error = failure(recorded.body)

    assert error.code is Code.RUNNER_DIED
    assert error.message == "an error was encountered while running the model: unexpected EOF"
    assert error.partial.startswith("one two three four")
    assert error.status is None


def test_an_error_line_may_hold_json_text() -> None:
    inner = json.dumps(
        {"error": {"code": 500, "message": "CUDA error: out of memory", "type": "server_error"}}
    )

    error = failure(line(response="a"), json.dumps({"error": inner}).encode() + b"\n")

    assert (error.code, error.message) == (Code.OUT_OF_MEMORY, "CUDA error: out of memory")


def test_a_stream_that_just_ends_is_a_cut_reply() -> None:
    error = failure(line(response="Half "), line(response="of"))

    assert error.code is Code.REPLY_CUT
    assert error.partial == "Half of"


def test_an_empty_body_is_a_cut_reply() -> None:
    assert failure().code is Code.REPLY_CUT
    assert failure(b"\n\n").code is Code.REPLY_CUT


def test_a_line_cut_in_two_is_a_cut_reply() -> None:
    error = failure(line(response="Half"), line(**DONE)[:-20])

    assert error.code is Code.REPLY_CUT
    assert error.partial == "Half"


def test_a_last_line_of_wrong_types_is_a_bad_reply_with_or_without_a_line_break() -> None:
    assert failure(line(response=5)).code is Code.BAD_REPLY
    assert failure(line(response=5).rstrip()).code is Code.BAD_REPLY


def test_an_unstreamed_done_false_is_no_reply() -> None:
    error = failure(line(response="again and again").rstrip())

    assert error.code is Code.REPLY_CUT
    assert error.partial == "again and again"


def test_a_load_reply_without_a_line_break_is_read() -> None:
    reply = read([line(done=True, done_reason="load").rstrip()])

    assert (reply.done_reason, reply.response, reply.eval_count) == ("load", "", 0)


def test_what_a_gateway_writes_as_null_is_what_a_server_leaves_out() -> None:
    empty = dict.fromkeys(
        ("thinking", "model", "context", "logprobs", "error", "eval_count", "eval_duration", "load_duration")
    )

    reply = read([line(response="Hi", **empty), line(response=None, done=True, done_reason=None, **empty)])

    assert (reply.response, reply.thinking, reply.model, reply.done_reason) == ("Hi", "", "", None)
    assert (reply.context, reply.logprobs, reply.eval_count, reply.eval_duration) == (None, None, 0, 0)


def test_what_comes_after_the_last_record_is_not_looked_at() -> None:
    reply = read([line(response="a"), line(**DONE) + b"<html>"])

    assert reply.response == "a"


def test_the_last_record_may_carry_text() -> None:
    assert read([line(response="a"), line(response="b", **DONE)]).response == "ab"


def test_an_empty_response_beside_thinking_is_a_reply() -> None:
    reply = read([line(thinking="hm"), line(done=True, done_reason="length", eval_count=2)])

    assert (reply.response, reply.thinking, reply.done_reason) == ("", "hm", "length")


def test_figures_left_out_are_zero() -> None:
    reply = read([line(response="x", **DONE)])

    assert (reply.total_duration, reply.eval_duration, reply.prompt_eval_count, reply.context) == (
        0,
        0,
        0,
        None,
    )


@pytest.mark.parametrize("value", [-1, 2**63])
def test_a_duration_that_cannot_be_true_does_not_cost_the_text(value: int) -> None:
    reply = read([line(response="dear text", eval_duration=value, **DONE)])

    assert (reply.response, reply.eval_duration) == ("dear text", 0)


def test_a_surrogate_pair_cut_between_chunks_is_one_sign() -> None:
    reply = read(
        [rb'{"response":"\ud83d","done":false}' + b"\n", rb'{"response":"\ude00 \ud800","done":true}']
    )

    assert reply.response == "\U0001f600 \ufffd"


def test_a_big_context_is_read_whole() -> None:
    context = list(range(262_144))

    reply = read([line(context=context, **DONE)])

    assert reply.context == tuple(context)


@pytest.mark.parametrize(
    "sent",
    [
        b"<html><body>It works!</body></html>\n",
        b"Ollama is running\n",
        b'["response"]\n',
        b'"response"\n',
        b"null\n",
        b"{}\n",
        line(done=None),
        line(done="true"),
        line(done=1),
        line(response=5),
        line(response=["a"]),
        line(thinking={}),
        line(model=5, **DONE),
        line(done=True, done_reason=5),
        line(context="abc", **DONE),
        line(context=[1, "2"], **DONE),
        line(context=[1, True], **DONE),
        line(context={"1": 2}, **DONE),
        line(eval_count="5", **DONE),
        line(eval_count=1.5, **DONE),
        line(eval_count=True, **DONE),
        b'{"response":"","done":true,"eval_duration":NaN}\n',
        b'{"response":"","done":true,"eval_duration":' + b"9" * 5000 + b"}\n",
        b'{"response":"\xff\xfe","done":false}\n',
        b'{"response":"\xed\xa0\x80","done":false}\n',
        b"\x1f\x8b\x08\x00gzip\n",
        b'{"response":"","done":true,"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}\n",
        b'{"response":"","done":true,"x":' + b'{"a":' * 65 + b"1" + b"}" * 65 + b"}\n",
    ],
    ids=lambda sent: repr(sent[:40]),
)
def test_what_no_ollama_server_sends_is_a_bad_reply(sent: bytes) -> None:
    assert failure(sent).code is Code.BAD_REPLY


def test_a_bad_reply_shows_what_came_as_text_for_people() -> None:
    message = failure(b'{"response": "caf\xc3\xa9\x1b[2J\n').message

    assert (
        message
        == 'the host sent no JSON: {"response": "caf\N{LATIN SMALL LETTER E WITH ACUTE}\N{REPLACEMENT CHARACTER}[2J'
    )


def test_brackets_within_text_are_no_depth() -> None:
    text = '[{"' * 1000 + "\\"

    assert read([line(response=text, **DONE)]).response == text


def test_a_line_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.replies.bounds.LINE_BYTES", 1000)
    reader = ReplyReader()

    with pytest.raises(HostError) as caught:
        for _ in range(1000):
            reader.feed(b"x" * 100)

    assert caught.value.code is Code.BAD_REPLY


def test_more_text_than_allowed_is_given_up_with_what_came(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.replies.bounds.REPLY_BYTES", 1000)

    error = failure(*[line(response="x" * 100)] * 11)

    assert error.code is Code.REPLY_TOO_LONG
    assert error.partial == "x" * 1000


def test_a_long_reply_is_put_together_in_order() -> None:
    words = [f"{n} " for n in range(10_000)]

    reply = read([line(response=word) for word in words] + [line(**DONE)])

    assert reply.response == "".join(words)
    assert reply.chunks == 10_001


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


@given(st.data(), st.lists(st.tuples(texts, texts), max_size=12), st.booleans(), st.booleans())
def test_any_split_into_reads_gives_the_same_reply(
    data: st.DataObject, pieces: list[tuple[str, str]], ascii_only: bool, break_at_end: bool
) -> None:
    records = [{"response": said, "thinking": thought, "done": False} for said, thought in pieces]
    records.append({"response": "", "done": True, "done_reason": "stop", "context": [1, 2], "eval_count": 3})
    body = "\n".join(json.dumps(record, ensure_ascii=ascii_only) for record in records).encode()
    body += b"\n" if break_at_end else b""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=20)))
    reads = [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]

    assert read(reads) == read([body])


@given(st.lists(st.binary(max_size=60), max_size=6))
def test_arbitrary_bytes_are_a_failure_and_never_a_defect(pieces: list[bytes]) -> None:
    assert failure(*pieces).code in {Code.BAD_REPLY, Code.REPLY_CUT}


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
names = st.sampled_from(
    [
        "model",
        "response",
        "thinking",
        "done",
        "done_reason",
        "context",
        "error",
        "eval_count",
        "total_duration",
    ]
)


@given(st.lists(st.dictionaries(names, values), max_size=4))
def test_records_of_any_types_are_a_reply_or_a_failure_and_never_a_defect(
    records: list[dict[str, Any]],
) -> None:
    body = b"".join(json.dumps(record).encode() + b"\n" for record in records)

    try:
        reply = read([body])
    except HostError as error:
        error.message.encode()
        error.partial.encode()
    else:
        reply.response.encode()


def test_log_probabilities_of_all_records_are_one_list_as_sent() -> None:
    first = {"token": "B", "logprob": -4.354931348871105e-08, "bytes": [66], "top_logprobs": []}
    second = {"token": "\ud83d\ude00", "logprob": -22.5625}

    reply = read(
        [
            line(response="B", logprobs=[first]),
            line(response="\ud83d"),
            line(response="\ude00", logprobs=[second]),
            line(done=True, done_reason="stop"),
        ]
    )

    assert reply.logprobs == [first, {"token": "\U0001f600", "logprob": -22.5625}]
    assert read([line(done=True)]).logprobs is None


def test_log_probabilities_that_no_database_can_hold_are_replaced() -> None:
    record = b'{"response":"","done":true,"logprobs":[{"token":"\\u0000\\ud800","logprob":-Infinity}]}\n'

    assert read([record]).logprobs == [{"token": "\ufffd\ufffd", "logprob": None}]


def test_log_probabilities_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.replies.bounds.REPLY_BYTES", 2_000)
    entries = [{"token": "word", "logprob": -0.1}] * 10
    record = line(response="a", logprobs=entries)

    error = failure(*[record] * 10)

    assert error.code is Code.REPLY_TOO_LONG
    assert failure(line(logprobs={"token": "a"})).code is Code.BAD_REPLY

"""Texts that become vectors: what is sent, what comes back, and one that fails among many."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api_schemas.job_problems import LineProblem
from api_schemas.jobs import ParsedLine, read_job_line
from worker.domain.attempts import Failed, Succeeded
from worker.domain.jobs import ClaimedJob, Priority
from worker.errors import Code, HostError
from worker.kinds.base import Answer, Place
from worker.kinds.embed.kind import TEXTS_A_CALL, TOKENS_A_CALL
from worker.kinds.embed.reply import VectorsReader, shares
from worker.kinds.registry import kind_of, shapes, together
from worker.replies.stream import Reader
from worker.replies.vectors import unpack_vector, vector_values

T = TypeVar("T")
TOO_LONG = HostError(Code.CONTEXT_OVERFLOW, "the input length exceeds the context length")


def vector_of(text: str) -> list[float]:
    """A vector of length one that tells which text it belongs to."""
    angle = sum(text.encode()) % 6
    return [math.cos(angle), math.sin(angle), 0.0]


@dataclass
class Host:
    """Makes vectors; refuses a list with a text in ``wrong``, and gives for those in ``vectors`` what stands there."""

    wrong: Mapping[str, HostError] = field(default_factory=dict)
    vectors: Mapping[str, list[Any]] = field(default_factory=dict)
    reply: Mapping[str, Any] | None = None
    sent: list[dict[str, Any]] = field(default_factory=list)

    def ask(self, path: str, body: Mapping[str, Any], reader: Reader[T]) -> T:
        assert path == "/api/embed"
        self.sent.append(json.loads(json.dumps(body)))
        for text in body["input"]:
            if text in self.wrong:
                raise self.wrong[text]
        made = [self.vectors.get(text, vector_of(text)) for text in body["input"]]
        reply = {
            "embeddings": made,
            "total_duration": 1_000,
            "load_duration": 10,
            "prompt_eval_count": 5 * len(made),
        }
        reader.feed(json.dumps(self.reply or reply).encode())
        return reader.end()


def job(text: str, number: int = 1, **request: Any) -> ClaimedJob:
    return ClaimedJob(
        id=number,
        batch_id=1,
        custom_id=text[:20],
        model="minilm:latest",
        runner_key="minilm:latest",
        priority=Priority.NORMAL,
        prompt=text,
        request=request,
        token="t",
        attempt=1,
        charged=0,
        max_attempts=3,
        kind="embed",
    )


def answers(host: Host, *jobs: ClaimedJob, **place: Any) -> Sequence[Answer]:
    return kind_of("embed").answer(jobs, host.ask, Place(datetime(2026, 12, 1, tzinfo=UTC), **place))


def numbers(answer: Answer) -> list[float]:
    assert isinstance(answer, Succeeded)
    assert answer.result.embedding is not None
    return unpack_vector(answer.result.embedding)


def read(**fields: Any) -> ParsedLine | list[LineProblem]:
    line = {"kind": "embed", "model": "minilm", "input": "A cat.", **fields}
    return read_job_line(json.dumps(line), line=1, shapes=shapes())


def test_a_line_that_says_embed_is_a_text_with_what_is_asked_of_it() -> None:
    line = read(dimensions=8, after="other", carry="none")

    assert isinstance(line, ParsedLine)
    assert (line.kind, line.prompt, line.request, line.carry) == ("embed", "A cat.", {"dimensions": 8}, False)


def test_a_text_that_follows_another_job_only_waits_for_it() -> None:
    line = read(after="other")

    assert isinstance(line, ParsedLine)
    assert line.carry is False


@pytest.mark.parametrize(
    ("fields", "field_", "code"),
    [
        ({"input": " "}, "input", "blank"),
        ({"input": ["a", "b"]}, "input", "wrong_type"),
        ({"prompt": "x"}, "prompt", "unknown_field"),
        ({"dimensions": 0}, "dimensions", "out_of_range"),
        ({"after": "other", "carry": "context"}, "carry", "conflict"),
    ],
)
def test_what_a_text_cannot_be_is_named(fields: dict[str, Any], field_: str, code: str) -> None:
    problems = read(**fields)

    assert isinstance(problems, list)
    assert [(one.field, one.code) for one in problems] == [(field_, code)]


def test_many_texts_go_in_one_call_which_lets_nothing_be_cut_and_keeps_the_window() -> None:
    host = Host()

    found = answers(host, job("a"), job("b", 2, keep_alive="5m"), num_ctx=512)

    assert host.sent == [
        {"model": "minilm:latest", "input": ["a", "b"], "truncate": False, "options": {"num_ctx": 512}}
    ]
    assert [numbers(one) for one in found] == [pytest.approx(vector_of("a")), pytest.approx(vector_of("b"))]


def test_what_a_call_took_is_shared_out() -> None:
    found = answers(Host(), job("a" * 30), job("a" * 300, 2))

    results = [one.result for one in found if isinstance(one, Succeeded)]
    assert [one.prompt_tokens for one in results] == [1, 9]
    assert [one.total_duration for one in results] == [500, 500]
    assert [(one.answer, one.empty, one.prompt_fit) for one in results] == [("", False, "yes")] * 2


@given(st.integers(0, 10**9), st.lists(st.integers(1, 10**6), min_size=1, max_size=50))
def test_shares_add_up_to_the_whole(whole: int, weights: list[int]) -> None:
    parts = shares(whole, weights)

    assert sum(parts) == whole
    assert all(part >= 0 for part in parts)


def test_a_text_that_is_too_long_fails_alone_after_few_calls() -> None:
    host = Host(wrong={"t77": TOO_LONG})
    jobs = [job(f"t{n}", n) for n in range(128)]

    found = answers(host, *jobs)

    assert [n for n, one in enumerate(found) if not isinstance(one, Succeeded)] == [77]
    assert found[77] is TOO_LONG
    assert all(numbers(one) == pytest.approx(vector_of(f"t{n}")) for n, one in enumerate(found) if n != 77)
    assert len(host.sent) == 1 + 2 * 7


@pytest.mark.parametrize("message", ["failed to encode response: json: unsupported value: NaN", "odd"])
def test_a_text_of_which_the_model_makes_no_numbers_fails_alone(message: str) -> None:
    broken = HostError(Code.HOST_ERROR, message, status=500)

    found = answers(Host(wrong={"b": broken}), job("a"), job("b", 2), job("c", 3))

    assert [isinstance(one, Succeeded) for one in found] == [True, False, True]


@pytest.mark.parametrize(
    ("characters", "window", "options", "named"),
    [
        (9000, 8192, {}, True),
        (9000, 2048, {}, False),
        (300, 8192, {}, False),
        (9000, 8192, {"num_batch": 8192}, False),
    ],
)
def test_a_text_that_fits_the_window_and_not_the_batch_of_the_host_is_told_of_the_batch(
    characters: int, window: int, options: dict[str, Any], named: bool
) -> None:
    text = "a" * characters

    (found,) = answers(Host(wrong={text: TOO_LONG}), job(text, options=options), num_ctx=window)

    assert isinstance(found, HostError)
    assert found.code is Code.CONTEXT_OVERFLOW
    assert (f"num_batch={window}" in found.message) is named


def test_a_host_that_has_an_inner_error_for_every_text_is_not_asked_for_all_of_them() -> None:
    broken = HostError(Code.HOST_ERROR, "odd", status=500)
    host = Host(wrong={f"t{n}": broken for n in range(64)})

    assert answers(host, *(job(f"t{n}", n) for n in range(64))) == 64 * [broken]
    assert [len(body["input"]) for body in host.sent] == [64, 32, 16, 8, 4, 2, 1, 1]


def test_texts_that_were_answered_keep_their_vectors_when_the_host_dies_after_them() -> None:
    died = HostError(Code.RUNNER_DIED, "the model runner has unexpectedly stopped")
    host = Host(wrong={"t1": TOO_LONG, "t6": TOO_LONG, "t5": died})

    found = answers(host, *(job(f"t{n}", n) for n in range(8)))

    assert [isinstance(one, Succeeded) for one in found] == [True, False, True, True] + 4 * [False]
    assert found[1] is TOO_LONG
    assert found[4:] == 4 * [died]
    assert [len(body["input"]) for body in host.sent] == [8, 4, 2, 1, 1, 2, 4]


def test_a_host_that_fails_fails_all_of_its_texts() -> None:
    died = HostError(Code.RUNNER_DIED, "the model runner has unexpectedly stopped")

    with pytest.raises(HostError) as raised:
        answers(Host(wrong={"b": died}), job("a"), job("b", 2))

    assert raised.value is died


@pytest.mark.parametrize(
    ("vector", "told"),
    [
        ([math.nan, 1.0, 0.0], "the vector holds NaN or an infinite number"),
        ([0.0, 0.0, 0.0], "the vector has the length 0, expected 1"),
        ([0.5, 0.0, 0.0], "the vector has the length 0.5, expected 1"),
        (["x", 0.0, 0.0], "the vector holds something that is no number of float32"),
    ],
)
def test_a_vector_that_is_no_direction_is_a_failure_of_its_text_alone(vector: list[Any], told: str) -> None:
    host = Host(vectors={"b": vector})

    _, wrong, right = answers(host, job("a"), job("b", 2), job("c", 3))

    assert isinstance(wrong, Failed)
    assert (wrong.code, wrong.message) == (Code.INVALID_OUTPUT, told)
    assert isinstance(right, Succeeded)


def test_dimensions_that_the_model_does_not_have_are_a_failure_where_hosts_say_nothing() -> None:
    (wrong,) = answers(Host(), job("a", dimensions=9_999))

    assert isinstance(wrong, Failed)
    assert wrong.message == "dimensions: 9,999 were requested, and the model's vector has 3"


@pytest.mark.parametrize(
    "reply",
    [
        {},
        {"embeddings": [[1.0]]},
        {"embeddings": [[1.0], []]},
        {"embeddings": [[1.0], [1.0, 0.0]]},
        {"embeddings": [1.0, 2.0]},
    ],
)
def test_a_reply_without_a_vector_for_each_text_is_no_reply(reply: dict[str, Any]) -> None:
    with pytest.raises(HostError) as raised:
        answers(Host(reply=reply or {"model": "m"}), job("a"), job("b", 2))

    assert raised.value.code is Code.BAD_REPLY


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"[" * 1_000, "nested more than 65 levels"),
        (b'{"a":' * 1_000, "nested more than 65 levels"),
        (b'{"embeddings":[' + b"[]," * 600_000, "more than 500,000 texts and brackets"),
        (b'{"embeddings":[' + b'"",' * 600_000, "more than 500,000 texts and brackets"),
    ],
)
def test_a_reply_that_would_fill_the_memory_is_refused_before_it_is_parsed(body: bytes, problem: str) -> None:
    reader = VectorsReader(1)
    reader.feed(body)

    with pytest.raises(HostError, match=problem):
        reader.end()


def test_a_text_that_may_be_cut_says_that_nobody_knows_whether_it_was() -> None:
    host = Host()

    (found,) = answers(host, job("a", truncate=True))

    assert host.sent[0]["truncate"] is True
    assert isinstance(found, Succeeded)
    assert found.result.prompt_fit == "unknown"


def test_texts_of_one_call_are_bounded_in_number_and_tokens_and_asked_for_alike() -> None:
    short = [job("a", n) for n in range(1_000)]
    long = [job("a" * 3 * 5_000, n) for n in range(10)]
    mixed = [job("a", 0), job("b", 1, dimensions=8), job("c", 2, keep_alive=0), job("d", 3)]
    keys = dict.fromkeys(range(1_000), "minilm:latest")

    assert len(together(short, 0, keys)) == TEXTS_A_CALL
    assert len(together(long, 0, keys)) == TOKENS_A_CALL // 5_000
    assert together([job("a" * 10**6, 0), job("b", 1)], 0, keys) == [0]
    assert together(mixed, 0, keys) == [0, 2, 3]


@given(st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=40))
def test_a_vector_as_text_is_the_same_vector(values: list[float]) -> None:
    from worker.replies.vectors import pack_vector

    packed = pack_vector(values)

    assert unpack_vector(packed) == values
    assert pack_vector(vector_values(packed)) == packed

"""A stream that was damaged on the way, or made to do harm: a reply or a HostError, soon and in little memory."""

import json
import time
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.domain.replies import Reply
from worker.errors import Code, HostError
from worker.kinds.generate.kind import ReplyReader

STREAM = b"".join(
    json.dumps(record).encode() + b"\n"
    for record in (
        {"model": "m", "response": "Hello", "done": False},
        {"model": "m", "response": " w\u00f6rld \U0001f600", "thinking": "hm", "done": False},
        {
            "model": "m",
            "response": "",
            "done": True,
            "done_reason": "stop",
            "context": [1, 2],
            "eval_count": 3,
        },
    )
)

reproducible = settings(max_examples=300)


def read(*reads: bytes) -> Reply:
    reader = ReplyReader()
    for data in reads:
        if (reply := reader.feed(data)) is not None:
            return reply
    reader.end()
    raise AssertionError


@reproducible
@given(
    st.lists(
        st.tuples(
            st.integers(0, len(STREAM)),
            st.integers(0, 12),
            st.binary(max_size=8)
            | st.sampled_from(
                [b"\n", b'"', b"{", b"}", b"[[", b"\\ud800", b"\0", b"NaN", b"null", b"-1", b"1e999"]
            ),
        ),
        min_size=1,
        max_size=4,
    ),
    st.integers(0, len(STREAM)),
)
def test_a_damaged_stream_is_a_reply_or_a_failure_with_a_code(
    damages: list[tuple[int, int, bytes]], cut: int
) -> None:
    body = STREAM
    for place, removed, put in damages:
        body = body[:place] + put + body[place + removed :]

    try:
        reply = read(body[:cut], body[cut:])
    except HostError as error:
        told: Code | None = error.code
        texts = error.message + error.partial
    else:
        told = None
        texts = reply.response + reply.thinking + reply.model

    assert told in {None, Code.BAD_REPLY, Code.REPLY_CUT}
    texts.encode()


@pytest.mark.parametrize(
    "line",
    [
        b'{"a":[' + b"{}," * 600_000 + b"{}]}",
        b'{"a":[' + b"[]," * 600_000 + b'[]],"response":"","done":false}',
        b"[" * 6_000_000,
        b'{"a":' * 1_000_000,
        b"[" * 70 + b'"' + b'\\"' * 3_000_000,
        b'{"a":[' + b"[]," * 40 + b'"xx",' * 1_000_000 + b"1]}",
    ],
    ids=["objects", "lists", "levels", "levels of objects", "a text without end", "texts"],
)
def test_a_line_that_would_grow_where_it_is_parsed_is_refused_before(line: bytes) -> None:
    tracemalloc.start()
    began = time.process_time()

    with pytest.raises(HostError) as caught:
        read(line + b"\n")

    took = time.process_time() - began
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert caught.value.code is Code.BAD_REPLY
    assert most < 6 * len(line)
    assert took < 20

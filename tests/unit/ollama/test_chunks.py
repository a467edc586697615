"""Chunked bodies, cut anywhere and broken anywhere."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.ollama.chunks import LONGEST_LINE, ChunkedBody

WHOLE = b"5\r\nHello\r\n2;name=value\r\n, \r\n0006 \r\nworld\n\r\n0\r\nX: y\r\n\r\n"


@given(cuts=st.sets(st.integers(0, len(WHOLE))))
def test_a_body_says_the_same_wherever_it_is_cut(cuts: set[int]) -> None:
    body = ChunkedBody()
    places = [0, *sorted(cuts), len(WHOLE)]

    pieces = [body.feed(WHOLE[start:end]) for start, end in pairwise(places)]

    assert b"".join(pieces) == b"Hello, world\n"
    assert body.has_ended
    assert not body.rest
    assert body.problem is None


def test_bytes_of_a_chunk_are_given_before_the_chunk_is_whole() -> None:
    body = ChunkedBody()

    assert body.feed(b"a\r\n1234") == b"1234"
    assert body.feed(b"567890") == b"567890"


@pytest.mark.parametrize(
    ("data", "is_whole"),
    [(b"", False), (b"2\r\nab", False), (b"2\r\nab\r\n", False), (b"2\r\nab\r\n0\r\n", True)],
)
def test_a_body_is_whole_once_its_last_chunk_came(data: bytes, is_whole: bool) -> None:
    body = ChunkedBody()
    body.feed(data)

    assert (body.is_whole, body.has_ended) == (is_whole, False)


def test_what_comes_behind_the_end_is_left() -> None:
    body = ChunkedBody()

    assert body.feed(b"2\r\nab\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n") == b"ab"
    assert body.has_ended
    assert body.rest == b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    "length", [b"", b"-1", b"+5", b"0x5", b"1_0", b"zz", b"\xff", b"5 5", b";x=y", b"HTTP/1.1 200 OK"]
)
def test_what_is_no_length_of_a_chunk_is_a_problem_and_what_came_before_is_kept(length: bytes) -> None:
    body = ChunkedBody()

    assert body.feed(b"2\r\nab\r\n" + length + b"\r\nabcdef") == b"ab"
    assert "is not the length of a chunk" in (body.problem or "")
    assert body.feed(b"0\r\n\r\n") == b""


def test_a_chunk_that_goes_on_behind_its_length_is_a_problem() -> None:
    body = ChunkedBody()

    assert body.feed(b"2\r\nabcd\r\n") == b"ab"
    assert body.problem == "a chunk is longer than its length says"


def test_a_length_without_end_is_a_problem() -> None:
    body = ChunkedBody()
    for _ in range(LONGEST_LINE // 1024 + 1):
        body.feed(b"1" * 1024)

    assert "a line of more than" in (body.problem or "")

"""The answering host speaks enough of Ollama for a client to work with it."""

import http.client
import io
import json
import socket
from typing import Any, cast

import pytest

from benchmarks.answerer import MODELS, OUTPUT_TOKENS, TEXT, WINDOW, Request, State, take_request
from worker.kinds.generate.kind import ReplyReader
from worker.ollama.probe import read_loaded, read_models

MODEL = MODELS[0]


class _Wire:
    """Bytes that came, as ``http.client`` wants to read them."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, _mode: str) -> io.BytesIO:
        return io.BytesIO(self._data)


def body_of(data: bytes) -> bytes:
    response = http.client.HTTPResponse(cast(socket.socket, _Wire(data)))
    response.begin()
    assert response.status == 200
    return response.read()


def ask(state: State, method: str, path: str, fields: dict[str, Any] | None = None) -> bytes:
    return body_of(state.answer(Request(method, path, json.dumps(fields).encode() if fields else b"")))


def generate(state: State, **fields: Any) -> bytes:
    return ask(state, "POST", "/api/generate", {"model": MODEL, **fields})


def test_a_request_that_comes_in_pieces_is_taken_once_it_is_whole() -> None:
    whole = b"POST /api/generate HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody"
    buffer = bytearray()

    taken = []
    for byte in whole * 2:
        buffer.append(byte)
        taken.append(take_request(buffer))

    assert [request for request in taken if request] == [Request("POST", "/api/generate", b"body")] * 2
    assert taken[len(whole) - 1] is not None
    assert not buffer


def test_what_is_no_request_is_refused() -> None:
    with pytest.raises(ValueError):
        take_request(bytearray(b"\x16\x03\x01\r\n\r\n"))


def test_a_streamed_reply_is_whole_for_the_client_that_reads_it() -> None:
    reply = ReplyReader().feed(generate(State(), prompt="Hello"))

    assert reply is not None
    assert (reply.response, reply.done_reason, reply.eval_count) == (TEXT, "stop", OUTPUT_TOKENS)
    assert reply.context is not None
    assert reply.chunks > 2


def test_an_unstreamed_reply_says_the_same() -> None:
    reply = json.loads(generate(State(), prompt="Hello", stream=False))

    assert (reply["response"], reply["done"], reply["eval_count"]) == (TEXT, True, OUTPUT_TOKENS)


def test_an_empty_prompt_loads_and_a_keep_alive_of_nothing_unloads() -> None:
    state = State()

    def resident() -> list[tuple[str, int | None]]:
        loaded = read_loaded(lambda path, _: cast(dict[str, Any], json.loads(ask(state, "GET", path))))
        return [(model.name, model.context_length) for model in loaded]

    loaded = json.loads(generate(state, prompt="", options={"num_ctx": 8192}))
    held = resident()
    unloaded = json.loads(generate(state, prompt="", keep_alive=0))

    assert (loaded["done"], loaded["done_reason"], held) == (True, "load", [(MODEL, 8192)])
    assert (unloaded["done_reason"], resident()) == ("unload", [])


def test_a_reply_leaves_its_model_loaded_and_is_counted() -> None:
    state = State()

    generate(state, prompt="Hello")

    assert json.loads(ask(state, "GET", "/bench/state")) == {"generated": 1, "loaded": [MODEL]}
    assert json.loads(ask(state, "GET", "/api/ps"))["models"][0]["context_length"] == WINDOW


def test_its_models_are_told_without_a_further_question() -> None:
    asked = []

    def tell(path: str, _: object) -> dict[str, Any]:
        asked.append(path)
        return cast(dict[str, Any], json.loads(ask(State(), "GET", path)))

    models = read_models(tell, {})

    assert [model.name for model in models] == list(MODELS)
    assert asked == ["/api/tags"]


def test_a_model_that_it_does_not_have_is_not_found() -> None:
    answer = State().answer(Request("POST", "/api/generate", b'{"model": "none", "prompt": "x"}'))

    assert answer.startswith(b"HTTP/1.1 404 ")
    assert b"not found" in answer

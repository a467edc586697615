"""Statuses, error texts and broken connections → what they mean."""

import http.client
import json
import socket

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st
from urllib3.exceptions import (
    ConnectTimeoutError,
    MaxRetryError,
    NewConnectionError,
    ProtocolError,
)

from tests.unit.ollama.recordings import VERSIONS, Exchange, exchange, exchanges
from worker.errors import CODES, Code, HostError
from worker.ollama.calls import Call
from worker.ollama.chunks import BrokenChunks
from worker.ollama.failures import from_exception, from_status, while_loading
from worker.replies.wording import from_error_value

JSON = "application/json; charset=utf-8"

both_versions = pytest.mark.parametrize("version", VERSIONS)


def refused(status: int, text: str) -> HostError:
    return from_status(status, JSON, json.dumps({"error": text}).encode())


TEXTS = [
    # what the request did wrong
    (400, "missing request body", Code.INVALID_REQUEST),
    (400, "unexpected EOF", Code.INVALID_REQUEST),
    (400, "invalid character 'o' in literal null (expecting 'u')", Code.INVALID_REQUEST),
    (
        400,
        "json: cannot unmarshal number into Go struct field GenerateRequest.prompt of type string",
        Code.INVALID_REQUEST,
    ),
    (400, "illegal base64 data at input byte 0", Code.INVALID_REQUEST),
    (400, "invalid model name", Code.INVALID_REQUEST),
    (400, "model is required", Code.INVALID_REQUEST),
    (400, 'time: missing unit in duration "-1"', Code.INVALID_REQUEST),
    (400, "Unsupported type: 'bool'", Code.INVALID_REQUEST),
    (400, "raw mode does not support template, system, or context", Code.INVALID_REQUEST),
    (400, "top_logprobs must be between 0 and 20", Code.INVALID_REQUEST),
    (
        400,
        'invalid think value: "yes" (must be "high", "medium", "low", "max", true, or false)',
        Code.INVALID_REQUEST,
    ),
    (500, 'option "num_ctx" must be of type integer', Code.INVALID_REQUEST),
    (500, 'option "stop" must be of an array of strings', Code.INVALID_REQUEST),
    (500, 'invalid format: "\\"xml\\""; expected "json" or a valid JSON Schema object', Code.INVALID_REQUEST),
    (
        500,
        'invalid format: "\\"out of memory\\""; expected "json" or a valid JSON Schema object',
        Code.INVALID_REQUEST,
    ),
    (500, "invalid JSON schema in format", Code.INVALID_REQUEST),
    (500, "template: :1: unclosed action", Code.INVALID_REQUEST),
    (500, 'template: :1: function "out" not defined', Code.INVALID_REQUEST),
    (
        500,
        "Failed to create new sequence: failed to process inputs: image: unknown format",
        Code.INVALID_REQUEST,
    ),
    # what the model or server cannot do
    (
        500,
        "Failed to create new sequence: failed to process inputs: this model is missing data required for image input",
        Code.UNSUPPORTED,
    ),
    (400, '"plain" does not support thinking', Code.UNSUPPORTED),
    (400, '"embed" does not support generate', Code.UNSUPPORTED),
    (400, "registry.ollama.ai/library/test:latest does not support insert", Code.UNSUPPORTED),
    (400, "registry.ollama.ai/library/test:latest does not support tools", Code.UNSUPPORTED),
    (400, "image generation models are not currently supported", Code.UNSUPPORTED),
    (400, "this server cannot run this remote model", Code.UNSUPPORTED),
    (403, "ollama cloud is disabled: remote model is unavailable", Code.UNSUPPORTED),
    (501, "This server does not support embeddings. Start it with `--embeddings`", Code.UNSUPPORTED),
    (400, '"out-of-memory" does not support thinking', Code.UNSUPPORTED),
    # windows
    (400, "the input length exceeds the context length", Code.CONTEXT_OVERFLOW),
    (
        400,
        (
            "the prompt is longer than the context length currently available to the model; shorten the prompt, adjust "
            "the context length in settings, or use a model with a longer context length"
        ),
        Code.CONTEXT_OVERFLOW,
    ),
    (
        500,
        "input (3000 tokens) is too large to process. increase the physical batch size (current batch size: 2048)",
        Code.CONTEXT_OVERFLOW,
    ),
    # models
    (404, "model '' not found", Code.MODEL_MISSING),
    (404, "model 'deepseek-r1:7b' not found", Code.MODEL_MISSING),
    (404, "model 'out-of-memory' not found", Code.MODEL_MISSING),
    (404, 'model "nope" not found, try pulling it first', Code.MODEL_MISSING),
    # the queue
    (503, "server busy, please try again.  maximum pending requests exceeded", Code.HOST_BUSY),
    (503, "Loading model", Code.HOST_BUSY),
    (429, "too many concurrent requests", Code.HOST_BUSY),
    (499, "request canceled", Code.HOST_ERROR),
    # loads
    (500, "llama runner process has terminated: exit status 2", Code.LOAD_FAILED),
    (500, "llama runner process no longer running: -1 ", Code.LOAD_FAILED),
    (500, "timed out waiting for llama runner to start - progress 0.42 - ", Code.LOAD_FAILED),
    (
        500,
        (
            "model failed to load, this may be due to resource limitations or an internal error, check ollama server "
            "logs for details"
        ),
        Code.LOAD_FAILED,
    ),
    (500, "unable to load full model on GPU", Code.LOAD_FAILED),
    (
        500,
        (
            "error loading model: this model may be incompatible with your version of Ollama. If you previously pulled "
            "this model, try updating it by running `ollama pull x`"
        ),
        Code.LOAD_FAILED,
    ),
    (500, "llama-server process has terminated: exit status 1: error: no such file", Code.LOAD_FAILED),
    (500, "timed out waiting for llama-server to start - ", Code.LOAD_FAILED),
    (500, "error starting llama-server: fork/exec: no such file or directory", Code.LOAD_FAILED),
    # memory
    (500, "model requires more system memory (12.3 GiB) than is available (4.0 GiB)", Code.OUT_OF_MEMORY),
    (500, "memory layout cannot be allocated with num_gpu = 99", Code.OUT_OF_MEMORY),
    (500, "failed to commit memory for model", Code.OUT_OF_MEMORY),
    (500, "llama-server reported out-of-memory during startup: cudaMalloc failed", Code.OUT_OF_MEMORY),
    (500, "llama runner process has terminated: cudaMalloc failed: out of memory", Code.OUT_OF_MEMORY),
    # runners
    (
        500,
        (
            "model runner has unexpectedly stopped, this may be due to resource limitations or an internal error, check "
            "ollama server logs for details"
        ),
        Code.RUNNER_DIED,
    ),
    (500, "an error was encountered while running the model: unexpected EOF", Code.RUNNER_DIED),
    (500, "an error was encountered while running the model: CUDA error: out of memory", Code.OUT_OF_MEMORY),
    (500, 'detokenize error: Post "http://127.0.0.1:40123/detokenize": EOF', Code.RUNNER_DIED),
    *[
        (status, text, Code.RUNNER_DIED)
        for status in (400, 500)  # embed sends the failures of its runner as 400
        for text in (
            'do embedding request: Post "http://127.0.0.1:38271/v1/embeddings": EOF',
            'Post "http://127.0.0.1:40123/tokenize": dial tcp 127.0.0.1:40123: connect: connection refused',
            'health resp: Get "http://127.0.0.1:40123/health": EOF',
            'llama-server apply-template error: Post "http://127.0.0.1:1/apply-template": EOF',
            "error reading embed response: unexpected EOF",
            "error reading llama-server response: read tcp 127.0.0.1:1->127.0.0.1:2: connection reset by peer",
            "unexpected server status: llm server not responding",
        )
    ],
    (400, "llama runner process no longer running: -1 ", Code.LOAD_FAILED),
    (400, "llama-server process has terminated: cudaMalloc failed: out of memory", Code.OUT_OF_MEMORY),
    (400, "embedding contains NaN or Inf values", Code.INVALID_REQUEST),
    (500, "prediction aborted, token repeat limit reached", Code.REPEATED_OUTPUT),
    # anything else
    (500, "Failed to create new sequence: no input provided", Code.HOST_ERROR),
    (500, "something new", Code.HOST_ERROR),
    (502, "bad gateway", Code.HOST_UNREACHABLE),
]


@pytest.mark.parametrize(("status", "text", "code"), TEXTS)
def test_each_known_text_has_its_code(status: int, text: str, code: Code) -> None:
    error = refused(status, text)

    assert (error.code, error.status, error.message) == (code, status, " ".join(text.split()))


RECORDED_CODES = {
    "option": Code.INVALID_REQUEST,
    "format": Code.INVALID_REQUEST,
    "keep_alive": Code.INVALID_REQUEST,
    "unknown model": Code.MODEL_MISSING,
    "no model": Code.MODEL_MISSING,
    "model missing": Code.MODEL_MISSING,
    "image sent to a text model": Code.UNSUPPORTED,
    "suffix": Code.UNSUPPORTED,
    "GET on generate": Code.BAD_REPLY,
    "unknown path": Code.BAD_REPLY,
}
EXCEPTIONS = {"chat: no model": Code.INVALID_REQUEST}


def _recorded_refusals() -> list[Exchange]:
    return [
        one
        for version in VERSIONS
        for scene in ("errors", "generate-basic", "thinking", "context-window", "queue-full")
        for one in exchanges(version, scene)
        if one.status is not None and one.status >= 400
    ]


@pytest.mark.parametrize("recorded", _recorded_refusals(), ids=lambda one: one.id)
def test_every_recorded_refusal_has_the_right_code(recorded: Exchange) -> None:
    assert recorded.status is not None
    label = recorded.label
    match recorded.scene:
        case "queue-full":
            expected = Code.HOST_BUSY
        case "context-window":
            expected = Code.CONTEXT_OVERFLOW
        case "thinking":
            expected = (
                Code.UNSUPPORTED if "does not support" in recorded.body.decode() else Code.INVALID_REQUEST
            )
        case _:
            found = [code for start, code in RECORDED_CODES.items() if start in label]
            expected = EXCEPTIONS.get(label) or (found[0] if found else Code.INVALID_REQUEST)

    error = from_status(recorded.status, recorded.content_type, recorded.body)

    assert error.code is expected, error.message
    assert error.message
    assert "{" not in error.message or "error" not in error.message


def test_a_newer_server_names_the_numbers_of_an_overflow() -> None:
    recorded = next(
        one
        for one in exchanges("ollama-0.33.0-rc2", "context-window")
        if one.status == 400 and "exceed_context_size_error" in one.body.decode()
    )

    error = from_status(400, recorded.content_type, recorded.body)

    assert error.code is Code.CONTEXT_OVERFLOW
    assert error.numbers["n_ctx"] == 256
    assert error.numbers["n_prompt_tokens"] > 4000
    assert error.message.startswith(f"request ({error.numbers['n_prompt_tokens']} tokens) exceeds")


def test_an_older_server_says_only_that_it_does_not_fit() -> None:
    error = refused(400, "the input length exceeds the context length")

    assert (error.code, error.numbers) == (Code.CONTEXT_OVERFLOW, {})


def test_a_context_that_cannot_be_read_back_is_the_jobs_fault() -> None:
    recorded = exchange("ollama-0.33.0-rc2", "poison-context", "context with an unknown token id")

    error = from_status(500, recorded.content_type, recorded.body)

    assert error.code is Code.CONTEXT_MISMATCH
    assert error.message.startswith("detokenize error: vector::_M_range_check")


def test_json_text_inside_the_error_is_unwrapped() -> None:
    recorded = exchange("ollama-0.33.0-rc2", "errors", "format bad schema")

    error = from_status(400, recorded.content_type, recorded.body)

    assert error.code is Code.INVALID_REQUEST
    assert error.message.startswith("Field 'json_schema'")


def test_images_on_a_text_model_are_refused_by_a_newer_server_as_unsupported() -> None:
    error = refused(
        400,
        json.dumps(
            {
                "error": {
                    "code": 400,
                    "message": "Multimodal data provided, but model does not support multimodal requests.",
                }
            }
        ),
    )

    assert error.code is Code.UNSUPPORTED
    assert error.message == "Multimodal data provided, but model does not support multimodal requests."


def test_what_a_schema_says_is_not_read_as_the_hosts_failure() -> None:
    error = refused(400, "JSON schema error at #: unrecognized type llama runner process has terminated")

    assert error.code is Code.INVALID_REQUEST


@pytest.mark.parametrize(
    ("status", "content_type", "body", "code"),
    [
        (301, "text/html", b"<a href='https://x'>moved</a>", Code.BAD_REPLY),
        (307, "", b"", Code.BAD_REPLY),
        (204, "", b"", Code.BAD_REPLY),
        (404, "text/plain", b"404 page not found", Code.BAD_REPLY),
        (405, "text/plain", b"405 method not allowed", Code.BAD_REPLY),
        (403, "", b"", Code.BAD_REPLY),
        (400, "text/plain", b"Client sent an HTTP request to an HTTPS server.", Code.BAD_REPLY),
        (413, "text/html", b"<html>Request Entity Too Large</html>", Code.INVALID_REQUEST),
        (500, "text/html", b"<html>Oops</html>", Code.BAD_REPLY),
        (500, "", b"", Code.HOST_ERROR),
        (500, "text/plain", b"panic", Code.HOST_ERROR),
        (502, "text/html", b"<html>Bad Gateway</html>", Code.HOST_UNREACHABLE),
        (503, "text/html", b"<html>Busy</html>", Code.HOST_BUSY),
        (504, "text/html", b"<html>Gateway Timeout</html>", Code.HOST_UNREACHABLE),
    ],
)
def test_what_is_no_ollama_error_goes_by_its_status(
    status: int, content_type: str, body: bytes, code: Code
) -> None:
    error = from_status(status, content_type, body)

    assert error.code is code
    assert str(status) in error.message
    assert "<" not in error.message


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (401, b'{"error": "no token"}', "--basic-auth or --bearer: no token"),
        (401, b"<html>401 Authorization Required</html>", "the host refuses us (401 Unauthorized)"),
        (403, b"", "proxy_set_header Host localhost"),
        (404, b"<html>nginx</html>", "there is no Ollama at this URL (404 Not Found); check its path"),
        (400, b"<html>The plain HTTP request was sent to HTTPS port</html>", "https://, not http://"),
        (400, b"Client sent an HTTP request to an HTTPS server.\n", "https://, not http://"),
        (502, b"<html>Bad Gateway</html>", "a proxy answers in the host's place (502 Bad Gateway)"),
        (504, b"<html>Gateway Time-out</html>", "a proxy gave up waiting for the host (504 Gateway Timeout)"),
        (524, b"<html>A timeout occurred</html>", "a proxy gave up waiting"),
    ],
)
def test_a_refusal_of_something_between_says_what_to_do(status: int, body: bytes, words: str) -> None:
    content_type = "text/html" if body.startswith(b"<") else "application/json"

    error = from_status(status, content_type, body)

    assert words in error.message
    assert CODES[error.code].fault == "host"


def test_an_inner_failure_during_a_load_is_a_failed_load_and_no_jobs_fault() -> None:
    assert while_loading(refused(500, "something new")).code is Code.LOAD_FAILED
    assert while_loading(refused(500, "model runner has unexpectedly stopped")).code is Code.LOAD_FAILED
    assert while_loading(refused(404, "model 'x' not found")).code is Code.MODEL_MISSING
    assert while_loading(refused(503, "server busy, please try again.")).code is Code.HOST_BUSY


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (requests.ConnectionError(MaxRetryError(None, "/", ConnectionRefusedError(111, "Connection refused"))),  # type: ignore[arg-type]
         Code.HOST_UNREACHABLE, "connection refused"),
        (requests.ConnectionError(MaxRetryError(None, "/", socket.gaierror(-2, "Name or service not known"))),  # type: ignore[arg-type]
         Code.HOST_UNREACHABLE, "the host's name is not known"),
        (requests.ConnectTimeout(MaxRetryError(None, "/", ConnectTimeoutError("timed out"))),  # type: ignore[arg-type]
         Code.HOST_UNREACHABLE, "no connection within the time for it"),
        (requests.ConnectionError(ProtocolError("Connection aborted.", http.client.RemoteDisconnected("gone"))),
         Code.HOST_UNREACHABLE, "the host closed the connection without an answer"),
        (requests.ConnectionError(ProtocolError("Connection aborted.", ConnectionResetError(104, "Connection reset by peer"))),
         Code.HOST_UNREACHABLE, "connection reset by peer"),
        (requests.ConnectionError(ProtocolError("Connection aborted.", http.client.BadStatusLine("SSH-2.0"))),
         Code.BAD_REPLY, "SSH-2.0"),
        (requests.ConnectionError(ProtocolError("Connection aborted.", http.client.LineTooLong("header line"))),
         Code.BAD_REPLY, "header line"),
    ],
    ids=lambda value: None if isinstance(value, str | Code) else type(value).__name__,
)  # fmt: skip
def test_a_request_without_an_answer_says_why(error: Exception, code: Code, words: str) -> None:
    found = from_exception(error, Call(), answered=False)

    assert found.code is code
    assert words in found.message


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ProtocolError("Connection broken", http.client.IncompleteRead(b"x", 5)), Code.REPLY_CUT),
        (ProtocolError("Response ended prematurely"), Code.REPLY_CUT),
        (
            ProtocolError("Connection broken", ConnectionResetError(104, "Connection reset by peer")),
            Code.REPLY_CUT,
        ),
        (requests.exceptions.ChunkedEncodingError("cut"), Code.REPLY_CUT),
    ],
    ids=lambda value: None,
)
def test_a_body_that_breaks_off_is_a_cut_reply(error: Exception, code: Code) -> None:
    assert from_exception(error, Call(), answered=True).code is code


def test_a_body_that_is_not_chunked_as_it_says_is_a_bad_reply() -> None:
    error = from_exception(BrokenChunks("'zz' is not the length of a chunk"), Call(), answered=True)

    assert error.code is Code.BAD_REPLY
    assert error.message == "the host sent a broken body: 'zz' is not the length of a chunk"


def test_the_end_that_this_side_made_wins_over_what_it_looks_like() -> None:
    call = Call()
    call.abort(Code.EXPIRED, reason="its deadline passed")

    error = from_exception(ConnectionResetError(104, "Connection reset by peer"), call, answered=True)

    assert (error.code, error.message) == (Code.EXPIRED, "its deadline passed")


def test_a_message_never_shows_credentials_of_the_url() -> None:
    reason = NewConnectionError(None, "Failed to establish a new connection")  # type: ignore[arg-type]
    error = requests.ConnectionError(MaxRetryError(None, "http://me:secret@gpu-1/api/generate", reason))  # type: ignore[arg-type]

    assert "secret" not in from_exception(error, Call(), answered=False).message


@pytest.mark.parametrize(
    "value", [None, "", 5, [], {}, {"message": 5}, {"message": "m", "n_ctx": "x"}, "{", "{}"]
)
def test_an_odd_error_value_is_still_a_failure(value: object) -> None:
    error = from_error_value(value)

    assert error.code is Code.HOST_ERROR
    assert error.message


def test_a_message_is_one_line_that_can_be_shown_and_stored() -> None:
    error = refused(500, "a\x1b[31m\x00b\nc \ud800" + "x" * 10_000)

    assert error.message.isprintable()
    assert "\x00" not in error.message
    assert len(error.message) <= 2000
    error.message.encode()


@given(st.integers(200, 599), st.text(max_size=20), st.binary(max_size=100))
def test_any_response_is_a_failure_and_never_a_defect(status: int, content_type: str, body: bytes) -> None:
    from_status(status, content_type, body).message.encode()

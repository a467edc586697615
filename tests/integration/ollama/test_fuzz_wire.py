"""Whatever comes over the wire, on every endpoint: an answer or a HostError, soon and in little memory."""

import json
import resource
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.asking import generate
from tests.integration.ollama.scripted import (
    DONE,
    END,
    STREAM_HEAD,
    Action,
    Close,
    Flood,
    Send,
    body,
    chunk,
    record,
    scripted,
)
from worker.domain.runners import RunnerKey
from worker.errors import Code, HostError
from worker.ollama.client import Deadlines, OllamaHost
from worker.ollama.models import pull

QUICK = Deadlines(connect=2, first_byte=2, silence=2, total=3, load=2, probe=2)

ANSWERS: dict[str, Any] = {
    "/api/version": {"version": "0.33.1"},
    "/api/ps": {
        "models": [
            {
                "name": "m:latest",
                "digest": "d1",
                "size": 5,
                "context_length": 4096,
                "expires_at": "2026-01-02T03:04:05Z",
            }
        ]
    },
    "/api/tags": {
        "models": [
            {
                "name": "m:latest",
                "digest": "d1",
                "size": 5,
                "details": {"family": "f", "parameter_size": "1B"},
            },
            {
                "name": "n:latest",
                "digest": "d2",
                "size": 5,
                "details": {"family": "f", "parameter_size": "1B"},
            },
        ]
    },
    "/api/show": {
        "capabilities": ["completion", "thinking"],
        "modelfile": "FROM /blobs/x\nPARAMETER num_ctx 5",
        "model_info": {"general.architecture": "a", "a.context_length": 4096, "a.vocab_size": 32000},
    },
    "/api/generate": {"model": "m", "response": "Hi", "done": True, "done_reason": "load", "context": [1]},
    "/api/pull": {"status": "success", "total": 1, "completed": 1},
}
ASKS: dict[str, Callable[[OllamaHost], object]] = {
    "version": OllamaHost.version,
    "ps": OllamaHost.loaded,
    "tags and show": OllamaHost.models,
    "load": lambda gpu: gpu.load(RunnerKey("m:latest"), keep_alive=60),
    "unload": lambda gpu: gpu.unload("m:latest"),
    "generate": lambda gpu: generate(gpu, {"model": "m", "prompt": "x", "context": [1]}),
    "pull": lambda gpu: pull(gpu, "m:latest", hear=lambda progress: None),
}

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=6)
    | st.just("\ud800\0\x1b[2J"),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=8,
)


@st.composite
def damaged(draw: st.DrawFn, path: str) -> bytes:
    """An answer of ``path`` with some of its values exchanged, or some of its bytes, or any bytes at all."""
    answer = json.loads(json.dumps(ANSWERS[path]))
    match draw(st.sampled_from(["values", "bytes", "anything"])):
        case "anything":
            return draw(st.binary(max_size=60))
        case "bytes":
            data = json.dumps(answer).encode()
            place, removed = draw(st.integers(0, len(data))), draw(st.integers(0, 20))
            return data[:place] + draw(st.binary(max_size=6)) + data[place + removed :]
    holder: Any = answer
    while True:
        key = draw(st.sampled_from(sorted(holder) if isinstance(holder, dict) else range(len(holder))))
        inner = holder[key]
        if isinstance(inner, dict | list) and inner and draw(st.booleans()):
            holder = inner
            continue
        holder[key] = draw(values)
        return json.dumps(answer).encode()


@st.composite
def framed(draw: st.DrawFn, path: str) -> list[Action]:
    """The answer as HTTP, right or wrong."""
    data = draw(damaged(path))
    head = f"HTTP/1.1 {draw(st.sampled_from([200, 200, 200, 200, 204, 404, 500, 503]))} X\r\n".encode()
    match draw(
        st.sampled_from(["length", "length", "chunks", "chunks", "wrong length", "no length", "wrong chunk"])
    ):
        case "length":
            framing = b"Content-Length: %d\r\n\r\n%b" % (len(data), data)
        case "chunks":
            cut = draw(st.integers(0, len(data)))
            parts = b"".join(chunk(part) for part in (data[:cut], data[cut:]) if part)
            framing = (
                b"Transfer-Encoding: chunked\r\n\r\n"
                + parts
                + draw(st.sampled_from([END, b"", b"0\r\nX: y\r\n\r\n"]))
            )
        case "wrong length":
            length = draw(st.sampled_from([b"-1", b"9999999999999999999999", b"x", b"1, 2", b"", b"\xff"]))
            framing = b"Content-Length: %b\r\n\r\n%b" % (length, data)
        case "no length":
            framing = b"\r\n" + data
        case _:
            size = draw(
                st.sampled_from([b"-1", b"-5", b"ffffffffffffffff", b"0x5", b"", b"5;x=y", b"+5", b"\xff"])
            )
            framing = b"Transfer-Encoding: chunked\r\n\r\n%b\r\n%b" % (size, data)
    return [Send(head + framing), Close()]


def asked(ask: Callable[[OllamaHost], object], answer: Any) -> HostError | None:
    with scripted(answer) as host:
        gpu = OllamaHost(host.url, deadlines=QUICK)
        try:
            ask(gpu)
        except HostError as error:
            error.message.encode()
            error.partial.encode()
            return error
        finally:
            gpu.close()
    return None


@pytest.mark.parametrize("name", ASKS)
@settings(max_examples=40, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_answer_of_any_endpoint_is_read_or_refused(name: str, data: st.DataObject) -> None:
    answers = {path: data.draw(framed(path)) for path in ANSWERS}

    error = asked(ASKS[name], lambda request: answers[request.path])

    assert error is None or error.code in Code


@pytest.mark.fault(17)
@pytest.mark.parametrize("length", [b"-1", b"-2", b"-ffffffff"])
def test_a_chunk_length_below_zero_is_not_read_as_all_there_is(length: bytes) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    error = asked(ASKS["generate"], [Send(STREAM_HEAD + length + b"\r\n"), Flood(b"x" * 65_536)])

    assert error is not None
    assert error.code is Code.BAD_REPLY
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000, "kilobytes"


@pytest.mark.fault(17)
def test_a_packed_body_is_refused_and_never_unpacked() -> None:
    head = STREAM_HEAD.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n")

    error = asked(ASKS["generate"], [Send(head), Flood(chunk(b"\x1f\x8b" + b"\0" * 60_000))])

    assert error is not None
    assert error.code is Code.BAD_REPLY
    assert "packed with 'gzip'" in error.message


@pytest.mark.fault(18)
@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ("Retry-After: 20", 20),
        ("Retry-After: Mon, 23 Nov 2026 02:01:00 GMT\r\nDate: Mon, 23 Nov 2026 02:00:00 GMT", 60),
        ("Retry-After: Mon, 23 Nov 2026 02:00:00 GMT\r\nDate: Mon, 23 Nov 2026 02:01:00 GMT", 0),
        ("Retry-After: soon", None),
        ("Retry-After: -5", None),
        ("Retry-After: Mon, 23 Nov 2026 02:01:00 GMT", None),
        ("X: y", None),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_how_long_a_busy_host_wants_to_be_left_alone_is_read(
    status: int, headers: str, seconds: int | None
) -> None:
    head = (
        f"HTTP/1.1 {status} Busy\r\n{headers}\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n"
    )

    error = asked(ASKS["generate"], [Send(head.encode() + b'{"error":"busy"}')])

    assert error is not None
    assert error.code is Code.HOST_BUSY
    assert error.numbers.get("retry_after") == seconds


def test_names_that_no_job_could_name_are_left_out_and_no_control_sign_reaches_a_terminal() -> None:
    odd = ["\ud800", "a\0b", "\x1b[2Jclear", "x" * 1000, "good:latest"]
    listed = {"models": [{"name": name, "digest": "d\0" + name, "size": 1} for name in odd]}
    answers = {
        "/api/tags": body(listed),
        "/api/version": body({"version": "0.33\x1b[2J\0\n" + "9" * 100}),
        "/api/show": body({}),
    }

    with scripted(lambda request: answers[request.path]) as host:
        gpu = OllamaHost(host.url, deadlines=QUICK)
        models, version = gpu.models(), gpu.version()
        gpu.close()

    assert [model.name for model in models] == ["good:latest"]
    assert models[0].digest == ""
    assert version.isprintable()
    assert len(version) <= 50


def test_a_host_that_lists_more_models_than_there_can_be_is_no_ollama_server() -> None:
    listed = {"models": [{"name": f"m{n}"} for n in range(2_001)]}

    error = asked(OllamaHost.models, lambda request: body(listed if request.path == "/api/tags" else {}))

    assert error is not None
    assert error.code is Code.BAD_REPLY
    assert error.message == "the host sent 2,001 models, more than 2,000"


def test_a_stream_goes_on_after_what_was_damaged_in_another() -> None:
    answers: Iterator[list[Action]] = iter(
        [[Send(STREAM_HEAD + b"-1\r\n"), Close()], [Send(STREAM_HEAD + record("a") + DONE + END)]]
    )

    with scripted(lambda request: next(answers)) as host:
        gpu = OllamaHost(host.url, deadlines=QUICK)
        with pytest.raises(HostError):
            generate(gpu, {"model": "m", "prompt": "x"})
        reply = generate(gpu, {"model": "m", "prompt": "x"})
        gpu.close()

    assert reply.response == "a"

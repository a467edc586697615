"""``OllamaHost.generate`` against hosts that misbehave."""

import json
import socket
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.asking import generate
from tests.integration.ollama.scripted import (
    DONE,
    END,
    STREAM_HEAD,
    Action,
    Await,
    Close,
    Drip,
    Flood,
    Hang,
    Request,
    Reset,
    ScriptedHost,
    Send,
    Signal,
    StopListening,
    body,
    chunk,
    record,
    scripted,
    streamed,
)
from tests.waiting import wait_until
from worker.clock import SystemClock
from worker.errors import Code, HostError, SettingsRefused
from worker.ollama.client import Call, Deadlines, OllamaHost

REQUEST = {"model": "m", "prompt": "Hi", "options": {"num_predict": 5}}
QUICK = Deadlines(connect=1, first_byte=0.2, silence=0.2, total=0.6, load=0.2, probe=0.3)
PATIENT = Deadlines(connect=1, first_byte=20, silence=20, total=60)


class LeapingClock(SystemClock):
    leap = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.leap


def failure(
    answer: Sequence[Action],
    *,
    deadlines: Deadlines = PATIENT,
    **request: object,
) -> HostError:
    with scripted(answer) as host:
        gpu = OllamaHost(host.url, deadlines=deadlines)
        with pytest.raises(HostError) as caught:
            generate(gpu, {**REQUEST, **request})
        gpu.close()
    return caught.value


def test_replies_come_whole_over_one_connection() -> None:
    with scripted(streamed("Hello", " world")) as host:
        gpu = OllamaHost(host.url)

        replies = [generate(gpu, REQUEST) for _ in range(3)]

        assert [reply.response for reply in replies] == ["Hello world"] * 3
        assert replies[0].chunks == 3
        assert host.connections == 1
        gpu.close()


def test_what_is_sent_is_the_request_and_that_it_be_streamed() -> None:
    with scripted(streamed("x")) as host:
        gpu = OllamaHost(host.url + "/")

        generate(gpu, {**REQUEST, "prompt": "你好 \ud800", "stream": False})
        gpu.close()

    (sent,) = host.requests
    assert (sent.method, sent.path) == ("POST", "/api/generate")
    assert sent.body == {**REQUEST, "prompt": "你好 \ud800", "stream": True}
    assert sent.headers["accept-encoding"] == "identity"


def test_a_call_tells_how_far_it_is() -> None:
    go_on = threading.Event()
    call = Call()
    with (
        scripted([Send(STREAM_HEAD + record("a")), Await(go_on), Send(DONE + END)]) as host,
        ThreadPoolExecutor() as pool,
    ):
        gpu = OllamaHost(host.url, deadlines=PATIENT)
        assert (call.started_at, call.first_byte_at, call.chunks) == (None, None, 0)

        reply = pool.submit(generate, gpu, REQUEST, call=call)
        go_on.set()
        reply.result()

        assert call.started_at is not None
        assert call.first_byte_at is not None
        assert call.last_byte_at is not None
        assert call.started_at <= call.first_byte_at <= call.last_byte_at
        assert call.chunks == 2
        gpu.close()


# -- ended from this side --------------------------------------------------------------------------------------------


def test_an_abort_before_the_first_byte_ends_the_call_at_once() -> None:
    with scripted([Hang()]) as host, ThreadPoolExecutor() as pool:
        gpu, call = OllamaHost(host.url, deadlines=PATIENT), Call()
        reply = pool.submit(generate, gpu, REQUEST, call=call)
        assert host.asked.wait(5)

        call.abort()

        error = reply.exception(5)
        assert isinstance(error, HostError)
        assert (error.code, error.partial) == (Code.CANCELLED, "")
        assert host.client_gone.wait(5)
        gpu.close()


def test_an_abort_in_mid_stream_keeps_the_text_so_far() -> None:
    with scripted([Send(STREAM_HEAD + record("Half of")), Hang()]) as host, ThreadPoolExecutor() as pool:
        gpu, call = OllamaHost(host.url, deadlines=PATIENT), Call()
        reply = pool.submit(generate, gpu, REQUEST, call=call)
        wait_until(lambda: call.chunks > 0, description="a chunk", interval=0.001)

        call.abort(Code.EXPIRED, reason="its deadline passed")

        error = reply.exception(5)
        assert isinstance(error, HostError)
        assert (error.code, error.message, error.partial) == (Code.EXPIRED, "its deadline passed", "Half of")
        assert host.client_gone.wait(5)
        gpu.close()


def test_a_call_aborted_before_it_began_sends_nothing() -> None:
    call = Call()
    call.abort()
    with scripted(streamed("x")) as host:
        gpu = OllamaHost(host.url)

        with pytest.raises(HostError) as caught:
            generate(gpu, REQUEST, call=call)

        assert caught.value.code is Code.CANCELLED
        assert host.requests == []
        gpu.close()


def test_an_abort_after_the_reply_does_not_touch_the_next_call() -> None:
    with scripted(streamed("x")) as host:
        gpu, first = OllamaHost(host.url), Call()
        generate(gpu, REQUEST, call=first)

        first.abort()

        assert generate(gpu, REQUEST).response == "x"
        second = Call()
        generate(gpu, REQUEST, call=second)
        first.abort()
        assert generate(gpu, REQUEST).response == "x"
        gpu.close()


def test_an_old_abort_leaves_a_running_call_on_the_same_connection_alone() -> None:
    go_on = threading.Event()

    def answer(request: Request) -> list[Action]:
        if request.body["prompt"] == "slow":
            return [Send(STREAM_HEAD + record("slow")), Await(go_on), Send(DONE + END)]
        return streamed("x")

    with scripted(answer) as host, ThreadPoolExecutor() as pool:
        gpu, first, second = OllamaHost(host.url, deadlines=PATIENT), Call(), Call()
        generate(gpu, REQUEST, call=first)
        reply = pool.submit(generate, gpu, {**REQUEST, "prompt": "slow"}, call=second)
        wait_until(lambda: second.chunks > 0, description="a chunk", interval=0.001)

        first.abort()
        go_on.set()

        assert reply.result(5).response == "slow"
        assert host.connections == 1
        gpu.close()


def test_closing_the_host_ends_what_runs_without_blaming_the_job() -> None:
    with scripted([Send(STREAM_HEAD + record("a")), Hang()]) as host, ThreadPoolExecutor() as pool:
        gpu, call = OllamaHost(host.url, deadlines=PATIENT), Call()
        reply = pool.submit(generate, gpu, REQUEST, call=call)
        wait_until(lambda: call.chunks > 0, description="a chunk", interval=0.001)

        gpu.close()

        error = reply.exception(5)
        assert isinstance(error, HostError)
        assert (error.code, error.partial) == (Code.WORKER_LOST, "a")
        with pytest.raises(HostError) as caught:
            generate(gpu, REQUEST)
        assert caught.value.code is Code.WORKER_LOST


# -- deadlines -------------------------------------------------------------------------------------------------------


def test_a_host_that_hangs_before_the_first_byte_is_given_up() -> None:
    error = failure([Hang()], deadlines=QUICK)

    assert (error.code, error.message) == (Code.NO_FIRST_BYTE, "no reply within 0.2 s")


def test_headers_alone_are_no_first_byte() -> None:
    assert failure([Send(STREAM_HEAD), Hang()], deadlines=QUICK).code is Code.NO_FIRST_BYTE


def test_headers_that_drip_do_not_stretch_the_deadline() -> None:
    error = failure([Drip(STREAM_HEAD * 100, 0.05)], deadlines=QUICK)

    assert error.code is Code.NO_FIRST_BYTE


def test_silence_in_mid_stream_is_a_stalled_reply_while_the_host_looks_healthy() -> None:
    def answer(request: Request) -> Sequence[Action]:
        if request.path == "/api/version":
            return body({"version": "0.24.0"})
        return [Send(STREAM_HEAD + record("a")), Hang()]

    with scripted(answer) as host:
        gpu = OllamaHost(host.url, deadlines=QUICK)

        with pytest.raises(HostError) as caught:
            generate(gpu, REQUEST)

        assert gpu.version() == "0.24.0"
        gpu.close()
    assert (caught.value.code, caught.value.partial) == (Code.REPLY_STALLED, "a")
    assert caught.value.message == "nothing came for 0.2 s, after 1 chunk"


def test_chunks_that_drip_meet_the_deadline_of_the_whole() -> None:
    drip = Drip(record("a") * 100, 0.05, at_once=len(record("a")))

    error = failure([Send(STREAM_HEAD), drip], deadlines=QUICK)

    assert error.code is Code.TOO_SLOW
    assert set(error.partial) == {"a"}


@pytest.mark.parametrize("data", [b"400\r\n" + b" " * 400, b"4" * 400], ids=["in a chunk", "in its length"])
def test_bytes_that_drip_meet_the_deadline_of_the_whole(data: bytes) -> None:
    error = failure([Send(STREAM_HEAD + record("a")), Drip(data, 0.05)], deadlines=QUICK)

    assert (error.code, error.partial) == (Code.TOO_SLOW, "a")


def test_a_reply_slower_than_the_floor_is_given_up() -> None:
    deadlines = Deadlines(floor_tokens_per_second=50, floor_after=0.1)
    drip = Drip(record("a") * 100, 0.05, at_once=len(record("a")))

    error = failure([Send(STREAM_HEAD), drip], deadlines=deadlines)

    assert error.code is Code.BELOW_FLOOR
    assert "tokens/s" in error.message


def test_a_stream_that_begins_well_and_drips_then_is_given_up_all_the_same() -> None:
    deadlines = Deadlines(floor_tokens_per_second=50, floor_after=0.1)
    began = Drip(record("a") * 1000, 0.0, at_once=len(record("a")) * 100)
    drip = Drip(record("b") * 100, 0.05, at_once=len(record("b")))

    error = failure([Send(STREAM_HEAD), began, drip], deadlines=deadlines)

    assert error.code is Code.BELOW_FLOOR
    assert error.partial.startswith("a" * 1000)


def test_a_long_prompt_may_take_longer_to_send_than_a_connection_to_make() -> None:
    with scripted(streamed("x"), read_after=0.3) as host:
        gpu = OllamaHost(host.url, deadlines=Deadlines(connect=0.1))

        assert generate(gpu, {**REQUEST, "prompt": "x" * 12_000_000}).response == "x"
        gpu.close()


def test_the_end_of_the_body_is_not_waited_for_longer_than_it_is_worth() -> None:
    with scripted([Send(STREAM_HEAD + record("a") + DONE), Hang()]) as host, ThreadPoolExecutor() as pool:
        gpu = OllamaHost(host.url, deadlines=PATIENT)

        assert pool.submit(generate, gpu, REQUEST).result(5).response == "a"
        assert host.client_gone.wait(5)
        gpu.close()


# -- streams that end badly ------------------------------------------------------------------------------------------


@pytest.mark.fault(16)
@pytest.mark.parametrize(
    "ending",
    [
        [Send(chunk(b'{"response":"more')), Close()],
        [Send(b"400\r\nabc"), Close()],
        [Send(b"4"), Close()],
        [Close()],
        [Reset()],
        [Send(END)],
    ],
    ids=["between chunks in a line", "in a chunk", "in its length", "between chunks", "reset", "clean end"],
)
def test_a_body_cut_anywhere_is_a_cut_reply_with_the_text_so_far(ending: list[Action]) -> None:
    error = failure([Send(STREAM_HEAD + record("Half") + record(" of")), *ending])

    assert (error.code, error.partial) == (Code.REPLY_CUT, "Half of")


def test_a_chunk_cut_in_two_is_read_as_far_as_it_came() -> None:
    lines = b'{"response":"Half","done":false}\n{"response":" of","done":false}\n'

    error = failure([Send(STREAM_HEAD + b"400\r\n" + lines), Close()])

    assert (error.code, error.partial) == (Code.REPLY_CUT, "Half of")


def test_a_body_without_length_ends_with_the_connection() -> None:
    head = b"HTTP/1.0 200 OK\r\nContent-Type: application/x-ndjson\r\n\r\n"
    lines = b'{"response":"a","done":false}\n{"response":"","done":true}\n'
    with scripted([Send(head + lines), Close()]) as host:
        gpu = OllamaHost(host.url)
        assert generate(gpu, REQUEST).response == "a"
        gpu.close()

    assert failure([Send(head + lines[:30]), Close()]).code is Code.REPLY_CUT


def test_a_body_shorter_than_its_length_is_a_cut_reply() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n"

    error = failure([Send(head + b'{"response":"a","done":false}\n'), Close()])

    assert (error.code, error.partial) == (Code.REPLY_CUT, "a")


@pytest.mark.fault(17)
def test_an_error_line_after_chunks_has_the_text_so_far() -> None:
    text = "an error was encountered while running the model: unexpected EOF"
    line = chunk(json.dumps({"error": text}).encode() + b"\n")

    error = failure([Send(STREAM_HEAD + record("a") + line + END)])

    assert (error.code, error.message, error.partial) == (Code.RUNNER_DIED, text, "a")


def test_a_refusal_is_read_from_the_body() -> None:
    error = failure(body({"error": "model 'm' not found"}, status=404))

    assert (error.code, error.status, error.message) == (Code.MODEL_MISSING, 404, "model 'm' not found")


def test_a_refusal_whose_body_is_cut_goes_by_its_status() -> None:
    head = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 80\r\n\r\n"

    error = failure([Send(head + b'{"error":"server bu'), Close()])

    assert (error.code, error.status) == (Code.HOST_BUSY, 503)


def test_a_connection_goes_on_being_used_after_a_refusal() -> None:
    answers = iter([body({"error": "server busy, please try again."}, status=503), streamed("x")])
    with scripted(lambda _: next(answers)) as host:
        gpu = OllamaHost(host.url)
        with pytest.raises(HostError):
            generate(gpu, REQUEST)

        assert generate(gpu, REQUEST).response == "x"
        assert host.connections == 1
        gpu.close()


# -- what is no Ollama server ----------------------------------------------------------------------------------------


@pytest.mark.fault(17)
def test_a_redirect_is_refused_and_the_prompt_goes_nowhere_else() -> None:
    with scripted(streamed("stolen")) as other:
        location = f"Location: {other.url}/api/generate"
        head = f"HTTP/1.1 307 Temporary Redirect\r\n{location}\r\nContent-Length: 5\r\n\r\nmoved"

        error = failure([Send(head.encode())])

        assert error.code is Code.BAD_REPLY
        assert "redirects" in error.message
        assert other.requests == []


def test_the_body_of_a_redirect_is_not_read_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.replies.bounds.ERROR_BYTES", 100_000)
    head = b"HTTP/1.1 302 Found\r\nLocation: /x\r\nTransfer-Encoding: chunked\r\n\r\n"

    error = failure([Send(head), Flood(chunk(b"x" * 10_000))])

    assert error.code is Code.BAD_REPLY


@pytest.mark.fault(17)
@pytest.mark.parametrize(
    "answer",
    [
        body(b"<html>It works!</html>", content_type="text/html"),
        body(b"Ollama is running", content_type="text/plain"),
        body(b"<html>no</html>", status=404, content_type="text/html"),
        body(b"", status=204),
        [Send(STREAM_HEAD + chunk(b'{"response": broken}\n') + END)],
        [Send(STREAM_HEAD + b"zz\r\nnonsense\r\n"), Hang()],
        [Send(b"SSH-2.0-OpenSSH_9.6\r\n"), Hang()],
        [Send(b"HTTP/1.1 two hundred\r\n\r\n"), Hang()],
        [Send(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n"), Hang()],
        [
            Send(
                b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 8\r\n\r\n\x1f\x8b\x08\x00abc\n"
            )
        ],
        [Send(b"HTTP/1.1 200 OK\r\nX: "), Flood(b"x" * 10_000)],
        [Send(STREAM_HEAD), Flood(chunk(b"x" * 10_000))],
        [Send(STREAM_HEAD + b"7fffffff\r\n"), Flood(b"x" * 10_000)],
        [Send(STREAM_HEAD), Flood(b"9" * 10_000)],
    ],
    ids=[
        "HTML",
        "text",
        "HTML 404",
        "204",
        "bad JSON",
        "bad chunk",
        "another protocol",
        "bad status line",
        "too many headers",
        "gzip",
        "endless header",
        "endless line",
        "endless chunk",
        "endless chunk length",
    ],
)
def test_what_is_no_ollama_server_is_a_bad_reply(
    answer: list[Action], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.replies.bounds.LINE_BYTES", 100_000)

    error = failure(answer)

    assert error.code is Code.BAD_REPLY


@pytest.mark.fault(22)
def test_text_without_end_is_given_up_with_what_came(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.replies.bounds.REPLY_BYTES", 100_000)

    error = failure([Send(STREAM_HEAD), Flood(record("x" * 1000))])

    assert error.code is Code.REPLY_TOO_LONG
    assert error.partial == "x" * 100_000


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=80), st.sampled_from([b"", b"HTTP/1.1 200 OK\r\n", STREAM_HEAD]))
def test_arbitrary_bytes_on_the_line_are_a_failure_and_never_a_defect(data: bytes, head: bytes) -> None:
    failure([Send(head + data), Close()], deadlines=QUICK)


# -- the way to the host ---------------------------------------------------------------------------------------------


def test_nobody_listening_is_an_unreachable_host() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    gpu = OllamaHost(f"http://127.0.0.1:{port}")

    with pytest.raises(HostError) as caught:
        generate(gpu, REQUEST)

    assert (caught.value.code, caught.value.message) == (Code.HOST_UNREACHABLE, "connection refused")
    gpu.close()


def test_an_unknown_name_is_an_unreachable_host(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    gpu = OllamaHost("http://gpu-9:11434")

    with pytest.raises(HostError) as caught:
        generate(gpu, REQUEST)

    assert caught.value.message == "the host's name is not known"
    assert caught.value.code is Code.HOST_UNREACHABLE
    gpu.close()


@pytest.mark.parametrize("ending", [Close(), Reset()])
def test_a_connection_dropped_without_an_answer_may_be_the_jobs_doing(ending: Action) -> None:
    assert failure([ending]).code is Code.REPLY_CUT


def _has_closed(host: ScriptedHost, connections: int) -> bool:
    return host.closed == connections


def test_a_connection_that_died_in_the_pool_is_replaced() -> None:
    with scripted([*streamed("x"), Close()]) as host:
        gpu = OllamaHost(host.url)

        for used in range(1, 4):
            assert generate(gpu, REQUEST).response == "x"
            wait_until(partial(_has_closed, host, used), description="the connection closed", interval=0.001)
        gpu.close()


def test_the_environment_names_no_proxy_and_no_password(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    netrc = tmp_path_factory.mktemp("home") / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with scripted(streamed("through a proxy")) as proxy, scripted(streamed("direct")) as host:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        gpu = OllamaHost(host.url)

        assert generate(gpu, REQUEST).response == "direct"
        assert "authorization" not in host.requests[0].headers
        gpu.close()


def test_a_cookie_is_not_kept() -> None:
    head = STREAM_HEAD.replace(b"\r\n\r\n", b"\r\nSet-Cookie: a=b; Path=/\r\n\r\n")
    with scripted([Send(head + DONE + END)]) as host:
        gpu = OllamaHost(host.url)

        generate(gpu, REQUEST)
        generate(gpu, REQUEST)

        assert "cookie" not in host.requests[1].headers
        gpu.close()


def test_credentials_in_the_url_are_sent_and_never_shown() -> None:
    with scripted(body(b"no", status=401)) as host:
        gpu = OllamaHost(host.url.replace("http://", "http://me:s%2Fecret@"))

        with pytest.raises(HostError) as caught:
            generate(gpu, REQUEST)

        assert host.requests[0].headers["authorization"] == "Basic bWU6cy9lY3JldA=="
        assert gpu.url == host.url
        assert "secret" not in str(caught.value)
        gpu.close()


@pytest.mark.parametrize(
    "url", ["", "gpu-1:11434", "ftp://gpu-1", "http://", "http://me:secret@", "http://h:x", "http://h/?q=1"]
)
def test_a_url_that_is_none_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(SettingsRefused) as caught:
        OllamaHost(url)

    assert "secret" not in str(caught.value)


def test_a_request_that_is_no_json_is_the_jobs_fault() -> None:
    with scripted(streamed("x")) as host:
        gpu = OllamaHost(host.url)

        with pytest.raises(HostError) as caught:
            generate(gpu, {**REQUEST, "options": {"temperature": float("nan")}})

        assert caught.value.code is Code.INVALID_REQUEST
        assert host.requests == []
        gpu.close()


def test_many_threads_share_a_host() -> None:
    with scripted(streamed("x")) as host, ThreadPoolExecutor(8) as pool:
        gpu = OllamaHost(host.url, slots=8)

        replies = list(pool.map(lambda _: generate(gpu, REQUEST).response, range(200)))

        assert replies == ["x"] * 200
        assert host.connections <= 12
        gpu.close()


# -- a context that takes its host down ------------------------------------------------------------------------------


def test_a_context_that_took_the_host_down_is_the_jobs_fault() -> None:
    error = failure([StopListening(), Close()], context=[999_999])

    assert error.code is Code.CONTEXT_MISMATCH


def test_a_dropped_connection_of_a_request_with_context_is_a_dead_runner_while_the_host_lives() -> None:
    def answer(request: Request) -> Sequence[Action]:
        return body({"version": "0.24.0"}) if request.path == "/api/version" else [Close()]

    with scripted(answer) as host:
        gpu = OllamaHost(host.url)
        with pytest.raises(HostError) as caught:
            generate(gpu, {**REQUEST, "context": [1]})
        gpu.close()

    assert caught.value.code is Code.RUNNER_DIED


def test_a_host_that_only_falls_silent_is_not_held_against_the_context() -> None:
    def answer(request: Request) -> Sequence[Action]:
        return [Hang()] if request.path == "/api/version" else [Close()]

    with scripted(answer) as host:
        gpu = OllamaHost(host.url, deadlines=QUICK)
        with pytest.raises(HostError) as caught:
            generate(gpu, {**REQUEST, "context": [1]})
        gpu.close()

    assert caught.value.code is Code.RUNNER_DIED


def test_a_host_that_goes_down_long_after_it_got_the_context_is_not_held_against_it() -> None:
    clock = LeapingClock()

    def answer(_: Request) -> Sequence[Action]:
        clock.leap = 11.0
        return [StopListening(), Close()]

    with scripted(answer) as host:
        gpu = OllamaHost(host.url, clock=clock)
        with pytest.raises(HostError) as caught:
            generate(gpu, {**REQUEST, "context": [1]})
        gpu.close()

    assert caught.value.code is Code.RUNNER_DIED


def test_a_host_that_goes_down_under_several_contexts_says_nothing_about_any_of_them() -> None:
    both = threading.Barrier(2)
    down = threading.Event()

    def answer(request: Request) -> Sequence[Action]:
        if both.wait(5) == 0:
            return [StopListening(), Signal(down), Close()]
        return [Await(down), Close()]

    with scripted(answer) as host, ThreadPoolExecutor(2) as pool:
        gpu = OllamaHost(host.url, slots=2, deadlines=PATIENT)
        request = {**REQUEST, "context": [1]}
        replies = [pool.submit(generate, gpu, request) for _ in range(2)]

        errors = [reply.exception(5) for reply in replies]
        gpu.close()

    assert [error.code for error in errors if isinstance(error, HostError)] == [Code.RUNNER_DIED] * 2


def test_a_host_that_goes_down_after_the_first_chunk_is_not_held_against_the_context() -> None:
    error = failure([Send(STREAM_HEAD + record("a")), StopListening(), Close()], context=[1])

    assert error.code is Code.REPLY_CUT


def test_a_host_that_is_down_already_is_not_held_against_the_context() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    gpu = OllamaHost(f"http://127.0.0.1:{port}")

    with pytest.raises(HostError) as caught:
        generate(gpu, {**REQUEST, "context": [1]})

    assert caught.value.code is Code.HOST_UNREACHABLE
    gpu.close()

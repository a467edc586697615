"""Hosts over real sockets: running, killed, started again, alone as a process; deterministic; cheap to talk to."""

import http.client
import json
import signal
import socket
import subprocess
import sys
from typing import Any
from urllib.parse import urlsplit

import pytest
from typer.testing import CliRunner

from simulator import Fault, HostSettings, RunningHost, SimulatedModel, demo_models, running
from simulator.__main__ import command_line
from simulator.endpoints import is_trusted


def _post(host: RunningHost, path: str, value: object) -> tuple[int, str]:
    connection = http.client.HTTPConnection(urlsplit(host.url).netloc, timeout=10)
    connection.request("POST", path, json.dumps(value))
    response = connection.getresponse()
    text = response.read().decode()
    connection.close()
    return response.status, text


def _generated(host: RunningHost, **asked: Any) -> dict[str, Any]:
    asked = {"model": "llama3.2:3b", "prompt": "Why is the sky blue?", "stream": False} | asked
    value: dict[str, Any] = json.loads(_post(host, "/api/generate", asked)[1])
    return value


def _at_once(name: str = "gpu-1", **changes: Any) -> HostSettings:
    return HostSettings(name, demo_models(), time_scale=0, **changes)


def test_a_host_answers_counts_and_says_what_is_resident() -> None:
    with running(_at_once(), _at_once("gpu-2")) as (first, second):
        reply = _generated(first)
        _post(first, "/api/generate", {"model": "qwen2.5:7b"})
        state, idle = first.state(), second.state()

    assert reply["done_reason"] == "stop"
    assert (state["requests"], state["completed"], state["loads"], state["evictions"]) == (1, 1, 2, 1)
    assert [entry["model"] for entry in state["load_log"]] == ["llama3.2:3b", "qwen2.5:7b"]
    assert state["resident"] == ["qwen2.5:7b"]
    assert (idle["name"], idle["requests"]) == ("gpu-2", 0)


def test_answers_are_the_same_for_the_same_seed_and_differ_by_prompt() -> None:
    with running(_at_once(), _at_once("gpu-2"), _at_once("gpu-3", seed=1)) as hosts:
        answers = [_generated(host)["response"] for host in hosts]
        other = _generated(hosts[0], prompt="Another question")["response"]

    assert answers[0] == answers[1]
    assert len({answers[0], answers[2], other}) == 3


def test_a_reasoning_model_reasons_and_a_chinese_prompt_gets_chinese() -> None:
    with running(_at_once()) as (host,):
        thought = _generated(host, model="deepseek-r1:8b", prompt="为什么天空是蓝色的？")
        bare = _generated(host, model="deepseek-r1:8b", think=False)

    assert thought["thinking"] and "天" <= thought["response"][0] <= "鿿"
    assert "thinking" not in bare and "<think>" not in bare["response"]


def test_a_constrained_answer_is_json_that_fits() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}

    with running(_at_once()) as (host,):
        reply = _generated(host, format=schema)

    assert isinstance(json.loads(reply["response"])["n"], int)


@pytest.mark.parametrize("stream", [False, True])
def test_a_chat_reasons_before_its_format_holds_and_a_generate_does_not(stream: bool) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    asked = {"model": "deepseek-r1:8b", "messages": [{"role": "user", "content": "Why?"}], "stream": stream}

    with running(_at_once()) as (host,):
        free, bound = (_post(host, "/api/chat", asked | more)[1] for more in ({}, {"format": schema}))
        generated = _generated(host, model="deepseek-r1:8b", format=schema)

    lines = [json.loads(line) for line in bound.splitlines()]
    assert "".join(line["message"].get("thinking", "") for line in lines)
    assert json.loads("".join(line["message"]["content"] for line in lines)).keys() == {"n"}
    assert lines[-1]["prompt_eval_count"] > json.loads(free.splitlines()[-1])["prompt_eval_count"]
    assert "thinking" not in generated


def test_a_killed_host_refuses_and_comes_back_empty_on_its_port() -> None:
    with running(_at_once()) as (host,):
        _generated(host)
        host.kill()
        with pytest.raises(ConnectionRefusedError):
            _generated(host)
        host.start_again()
        reply = _generated(host)
        loads = host.state()["loads"]

    assert (reply["done"], loads) == (True, 2)


def test_a_context_from_another_model_kills_the_older_line_and_not_the_newer() -> None:
    with running(_at_once(), _at_once("newer", line="H")) as (older, newer):
        foreign = _generated(older, model="qwen2.5:7b")["context"]
        with pytest.raises(http.client.HTTPException):
            _generated(older, context=foreign)
        status, text = _post(
            newer, "/api/generate", {"model": "llama3.2:3b", "prompt": "x", "context": foreign}
        )

    assert (status, "detokenize error" in text) == (500, True)


def test_a_runner_can_be_killed_from_outside() -> None:
    with running(_at_once()) as (host,):
        _generated(host)
        host.kill_runner("llama3.2:3b")
        listed = host.state()["resident"]
        reply = _generated(host)
        with pytest.raises(LookupError):
            host.stop_runner("qwen2.5:7b")

    assert (listed, reply["done"]) == (["llama3.2:3b"], True)


def test_faults_and_counters_are_set_while_it_runs() -> None:
    with running(_at_once()) as (host,):
        host.set_faults(Fault("busy", times=2))
        refused = [_post(host, "/api/generate", {"model": "llama3.2:3b", "prompt": "x"})[0] for _ in range(3)]
        struck = host.state()["faults"][0]["struck"]
        host.reset()
        after = host.state()["requests"]

    assert (refused, struck, after) == ([503, 503, 200], 2, 0)


def test_bodies_come_by_length_in_chunks_and_one_after_another() -> None:
    large = json.dumps({"model": "llama3.2:3b", "prompt": "x" * 2_000_000, "stream": False}).encode()
    small = b'{"model":"llama3.2:3b"}'

    with running(_at_once()) as (host,):
        address = (urlsplit(host.url).hostname, urlsplit(host.url).port)
        with socket.create_connection(address, timeout=10) as client:
            head = b"POST /api/generate HTTP/1.1\r\nHost: localhost\r\n"
            client.sendall(head + b"Content-Length: %d\r\n\r\n" % len(large) + large)
            first = http.client.HTTPResponse(client)
            first.begin()
            truncated = json.loads(first.read())
            chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in small) + b"0\r\n\r\n"
            pipelined = head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks
            client.sendall(pipelined * 2)
            received = b""
            while received.count(b'"done_reason":"load"}') < 2:
                received += client.recv(65_536)

    assert truncated["prompt_eval_count"] == 32_768
    assert received.count(b"HTTP/1.1 200") == 2


@pytest.mark.parametrize(
    ("sent", "bind", "trusted"),
    [
        ("localhost:11434", "127.0.0.1", True),
        ("127.0.0.1:11434", "127.0.0.1", True),
        ("10.0.0.7", "127.0.0.1", True),
        ("ollama.internal", "127.0.0.1", True),
        ("evil.example:11434", "127.0.0.1", False),
        ("8.8.8.8", "127.0.0.1", False),
        ("gpu-1:11434", "0.0.0.0", True),
        ("", "127.0.0.1", True),
        ("[::1]:11434", "127.0.0.1", True),
    ],
)
def test_a_loopback_host_refuses_foreign_names(sent: str, bind: str, trusted: bool) -> None:
    assert is_trusted(sent, bind) is trusted


@pytest.mark.parametrize("head", ["nonsense\r\n\r\n", "GET / HTTP/1.1\r\nbroken header\r\n\r\n"])
def test_what_is_no_http_is_answered_400(head: str) -> None:
    with running(_at_once()) as (host,):
        address = (urlsplit(host.url).hostname, urlsplit(host.url).port)
        with socket.create_connection(address, timeout=10) as client:
            client.sendall(head.encode())
            assert client.recv(1_000).startswith(b"HTTP/1.1 400")


def test_a_pull_shows_progress_and_brings_the_model() -> None:
    new = SimulatedModel("mistral:7b")

    with running(_at_once(pullable=(new,))) as (host,):
        before = _post(host, "/api/generate", {"model": "mistral:7b", "prompt": "x"})[0]
        lines = [
            json.loads(line) for line in _post(host, "/api/pull", {"model": "mistral:7b"})[1].splitlines()
        ]
        after = _post(host, "/api/generate", {"model": "mistral:7b", "prompt": "x"})[0]

    assert (before, after) == (404, 200)
    assert (lines[0]["status"], lines[-1]["status"]) == ("pulling manifest", "success")
    assert lines[-4]["completed"] == lines[-4]["total"]


def test_it_runs_as_a_process_of_its_own() -> None:
    command = [
        sys.executable,
        "-m",
        "simulator",
        "--host",
        "a",
        "--host",
        "b",
        "--time-scale",
        "0",
        "--models",
        "m",
    ]

    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        ready = dict(process.stdout.readline().split() for _ in range(2))
        connection = http.client.HTTPConnection(urlsplit(ready["b"]).netloc, timeout=10)
        connection.request("GET", "/api/tags")
        names = [tag["name"] for tag in json.loads(connection.getresponse().read())["models"]]
        connection.close()
        process.terminate()

    assert sorted(ready) == ["a", "b"]
    assert names == ["m:latest"]
    assert process.returncode == -signal.SIGTERM


def test_a_port_that_is_taken_is_named() -> None:
    with running(_at_once()) as (host,):
        port = urlsplit(host.url).port

        done = CliRunner().invoke(command_line(), ["--host", f"x:{port}"])

    assert (done.exit_code, "in use" in done.output) == (2, True)

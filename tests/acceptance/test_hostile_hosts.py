"""A host that answers what no honest server answers spoils no command, and no other host's work."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

import simulator
from tests.acceptance.conftest import MODELS, caravan, write_jobs
from tests.integration.ollama.scripted import (
    END,
    STREAM_HEAD,
    Action,
    Close,
    Drip,
    Flood,
    Hang,
    Request,
    Reset,
    ScriptedHost,
    Send,
    body,
    record,
    scripted,
)

Environment = dict[str, str]
Hosts = tuple[simulator.RunningHost, ...]

BRACKETS = "open [/root/.ollama/models/manifests]: permission denied [/b] [bold red]x[/]"
CONTROL = "\x1b]0;renamed\x07\x1b[2J\x9b31m\u202eevil\r\n\ttail"
HOSTILE = ("\x1b", "\x07", "\x9b", "\u202e", "\x00")
"""Characters that command a terminal; none of them may come from a host."""
QUICK = {
    "CARAVAN_CONNECT_SECONDS": "2",
    "CARAVAN_FIRST_BYTE_SECONDS": "2",
    "CARAVAN_SILENCE_SECONDS": "2",
    "CARAVAN_REPLY_SECONDS": "4",
    "CARAVAN_MAX_ATTEMPTS": "1",
    "CARAVAN_LOAD_TIMEOUT_SECONDS": "5",
    "CARAVAN_STOP_GRACE_SECONDS": "5",
}


def _error(status: int, message: str) -> list[Action]:
    text = json.dumps({"error": message}).encode()
    head = f"HTTP/1.1 {status} Sick\r\nContent-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n"
    return [Send(head.encode() + text)]


_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"

ANYTHING: dict[str, Sequence[Action]] = {
    "an error with brackets": _error(500, BRACKETS),
    "an error with control characters": _error(500, CONTROL),
    "an error page": [
        Send(b"HTTP/1.1 502 Bad\r\nContent-Length: 30\r\n\r\n<html>[/nginx] \x1b[31mBad</html>")
    ],
    "no HTTP": [Send(b"\x00\xff\x1b[2J[/]garbage\r\n\r\n"), Close()],
    "no JSON": [Send(_HEAD + b"Content-Length: 9\r\n\r\n[/x]\xff\xfe{{\x00")],
    "another shape": body({"models": [{"name": 7}, None, {"name": CONTROL + BRACKETS}]}),
    "a cut body": [Send(_HEAD + b"Content-Length: 5000\r\n\r\n{"), Close()],
    "a reset": [Reset()],
    "silence": [Hang()],
    "one byte at a time": [Send(_HEAD + b"Content-Length: 100000\r\n\r\n"), Drip(b" " * 100_000, 0.5)],
    "no end": [Send(_HEAD + b"\r\n"), Flood(b'{"models": [' + b'{"name": "m"},' * 1000)],
    "a redirect": [
        Send(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/[/x]\r\nContent-Length: 0\r\n\r\n")
    ],
}
"""What a host answers to every request."""

ANSWERS: dict[str, Sequence[Action]] = {
    "an error with brackets": _error(500, BRACKETS),
    "an error with control characters": _error(400, CONTROL),
    "an error within the stream": [Send(STREAM_HEAD + record("Half") + record(error=BRACKETS) + END)],
    "garbage within the stream": [Send(STREAM_HEAD + b"6\r\n\x00[/]\xff\n\r\n"), Close()],
    "a cut stream": [Send(STREAM_HEAD + record("Half of")), Close()],
    "no end": [Send(STREAM_HEAD), Flood(record("[/more] \x1b[31m"))],
    "silence": [Send(STREAM_HEAD + record("Half")), Hang()],
}
"""What a host, honest otherwise, answers to a prompt."""


def _honest_but(answer: Sequence[Action]) -> Callable[[Request], Sequence[Action]]:
    def decide(request: Request) -> Sequence[Action]:
        match request.path:
            case "/api/version":
                return body({"version": "0.33.1"})
            case "/api/tags":
                return body({"models": [{"name": name, "digest": "d1", "size": 1} for name in MODELS]})
            case "/api/ps":
                return body({"models": []})
            case "/api/show":
                return body({"capabilities": ["completion"]})
            case "/api/generate" if not request.body.get("prompt"):
                return body({"model": "m", "done": True, "done_reason": "load"})
        return answer

    return decide


@pytest.fixture
def refusing() -> Iterator[dict[str, ScriptedHost]]:
    """A host for each answer that no honest server gives."""
    with ExitStack() as exits:
        yield {name: exits.enter_context(scripted(answer)) for name, answer in ANYTHING.items()}


@pytest.fixture
def answering() -> Iterator[dict[str, ScriptedHost]]:
    """A host for each way to spoil an answer."""
    with ExitStack() as exits:
        yield {name: exits.enter_context(scripted(_honest_but(answer))) for name, answer in ANSWERS.items()}


def _is_clean(text: str) -> None:
    assert "Traceback" not in text
    assert "MarkupError" not in text
    assert {character for character in HOSTILE if character in text} == set()


def test_a_run_goes_on_beside_hosts_that_answer_anything(
    environment: Environment, hosts: Hosts, refusing: dict[str, ScriptedHost], tmp_path: Path
) -> None:
    file, out = write_jobs(tmp_path / "jobs.jsonl", 12), tmp_path / "out.jsonl"
    named = [word for host in refusing.values() for word in ("--host", host.url)]

    done = caravan(
        "run", str(file), "--host", hosts[0].url, *named, "-o", str(out), env={**environment, **QUICK}
    )

    assert len(out.read_text(encoding="utf-8").splitlines()) == 12
    _is_clean(done.stdout + done.stderr)
    shown = "".join(done.stderr.split())
    assert {name for name, host in refusing.items() if host.url.removeprefix("http://") not in shown} == set()
    assert "[/root/.ollama/models/manifests]:permissiondenied" in shown


@pytest.mark.thorough
def test_hosts_that_spoil_answers_cost_no_job_and_no_terminal(
    environment: Environment, hosts: Hosts, answering: dict[str, ScriptedHost], tmp_path: Path
) -> None:
    file, out = write_jobs(tmp_path / "jobs.jsonl", 30), tmp_path / "out.jsonl"
    named = [word for host in answering.values() for word in ("--host", host.url)]

    done = caravan(
        "run",
        str(file),
        "--host",
        hosts[0].url,
        *named,
        "-o",
        str(out),
        env={**environment, **QUICK},
        check=False,
    )

    assert len(out.read_text(encoding="utf-8").splitlines()) == 30
    _is_clean(done.stdout + done.stderr)
    for command in (["status", "@last"], ["jobs", "@last"], ["hosts", "list"]):
        said = caravan(*command, env=environment, check=False)
        _is_clean(said.stdout + said.stderr)


def test_a_host_alone_that_answers_anything_is_named_with_its_words(
    environment: Environment, tmp_path: Path
) -> None:
    file = write_jobs(tmp_path / "jobs.jsonl", 1)
    with scripted(_error(500, BRACKETS)) as host:
        done = caravan("run", str(file), "--host", host.url, env={**environment, **QUICK}, check=False)

    assert done.returncode > 1, "an exit code of its own, which neither a crash nor a refusal has"
    _is_clean(done.stdout + done.stderr)
    assert "[/root/.ollama/models/manifests]" in "".join(done.stderr.split())

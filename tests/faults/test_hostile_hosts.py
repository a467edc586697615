"""Hosts that send what no honest server sends: who pays, what is kept, and that it ends soon and small."""

import resource
import threading
import time
from collections.abc import Sequence
from dataclasses import replace

import pytest

import simulator
from simulator import Fault
from tests.faults.test_sick_hosts import PATIENT, Serving, jobs_for
from tests.integration.ollama.scripted import (
    STREAM_HEAD,
    Action,
    Drip,
    Flood,
    Request,
    Send,
    body,
    record,
    scripted,
    streamed,
)
from tests.integration.serving.test_serve import MODELS, add, simulated, submit
from tests.maintenance import tick
from tests.waiting import wait_until
from worker.clock import Clock
from worker.domain.hosts import Host, HostModel
from worker.domain.jobs import JobState
from worker.domain.selection import Selection
from worker.errors import CODES, Code
from worker.ollama.client import Deadlines, OllamaHost
from worker.serving.history import HostHistory
from worker.serving.loop import serve_host
from worker.serving.pace import Paces
from worker.serving.session import ServingContext
from worker.storage.engine import Database
from worker.storage.hosts import add_host, record_probe
from worker.storage.ids import job_id
from worker.storage.results import AttemptRow, iter_results, list_attempts

DEADLINES = Deadlines(connect=2, first_byte=0.5, silence=0.5, total=1, load=5, probe=2)
BRIEF = replace(PATIENT, unload=0.3)
TOTAL_ALONE = replace(DEADLINES, first_byte=20, silence=20)
"""For a test of the deadline of the whole answer: on a busy machine a first byte may take its time."""


@pytest.fixture(autouse=True)
def _small_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, most in (("LINE_BYTES", 100_000), ("REPLY_BYTES", 200_000), ("PROBE_BYTES", 1_000_000)):
        monkeypatch.setattr(f"worker.replies.bounds.{name}", most)


def attempts_of(database: Database, batch: int, seq: int = 1) -> list[AttemptRow]:
    with database.read() as conn:
        return list_attempts(conn, job_id(batch, seq))


@pytest.mark.parametrize(
    ("fault", "code", "partial"),
    [
        pytest.param(Fault("crash", after_chunks=2), "reply_cut", True, marks=pytest.mark.fault(16)),
        pytest.param(Fault("cut", after_chunks=2), "reply_cut", True, marks=pytest.mark.fault(16)),
        pytest.param(Fault("eof", after_chunks=2), "reply_cut", True, marks=pytest.mark.fault(16)),
        pytest.param(Fault("runner_death", after_chunks=2), "runner_died", True, marks=pytest.mark.fault(17)),
        pytest.param(
            Fault("error_line", after_chunks=2, text="something new"),
            "host_error",
            True,
            marks=pytest.mark.fault(17),
        ),
        pytest.param(Fault("bad_json", after_chunks=2), "bad_reply", True, marks=pytest.mark.fault(17)),
        pytest.param(Fault("wrong_types"), "bad_reply", False, marks=pytest.mark.fault(17)),
        pytest.param(
            Fault("redirect", text="http://127.0.0.1:9/"), "bad_reply", False, marks=pytest.mark.fault(17)
        ),
        pytest.param(Fault("busy"), "host_busy", False, marks=pytest.mark.fault(18)),
        pytest.param(
            Fault("error", status=429, text="slow down"), "host_busy", False, marks=pytest.mark.fault(18)
        ),
        pytest.param(
            Fault("endless_line", after_chunks=2), "bad_reply below_floor", True, marks=pytest.mark.fault(22)
        ),
        pytest.param(Fault("huge_body"), "bad_reply below_floor", False, marks=pytest.mark.fault(27)),
    ],
    ids=lambda value: value.kind if isinstance(value, Fault) else None,
)
def test_what_a_host_did_wrong_is_noted_with_its_text_and_the_job_is_answered_after_it(
    database: Database, clock: Clock, fault: Fault, code: str, partial: bool
) -> None:
    with simulator.running(simulated()) as (running,):
        host = add(database, clock, running)
        running.set_faults(fault)
        batch = submit(database, clock, jobs_for("one"))
        supervisor = threading.Thread(target=_start_again, args=(running, ended := threading.Event()))
        supervisor.start()

        Serving(database, clock, host).go_on(batch, until={JobState.SUCCEEDED: 1})

        ended.set()
        supervisor.join()
        bad, good = attempts_of(database, batch.id)
        assert (bad.outcome, good.outcome) == ("retried", "succeeded")
        assert bad.error_code in code.split(), bad.error_message
        assert bool(bad.partial) is partial
        assert bad.charged is (CODES[Code(bad.error_code)].fault == "job")


def _start_again(running: simulator.RunningHost, ended: threading.Event) -> None:
    """What systemd does."""
    while not ended.wait(0.05):
        running.start_again()


def _honest(request: Request) -> Sequence[Action] | None:
    """What every server says beside its answers."""
    match request.path:
        case "/api/version":
            return body({"version": "0.33.1"})
        case "/api/tags":
            return body({"models": [{"name": MODELS[0], "digest": "d1", "size": 1}]})
        case "/api/ps":
            return body({"models": [{"name": MODELS[0], "digest": "d1", "size": 1, "context_length": 4096}]})
        case "/api/show":
            return body({"capabilities": ["completion"]})
        case "/api/generate" if not request.body["prompt"]:
            unload = request.body.get("keep_alive") == 0
            return body({"model": "m", "done": True, "done_reason": "unload" if unload else "load"})
    return None


def _serve(
    database: Database,
    clock: Clock,
    url: str,
    *,
    passes: int,
    until: JobState,
    batch: int,
    deadlines: Deadlines = DEADLINES,
) -> HostHistory:
    host = Host("gpu-1", url, 1)
    with database.write() as conn:
        add_host(conn, host, now=clock.now())
        record_probe(
            conn, "gpu-1", version="0", models=[HostModel(MODELS[0], "d1", False, 4096)], now=clock.now()
        )
    history, gpu = HostHistory(Paces("gpu-1")), OllamaHost(url, deadlines=deadlines)
    for _ in range(passes):
        wait_until(lambda: not history.paused(clock.monotonic()), description="the pause is over")
        tick(database, clock=clock)
        serve_host(ServingContext(database, host, gpu, clock, BRIEF), history=history)
        if next(iter_results(database, Selection(batch))).state == until:
            break
    gpu.close()
    return history


@pytest.mark.fault(22)
@pytest.mark.fault(27)
def test_an_answer_without_end_ends_at_the_size_limit_with_its_text_kept(
    database: Database, clock: Clock
) -> None:
    batch = submit(database, clock, jobs_for("one"))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    with scripted(lambda request: _honest(request) or [Send(STREAM_HEAD), Flood(record("x" * 1000))]) as host:
        _serve(database, clock, host.url, passes=3, until=JobState.FAILED, batch=batch.id)

    [row] = iter_results(database, Selection(batch.id))
    assert (row.state, row.error_code) == ("failed", "reply_too_long")
    assert row.answer == "x" * 200_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000, "kilobytes"


@pytest.mark.fault(22)
def test_an_answer_that_goes_on_and_on_in_little_pieces_meets_the_deadline_and_is_charged(
    database: Database, clock: Clock
) -> None:
    batch = submit(database, clock, jobs_for("one"))

    with scripted(
        lambda request: _honest(request) or [Send(STREAM_HEAD), Drip(record("x") * 10_000, 0.01, 500)]
    ) as host:
        _serve(
            database, clock, host.url, passes=1, until=JobState.FAILED, batch=batch.id, deadlines=TOTAL_ALONE
        )

    [attempt] = attempts_of(database, batch.id)
    assert (attempt.outcome, attempt.error_code, attempt.charged) == ("retried", "too_slow", True)
    assert set(attempt.partial or "") == {"x"}


@pytest.mark.fault(17)
@pytest.mark.parametrize(
    "answer",
    [
        [Send(b"HTTP/1.1 200 OK\r\n"), Flood(b"X-Long: " + b"y" * 70_000 + b"\r\n")],
        [Send(b"HTTP/1.1 200 OK\r\n"), Flood(b"X: y\r\n")],
        [Flood(b"HTTP/1.1 100 Continue\r\n\r\n")],
        [Send(b"HTTP/1.1 200 OK\r\n"), Drip(b"X-Slow: " + b"y" * 10_000, 0.05)],
        [Send(STREAM_HEAD + b"0\r\n"), Flood(b"X: y\r\n")],
        [Send(STREAM_HEAD + b"-1\r\n"), Flood(b"x" * 65_536)],
        [Send(b"HTTP/1.1 200 OK\r\nContent-Length: 9999999999999\r\n\r\n"), Flood(b"x" * 65_536)],
        [Send(b"HTTP/1.1 500 X\r\n\r\n"), Flood(b"x" * 65_536)],
        streamed(),
    ],
    ids=[
        "a long header",
        "headers without end",
        "continue without end",
        "headers that drip",
        "trailers without end",
        "a chunk below zero",
        "a length of terabytes",
        "an error without end",
        "nothing but the end",
    ],
)
def test_what_no_server_sends_costs_neither_time_nor_memory_and_never_a_defect(
    database: Database, clock: Clock, answer: list[Action]
) -> None:
    batch = submit(database, clock, jobs_for("one"))
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()

    with scripted(lambda request: _honest(request) or answer) as host:
        _serve(database, clock, host.url, passes=1, until=JobState.FAILED, batch=batch.id)

    attempts = attempts_of(database, batch.id)
    assert {attempt.error_code for attempt in attempts} <= {
        None, "bad_reply", "empty_answer", "no_first_byte", "reply_cut", "host_error", "too_slow"
    }  # fmt: skip
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 60_000, "kilobytes"
    assert time.monotonic() - began < 25


@pytest.mark.fault(18)
def test_a_busy_host_may_not_ask_to_be_left_alone_for_years(database: Database, clock: Clock) -> None:
    head = b"HTTP/1.1 503 Busy\r\nRetry-After: 99999999\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n"
    busy: list[Action] = [Send(head + b'{"error":"busy"}')]
    answers = iter([busy, busy])
    batch = submit(database, clock, jobs_for("one"))

    with scripted(lambda request: _honest(request) or next(answers, streamed("Hello"))) as host:
        _serve(database, clock, host.url, passes=60, until=JobState.SUCCEEDED, batch=batch.id)

    *refused, answered = attempts_of(database, batch.id)
    assert answered.outcome == "succeeded"
    assert [(one.error_code, one.charged) for one in refused] == [("host_busy", False)] * 2


@pytest.mark.fault(18)
def test_a_host_is_left_alone_as_long_as_it_asks_and_no_longer_than_a_third_of_the_lease() -> None:
    told = HostHistory().add_failure(0.0, at_most=30, retry_after=20)
    too_long = HostHistory().add_failure(0.0, at_most=30, retry_after=10**9)
    shorter = HostHistory().add_failure(0.0, at_most=30, retry_after=1)

    assert (told, too_long, shorter) == (20, 30, 2)

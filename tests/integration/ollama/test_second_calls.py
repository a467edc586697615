"""Two requests on one call: the second counts anew, but an abort and the deadline in total hold for both."""

from datetime import UTC, datetime

import pytest

import simulator
from tests.asking import generate
from tests.clocks import FakeClock
from worker.errors import Code, HostError
from worker.ollama.calls import Call
from worker.ollama.client import Deadlines, OllamaHost
from worker.ollama.limits import patience_to_work

REQUEST = {"model": "llama3.2:3b", "prompt": "Say it."}


def test_an_abort_between_two_requests_ends_the_second() -> None:
    with simulator.running(simulator.HostSettings("gpu-1", simulator.demo_models(), time_scale=0.0)) as (
        running,
    ):
        gpu, call = OllamaHost(running.url), Call()
        generate(gpu, REQUEST, call=call)

        call.again()
        generate(gpu, REQUEST, call=call)
        call.again()
        call.abort()
        with pytest.raises(HostError) as ended:
            generate(gpu, REQUEST, call=call)
        gpu.close()
        completed = running.state()["completed"]

    assert ended.value.code is Code.CANCELLED
    assert completed == 2


def test_what_is_left_of_the_deadline_in_total_is_all_that_the_second_has() -> None:
    clock = FakeClock(datetime(2026, 11, 23, 2, 0, tzinfo=UTC))
    patience = patience_to_work(Deadlines(first_byte=60, silence=30, total=100))
    call = Call()
    call.start(patience, clock)
    clock.advance(70)

    call.again()
    call.start(patience, clock)
    left = call.wait_seconds()
    clock.advance(31)
    with pytest.raises(TimeoutError):
        call.wait_seconds()

    assert left == pytest.approx(30)
    assert call.verdict is not None
    assert call.verdict.code is Code.TOO_SLOW

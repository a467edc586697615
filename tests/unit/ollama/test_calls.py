"""How long a call waits, who ends it, and whom a dead host is blamed on."""

import socket
from datetime import UTC, datetime

import pytest

from worker.errors import Code
from worker.ollama.calls import Call, Verdict
from worker.ollama.limits import Deadlines, patience_to_load, patience_to_probe, patience_to_work
from worker.ollama.poison import Suspects


class FakeClock:
    def __init__(self) -> None:
        self.seconds = 100.0

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, UTC)

    def monotonic(self) -> float:
        return self.seconds


DEADLINES = Deadlines(connect=5, first_byte=60, silence=10, total=100, load=660, probe=3)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def call(clock: FakeClock) -> Call:
    call = Call()
    call.start(patience_to_work(DEADLINES), clock)
    return call


def test_the_first_byte_is_waited_for_as_long_as_is_left_of_its_time(call: Call, clock: FakeClock) -> None:
    clock.seconds += 45

    assert call.wait_seconds() == 15


def test_after_the_first_byte_each_read_may_wait_for_the_silence(call: Call, clock: FakeClock) -> None:
    clock.seconds += 59
    call.first_byte()
    clock.seconds += 5

    assert call.wait_seconds() == 10


def test_the_first_byte_came_when_it_was_read_and_not_when_it_was_looked_at(
    call: Call, clock: FakeClock
) -> None:
    call.came()
    clock.seconds += 1
    call.first_byte()

    assert call.first_byte_at == call.last_byte_at == 100


def test_near_the_end_a_read_waits_for_the_rest_of_the_whole(call: Call, clock: FakeClock) -> None:
    call.first_byte()
    clock.seconds += 97

    assert call.wait_seconds() == 3
    call.ran_out()
    assert call.verdict == Verdict(Code.TOO_SLOW, "the reply was not complete after 100 s")


def test_silence_is_not_called_slowness(call: Call, clock: FakeClock) -> None:
    call.first_byte()
    call.chunks = 7
    call.wait_seconds()
    clock.seconds += 10
    call.ran_out()

    assert call.verdict == Verdict(Code.REPLY_STALLED, "nothing came for 10 s, after 7 chunks")


def test_a_deadline_that_passed_between_reads_ends_the_call(call: Call, clock: FakeClock) -> None:
    call.first_byte()
    clock.seconds += 101

    with pytest.raises(TimeoutError):
        call.wait_seconds()

    assert call.verdict is not None
    assert call.verdict.code is Code.TOO_SLOW


def test_the_first_byte_cannot_come_after_the_whole(clock: FakeClock) -> None:
    call = Call()
    call.start(patience_to_work(Deadlines(first_byte=600, total=100)), clock)

    assert call.wait_seconds() == 100


def test_the_end_of_a_body_that_does_not_come_ends_nothing(call: Call, clock: FakeClock) -> None:
    call.first_byte()
    call.tail()

    assert call.wait_seconds() <= 1
    call.ran_out()
    assert call.verdict is None


@pytest.mark.parametrize(
    ("patience", "seconds", "code"),
    [
        (patience_to_load(DEADLINES), 660, Code.LOAD_FAILED),
        (patience_to_probe(DEADLINES), 3, Code.HOST_UNREACHABLE),
    ],
)
def test_a_load_and_a_look_have_one_deadline_and_their_own_code(
    clock: FakeClock, patience: object, seconds: float, code: Code
) -> None:
    call = Call()
    call.start(patience, clock)  # type: ignore[arg-type]

    assert call.wait_seconds() == seconds
    call.ran_out()
    assert call.verdict is not None
    assert call.verdict.code is code


def test_the_first_to_end_a_call_says_why(call: Call) -> None:
    call.abort(Code.EXPIRED, reason="its deadline passed")
    call.abort(Code.CANCELLED)
    call.wait_seconds()
    call.ran_out()

    assert call.verdict == Verdict(Code.EXPIRED, "its deadline passed")


def test_an_abort_wakes_whoever_reads(call: Call) -> None:
    mine, theirs = socket.socketpair()
    with mine, theirs:
        call.take(mine)

        call.abort()

        assert mine.recv(1) == b""
        assert theirs.recv(1) == b""


def test_an_aborted_call_takes_no_connection(call: Call) -> None:
    call.abort()
    mine, theirs = socket.socketpair()
    with mine, theirs, pytest.raises(ConnectionAbortedError):
        call.take(mine)


def test_a_connection_that_was_let_go_is_not_closed_by_a_late_abort(call: Call) -> None:
    mine, theirs = socket.socketpair()
    with mine, theirs:
        call.take(mine)
        assert call.let_go()

        call.abort()

        theirs.send(b"x")
        assert mine.recv(1) == b"x"
        assert not call.let_go()


def test_a_call_is_suspected_only_if_no_other_can_have_done_it(call: Call) -> None:
    suspects, other = Suspects(), Call()
    suspects.enter(call)
    suspects.enter(other)

    assert not suspects.is_alone(call, now=100)

    suspects.leave(call)
    assert not suspects.is_alone(other, now=100.5)
    assert suspects.is_alone(other, now=200)


def test_a_call_that_is_being_answered_is_no_suspect(call: Call) -> None:
    suspects, other = Suspects(), Call()
    suspects.enter(call)
    suspects.enter(other)
    other.first_byte_at = 99.0

    assert suspects.is_alone(call, now=100)

"""What follows from the endings of jobs that are taken in together, without a host and without a database."""

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

from worker.domain.attempts import Finish, Outcome, Retried, Succeeded
from worker.domain.jobs import ClaimedJob, Priority
from worker.domain.replies import Reply
from worker.errors import Code, HostError
from worker.ollama.client import Call
from worker.replies.read import read_reply
from worker.serving import endings
from worker.serving.attempt import Ending
from worker.serving.history import HostHistory
from worker.serving.parts import Parts
from worker.serving.slots import Completion, RunningCall

NOW = datetime(2026, 11, 23, tzinfo=UTC)


def completion(*errors: HostError | None) -> Completion:
    """A call of as many jobs, each answered or with its failure."""
    reply = Reply("m", "Yes.", "", "stop", None, 9, 1, 5, 2, 2, 4, 1)
    answer = Succeeded(read_reply(reply, expects_reasoning=None, guarded=True))
    endings = []
    for error in errors:
        outcome: Outcome = answer if error is None else Retried(error.code, "", NOW, charged=False)
        endings.append(Ending(Finish(1, 1, "t", 1, "gpu-1", NOW, NOW, outcome), error, 0.1))
    job = ClaimedJob(1, 1, "c", "m:1", "m:1", Priority.NORMAL, 1, 0, 3, "t", "x", {})
    return Completion(RunningCall((job,) * len(errors), "m:1", Call(), 1), endings)


def pauses(*groups: list[Completion]) -> list[float | None]:
    """How long a host steps back for the failures among these, five minutes between two groups."""
    history, now, found = HostHistory(), [0.0], []
    nothing: Any = lambda *_, **__: None  # noqa: E731

    def add_failures(errors: object) -> None:
        found.append(history.add_failure(now[0], at_most=30))

    breaker = SimpleNamespace(add_failures=add_failures, add_answer=lambda *_: history.add_answer(now[0]))
    parts = SimpleNamespace(
        breaker=breaker,
        machine=SimpleNamespace(mark_used=nothing, doubt=nothing, add_wait=nothing),
        claims=SimpleNamespace(give_back=nothing, answer_alike=nothing),
        history=SimpleNamespace(paces=SimpleNamespace(add_job=nothing, add_waits=nothing)),
        view=SimpleNamespace(slots_of=lambda _: 2),
        context=SimpleNamespace(host=SimpleNamespace(name="gpu-1"), database=None),
        session=SimpleNamespace(host="gpu-1"),
        store=nothing,
    )
    for group in groups:
        endings.take(cast(Parts, parts), group)
        now[0] += 300
    return found


DIED = HostError(Code.RUNNER_DIED, "the model runner has unexpectedly stopped")


def test_an_answer_before_a_failure_forgives_earlier_ones_where_both_are_taken_in_together() -> None:
    group = [completion(None), completion(DIED)]

    assert pauses(group, group) == [2.0, 2.0]


def test_an_answer_in_the_call_in_which_the_host_failed_forgives_earlier_failures() -> None:
    group = [completion(None, DIED, DIED)]

    assert pauses(group, group) == [2.0, 2.0]


def test_an_answer_after_a_failure_was_asked_before_it_and_forgives_nothing() -> None:
    group = [completion(DIED), completion(None)]

    assert pauses(group, group) == [2.0, 4.0]

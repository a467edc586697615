"""What becomes of a job whose attempt failed."""

from datetime import UTC, datetime, timedelta

import pytest

from worker.domain.attempts import Cancelled, Failed, Held, Outcome, Retried
from worker.errors import CODES, Code, HostError
from worker.policy.retry import MOST_LOSSES, SUSPECT_AFTER, after_failure, host_pause, load_pause

NOW = datetime(2026, 11, 23, tzinfo=UTC)


def outcome_of(code: Code, *, charged: int = 0, losses: int = 0, max_attempts: int = 3) -> Outcome:
    error = HostError(code, "gpu-1: it failed", partial="so far")
    return after_failure(
        error, charged=charged, losses=losses, max_attempts=max_attempts, now=NOW, jitter=0.0
    )


def test_the_jobs_own_fault_is_charged_and_tried_again_later() -> None:
    outcome = outcome_of(Code.REPEATED_OUTPUT, charged=1)

    assert outcome == Retried(
        Code.REPEATED_OUTPUT, "gpu-1: it failed", NOW + timedelta(seconds=16), charged=True, partial="so far"
    )


def test_a_job_that_used_up_its_attempts_fails_with_the_last_error() -> None:
    outcome = outcome_of(Code.REPEATED_OUTPUT, charged=2)

    assert outcome == Failed(Code.REPEATED_OUTPUT, "gpu-1: it failed", partial="so far")


@pytest.mark.parametrize(
    "code",
    [code for code, facts in CODES.items() if facts.fault in ("host", "runner", "caravan") and facts.retried],
)
def test_a_fault_of_the_host_or_the_runner_never_charges_the_job(code: Code) -> None:
    outcome = outcome_of(code, charged=2)

    assert isinstance(outcome, Retried)
    assert not outcome.charged


@pytest.mark.parametrize(
    "code", [code for code, facts in CODES.items() if not facts.retried and code != "cancelled"]
)
def test_what_trying_again_cannot_mend_fails_at_once(code: Code) -> None:
    assert isinstance(outcome_of(code), Failed)


def test_a_cancelled_call_keeps_what_had_come() -> None:
    assert outcome_of(Code.CANCELLED) == Cancelled(partial="so far")


def test_a_fault_that_follows_the_job_around_makes_it_a_suspect_and_then_holds_it() -> None:
    suspected = outcome_of(Code.RUNNER_DIED, losses=SUSPECT_AFTER - 1)
    held = outcome_of(Code.RUNNER_DIED, losses=MOST_LOSSES - 1)

    assert isinstance(suspected, Retried)
    assert suspected.lost
    assert isinstance(held, Held)


def test_an_unreachable_host_never_makes_a_job_a_suspect() -> None:
    assert isinstance(outcome_of(Code.HOST_UNREACHABLE, losses=500), Retried)


def test_pauses_grow_and_are_bounded() -> None:
    assert [host_pause(n) for n in (1, 9)] == [timedelta(seconds=2), timedelta(minutes=1)]
    assert [load_pause(n) for n in (1, 99)] == [timedelta(seconds=15), timedelta(minutes=10)]

"""Which operation on a model comes next on a host, and what follows from one that failed."""

from datetime import UTC, datetime, timedelta
from typing import Any

from worker.domain.model_operations import ModelPart, ModelVerb, PartState
from worker.policy.model_care import MOST_TRIES, after_failure, between_jobs, next_errand

NOW = datetime(2026, 12, 1, 8, 0, tzinfo=UTC)


def part(verb: ModelVerb, model: str = "a:1", number: int = 1, **fields: Any) -> ModelPart:
    return ModelPart(number, verb, "gpu-1", model, **fields)


def test_a_pull_goes_on_beside_the_jobs_and_a_removal_between_them() -> None:
    parts = [part(ModelVerb.REMOVE), part(ModelVerb.PULL, "b:1")]

    assert next_errand(parts, now=NOW, closed=False) == parts[1]
    assert between_jobs(parts, now=NOW, closed=False) == [parts[0]]


def test_a_later_part_waits_for_an_earlier_one_on_its_model() -> None:
    removal, pull = part(ModelVerb.REMOVE), part(ModelVerb.PULL, number=2)
    copy = part(ModelVerb.COPY, "c:1", number=3, arguments={"source": "a:1"})

    assert next_errand([removal, pull, copy], now=NOW, closed=False) is None
    assert next_errand([pull, removal], now=NOW, closed=False) == pull
    assert between_jobs([pull, removal], now=NOW, closed=False) == []
    assert between_jobs([removal], now=NOW, closed=False, busy=pull.names) == []


def test_a_part_waits_for_its_time_and_for_the_hours_of_its_host() -> None:
    later = part(ModelVerb.PULL, next_at=NOW + timedelta(seconds=1))
    urgent = part(ModelVerb.PULL, arguments={"now": True})

    assert next_errand([later], now=NOW, closed=False) is None
    assert next_errand([part(ModelVerb.PULL)], now=NOW, closed=True) is None
    assert next_errand([urgent], now=NOW, closed=True) == urgent


def test_a_failure_is_tried_again_later_each_time_and_given_up_after_eight_that_brought_nothing() -> None:
    pauses, tried = [], part(ModelVerb.PULL, state=PartState.WORKING)
    while tried.state is not PartState.FAILED:
        tried = after_failure(tried, "EOF", final=False, away=False, moved=False, now=NOW)
        if tried.next_at is not None:
            pauses.append((tried.next_at - NOW).total_seconds())

    assert pauses == [5, 10, 20, 40, 80, 160, 300, 300]
    assert tried.tries == MOST_TRIES + 1
    assert tried.error == "EOF"


def test_bytes_that_came_begin_the_count_anew_and_a_host_that_is_away_counts_for_nothing() -> None:
    tired = part(ModelVerb.PULL, tries=MOST_TRIES)

    moved = after_failure(tired, "EOF", final=False, away=False, moved=True, now=NOW)
    away = after_failure(tired, "refused", final=False, away=True, moved=False, now=NOW)

    assert (moved.state, moved.tries) == (PartState.WAITING, 1)
    assert (away.state, away.tries) == (PartState.WAITING, MOST_TRIES)


def test_what_no_try_mends_is_over_at_once() -> None:
    failed = after_failure(part(ModelVerb.PULL), "no such", final=True, away=False, moved=True, now=NOW)

    assert (failed.state, failed.next_at) == (PartState.FAILED, None)

"""What is sent to a host for a job."""

from dataclasses import replace
from typing import Any

import pytest

from worker.domain.hosts import HostModel
from worker.kinds.generate.request import context_problem, wire_request
from worker.policy.keep_alive import keep_alive_seconds

PLAIN = HostModel("plain:latest", "d1", thinking=False, trained_context=8192)
THINKING = HostModel("r1:8b", "d2", thinking=True, trained_context=131072)


def body(
    request: dict[str, Any], model: HostModel | None = PLAIN, window: int | None = None
) -> dict[str, Any]:
    return wire_request("m:latest", "Hello.", request, model, window=window)


def test_nothing_is_cut_in_silence_unless_the_producer_asks_for_it() -> None:
    assert (body({})["truncate"], body({})["shift"]) == (False, False)
    assert (body({"truncate": True})["truncate"], body({"shift": True})["shift"]) == (True, True)


@pytest.mark.parametrize(
    ("request_", "model", "think"),
    [
        ({}, PLAIN, False),
        ({}, THINKING, True),
        ({}, None, False),
        ({"think": False}, THINKING, False),
        ({"think": "high"}, THINKING, "high"),
        ({"format": "json"}, THINKING, False),  # the grammar holds from the first token
        ({"format": "json", "think": True}, THINKING, True),
    ],
)
def test_think_is_always_explicit(request_: dict[str, Any], model: HostModel | None, think: object) -> None:
    assert body(request_, model)["think"] == think


@pytest.mark.parametrize(
    ("options", "model", "window", "expected"),
    [
        ({}, PLAIN, None, 2048),
        ({}, THINKING, None, 8192),
        ({"num_predict": 7}, THINKING, None, 7),
        ({"num_predict": -1, "num_ctx": 4096}, PLAIN, 2048, 4096),
        ({"num_predict": -1}, PLAIN, 2048, 2048),
        ({"num_predict": -2}, PLAIN, None, 8192),
        ({"num_predict": 0}, None, None, 131072),
    ],
)
def test_num_predict_is_always_explicit_and_positive(
    options: dict[str, Any], model: HostModel | None, window: int | None, expected: int
) -> None:
    assert body({"options": options}, model, window)["options"]["num_predict"] == expected


def test_a_job_sends_no_keep_alive_of_its_own() -> None:
    assert "keep_alive" not in body({"keep_alive": 0})


def test_the_producers_request_is_left_as_it_was() -> None:
    request: dict[str, Any] = {"options": {"seed": 1}}

    body(request)

    assert request == {"options": {"seed": 1}}


def test_a_context_goes_only_to_the_weights_it_came_from() -> None:
    assert context_problem({}, PLAIN) is None
    assert context_problem({"context": [1], "context_digest": "d1"}, PLAIN) is None
    assert context_problem({"context": [1]}, PLAIN) is not None
    assert context_problem({"context": [1], "context_digest": "d9"}, PLAIN) is not None
    assert context_problem({"context": [1], "context_digest": "d1"}, None) is not None


def test_a_token_id_beyond_the_vocabulary_never_reaches_a_host() -> None:
    model = replace(PLAIN, vocabulary=275)

    assert context_problem({"context": [3, 274], "context_digest": "d1"}, model) is None
    problem = context_problem({"context": [3, 275], "context_digest": "d1"}, model)

    assert problem == "context: token id 275, this model's vocabulary ends at 274"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("300ms", 0.3), ("1h30m", 5400.0), ("2m0.5s", 120.5), (0.5, 0.5), ("0", 0.0), ("-5m", -1.0)],
)
def test_keep_alive_is_read_as_a_server_reads_it(value: object, seconds: float) -> None:
    assert keep_alive_seconds(value) == pytest.approx(seconds)

"""Replies that are whole and are no answers, from simulated hosts, on both databases."""

from typing import Any

import simulator
from simulator import Fault
from tests.integration.serving.test_serve import MODELS, add, serve, simulated, submit
from worker.clock import Clock
from worker.domain.selection import Selection
from worker.exports.results import result_lines
from worker.storage.engine import Database
from worker.storage.results import list_attempts


def ask(
    database: Database, clock: Clock, *jobs: dict[str, Any], faults: tuple[Fault, ...] = (), **settings: Any
) -> list[dict[str, Any]]:
    """The result lines of these jobs on a host on which ``faults`` strike."""
    with simulator.running(simulated(faults=faults, **settings)) as (running,):
        host = add(database, clock, running)
        batch = submit(database, clock, [{"model": MODELS[0], **job} for job in jobs])
        serve(database, clock, host)
    return list(result_lines(database, Selection(batch.id)))


def test_an_empty_answer_fails_its_job_alone_and_is_kept(database: Database, clock: Clock) -> None:
    faults = (
        Fault("says", prompt="nothing", text="<think>Hm.</think>", times=0),
        Fault("says", prompt="blank", text=" \n", times=0),
        Fault("says", prompt="long", text="<think>\nHm, hm", done_reason="length", times=0),
    )
    seed: dict[str, Any] = {"options": {"seed": 1}}
    jobs: list[dict[str, Any]] = [
        {"prompt": "Say nothing.", **seed},
        {"prompt": "Be blank.", "allow_empty": True},
        {"prompt": "Think long.", **seed},
        {"prompt": "Say 1."},
    ]

    nothing, blank, cut, plain = ask(database, clock, *jobs, faults=faults)

    assert (nothing["state"], nothing["error"]["code"]) == ("failed", "empty_answer")
    assert (nothing["reasoning"], nothing["empty"], nothing["attempts"]) == ("Hm.", True, 1)
    assert nothing["output_tokens"] > 0
    assert (blank["state"], blank["empty"]) == ("succeeded", True)
    assert (cut["state"], cut["cut"], cut["empty"], cut["reasoning"]) == ("succeeded", True, True, "Hm, hm")
    assert (plain["state"], plain["empty"]) == ("succeeded", False)


def test_an_empty_answer_is_tried_again_and_each_try_keeps_its_text(database: Database, clock: Clock) -> None:
    faults = (Fault("says", text="<think>Hm.</think>", times=1),)

    (line,) = ask(database, clock, {"prompt": "Say 1."}, faults=faults)

    with database.read() as conn:
        first, *_ = list_attempts(conn, line["job"])
    assert (first.outcome, first.error_code, first.charged) == ("retried", "empty_answer", True)
    assert first.partial == "<think>Hm.</think>"


def test_a_prompt_that_an_older_server_cut_in_silence_is_an_overflow_and_not_an_answer(
    database: Database, clock: Clock
) -> None:
    prompt = "word " * 3000

    named, allowed = ask(
        database,
        clock,
        {"prompt": prompt, "options": {"num_ctx": 1024}},
        {"prompt": prompt + "!", "options": {"num_ctx": 1024}, "truncate": True},
        version="0.11.0",
    )

    assert (named["state"], named["error"]["code"], named["prompt_fit"]) == (
        "failed",
        "context_overflow",
        "no",
    )
    assert named["answer"]
    assert (allowed["state"], allowed["prompt_fit"]) == ("succeeded", "no")


def test_log_probabilities_come_back_with_the_result(database: Database, clock: Clock) -> None:
    job = {"logprobs": True, "top_logprobs": 2, "options": {"num_predict": 4}}
    turns = {"messages": [{"role": "user", "content": "Yes or no?"}]}
    schema = {"type": "object", "properties": {"yes": {"type": "boolean"}}, "required": ["yes"]}
    reasoned = {**turns, "model": MODELS[2], "logprobs": True, "think": True, "format": schema}

    *both, of_two_calls, plain = ask(
        database, clock, {"prompt": "Yes or no?", **job}, {**turns, **job}, reasoned, {"prompt": "Say 1."}
    )

    for line in both:
        assert len(line["logprobs"]) == line["output_tokens"]
        assert {len(entry["top_logprobs"]) for entry in line["logprobs"]} == {2}
    assert "".join(entry["token"] for entry in of_two_calls["logprobs"]) == of_two_calls["answer"]
    assert "logprobs" not in plain

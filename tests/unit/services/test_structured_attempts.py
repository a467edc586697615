"""How a job with ``format`` is asked: once, after reasoning, and again where its answer does not fit."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from tests.asking import attempt_job
from tests.clocks import FakeClock
from worker.domain.attempts import Failed, Outcome, Succeeded
from worker.domain.hosts import HostModel
from worker.domain.jobs import ClaimedJob, Priority
from worker.domain.replies import Reply
from worker.errors import Code, HostError
from worker.ollama.client import Call

CLOCK = FakeClock(datetime(2026, 11, 23, 2, 0, tzinfo=UTC))
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
FITS, DOES_NOT = '{"n": 7}', '{"n": "seven"}'


def test_a_job_that_does_not_reason_is_constrained_at_once() -> None:
    sent, outcome = ask([FITS])

    assert [(body["format"], body["think"]) for body in sent] == [(SCHEMA, False)]
    assert isinstance(outcome, Succeeded)
    assert outcome.result.parsed == {"n": 7}


def test_a_job_that_reasons_is_asked_freely_and_then_constrained_from_the_context_of_that() -> None:
    free = a_reply("It is seven.", thinking="Hm, 7.", context=(1, 2, 3))
    job: dict[str, Any] = {"think": True, "system": "Be short.", "options": {"stop": ["."], "num_ctx": 4096}}

    sent, outcome = ask([free, FITS], **job)

    first, second = sent
    assert "format" not in first
    assert (first["think"], first["options"]["num_predict"]) == (True, 8192 - 2048)
    assert "stop" not in first["options"]
    assert (second["context"], second["think"], second["format"]) == ([1, 2, 3], False, SCHEMA)
    assert "system" not in second
    assert second["options"] == {"stop": ["."], "num_ctx": 4096, "num_predict": 8192 - 10}
    assert isinstance(outcome, Succeeded)
    result = outcome.result
    assert (result.answer, result.reasoning, result.parsed) == (FITS, "Hm, 7.", {"n": 7})
    assert (result.output_tokens, result.prompt_tokens, result.total_duration) == (20, 10, 2_000)


def test_a_free_answer_that_fits_is_taken_as_it_is() -> None:
    sent, outcome = ask([a_reply(f"```json\n{FITS}\n```", thinking="Hm.")], think=True)

    assert len(sent) == 1
    assert isinstance(outcome, Succeeded)
    assert (outcome.result.parsed, outcome.result.reasoning) == ({"n": 7}, "Hm.")


def test_images_and_a_reply_without_context_have_the_question_asked_once_more() -> None:
    cases: list[tuple[Reply, dict[str, Any]]] = [
        (a_reply("Seven.", "Hm.", (1,)), {"images": ["aGk="]}),
        (a_reply("Seven.", "Hm."), {}),
    ]
    for free, more in cases:
        sent, _ = ask([free, FITS], think=True, **more)

        assert "context" not in sent[1]
        assert sent[1]["prompt"] == "How many?\n\nHm.\n\nSeven.\n\nAs JSON."
        assert sent[1].get("images") == more.get("images")


def test_a_raw_prompt_is_constrained_at_once_whatever_it_says_of_thinking() -> None:
    sent, _ = ask([FITS], think=True, raw=True)

    assert [(body["think"], body["format"]) for body in sent] == [(False, SCHEMA)]


def test_an_answer_that_does_not_fit_is_told_why_and_repaired() -> None:
    sent, outcome = ask([a_reply(DOES_NOT, context=(4, 5)), FITS])

    assert sent[1]["context"] == [4, 5]
    assert sent[1]["prompt"].startswith("That does not fit: at n: 'seven' is not of type 'integer'")
    assert isinstance(outcome, Succeeded)
    assert outcome.result.output_tokens == 20


def test_after_the_last_repair_the_job_fails_with_its_text() -> None:
    for repairs, calls in ((None, 3), (0, 1), (1, 2)):
        told: dict[str, Any] = {} if repairs is None else {"repairs": repairs}

        sent, outcome = ask([a_reply(DOES_NOT, context=(4,))] * 5, **told)

        assert len(sent) == calls
        assert "repairs" not in sent[0]
        assert isinstance(outcome, Failed)
        assert (outcome.code, outcome.message) == (
            Code.INVALID_OUTPUT,
            "at n: 'seven' is not of type 'integer'",
        )
        assert outcome.result is not None
        assert (outcome.result.answer, outcome.result.parsed) == (DOES_NOT, None)


def test_a_complete_answer_before_white_space_up_to_num_predict_is_whole() -> None:
    _, outcome = ask([a_reply(FITS + " \n" * 40, done_reason="length")], fail_on_cut=True)

    assert isinstance(outcome, Succeeded)
    assert (outcome.result.cut, outcome.result.answer, outcome.result.done_reason) == (False, FITS, "length")


def test_a_cut_answer_is_asked_again_with_another_seed_and_never_where_no_chance_is_in_it() -> None:
    cut = a_reply('{"n": ', context=(1,), done_reason="length")

    sent, _ = ask([cut, FITS], options={"seed": 5})
    once, outcome = ask([cut], options={"temperature": 0})

    assert [body["options"]["seed"] for body in sent] == [5, 6]
    assert "context" not in sent[1]
    assert len(once) == 1
    assert isinstance(outcome, Failed)
    assert "cut after 5 characters; raise num_predict" in outcome.message


def test_a_repair_that_no_longer_fits_the_window_is_not_made() -> None:
    sent, outcome = ask([a_reply(DOES_NOT, context=(4,)), HostError(Code.CONTEXT_OVERFLOW, "too long")])

    assert len(sent) == 2
    assert isinstance(outcome, Failed)
    assert outcome.code is Code.INVALID_OUTPUT


def test_json_that_a_host_takes_for_reasoning_is_the_answer() -> None:
    _, outcome = ask([a_reply("", thinking=FITS)])

    assert isinstance(outcome, Succeeded)
    assert (outcome.result.answer, outcome.result.reasoning) == (FITS, None)


def test_a_call_that_is_lost_after_the_first_keeps_what_that_said() -> None:
    _, outcome = ask(
        [a_reply("Seven.", "Hm.", (1,)), HostError(Code.REPEATED_OUTPUT, "again and again")], think=True
    )

    assert getattr(outcome, "partial", None) == "Seven."


def ask(
    replies: Sequence[str | Reply | HostError], *, fail_on_cut: bool = False, **request: Any
) -> tuple[list[Mapping[str, Any]], Outcome]:
    """What was sent, and how the attempt ended."""
    sent: list[Mapping[str, Any]] = []
    left = list(replies)

    def answered(body: Mapping[str, object], _: Call) -> Reply:
        sent.append(body)
        said = left.pop(0)
        if isinstance(said, HostError):
            raise said
        return a_reply(said) if isinstance(said, str) else said

    job = ClaimedJob(
        1, 1, "c", "m:1", "m:1", Priority.NORMAL, 1, 0, 3, "t", "How many?", {"format": SCHEMA, **request}
    )
    ending = attempt_job(
        job,
        ask=answered,
        call=Call(),
        host="gpu-1",
        host_model=HostModel("m:1", "d" * 64, True, 8192),
        window=8192,
        clock=CLOCK,
        fail_on_cut=fail_on_cut,
    )
    return sent, ending.finish.outcome


def a_reply(
    response: str,
    thinking: str = "",
    context: tuple[int, ...] | None = None,
    *,
    done_reason: str = "stop",
) -> Reply:
    return Reply("m:1", response, thinking, done_reason, context, 1_000, 0, 5, 100, 10, 500, 3)

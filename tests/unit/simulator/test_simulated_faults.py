"""What a client sees of each scripted fault."""

import asyncio
import json
from itertools import pairwise
from typing import Any

import pytest

from simulator import Fault
from simulator.faults import FaultScript
from tests.contract.wire import Reply
from tests.unit.simulator.stage import Stage, model, on_stage, said, texts


async def _streamed(stage: Stage, tokens: int = 5) -> Reply:
    return await stage.post(
        "/api/generate", {"model": "a", "prompt": "x", "options": {"num_predict": tokens}}
    )


def _with(fault: Fault) -> Reply:
    """The streamed answer of a host with one fault, after a sound one that loaded the model."""

    async def scenario(stage: Stage) -> Reply:
        await stage.post("/api/generate", {"model": "a"})
        return await _streamed(stage)

    return on_stage(scenario, model("a"), faults=(fault,))


def test_an_error_line_comes_after_the_chunks_with_status_200() -> None:
    reply = _with(Fault("error_line", after_chunks=2, text="out of luck"))

    assert reply.status == 200
    assert texts(reply)[:2] == ["one", " two"]
    assert said(reply) == {"error": "out of luck"}


def test_an_error_before_the_first_chunk_has_a_status() -> None:
    reply = _with(Fault("error_line", text="out of luck"))

    assert (reply.status, said(reply)) == (500, {"error": "out of luck"})


def test_an_end_without_done_is_a_clean_end() -> None:
    reply = _with(Fault("eof", after_chunks=3))

    assert (reply.status, reply.client_error) == (200, None)
    assert [json.loads(line)["done"] for _, line in reply.lines] == [False] * 3


def test_an_answer_given_up_is_done_false_when_not_streamed() -> None:
    async def scenario(stage: Stage) -> Reply:
        return await stage.generate("a", tokens=9)

    reply = on_stage(scenario, model("a"), faults=(Fault("eof", after_chunks=2),))

    assert (said(reply)["response"], said(reply)["done"]) == ("one two", False)
    assert "done_reason" not in said(reply)


def test_a_cut_connection_ends_inside_the_body() -> None:
    reply = _with(Fault("cut", after_chunks=2))

    assert texts(reply) == ["one", " two"]


def test_a_bad_line_is_no_json() -> None:
    reply = _with(Fault("bad_json", after_chunks=1))

    with pytest.raises(ValueError):
        json.loads(reply.lines[1][1])


def test_an_endless_line_has_no_end() -> None:
    reply = _with(Fault("endless_line", after_chunks=1, size=300_000))

    assert len(reply.lines[-1][1]) > 300_000
    assert not reply.lines[-1][1].endswith("\n")


def test_a_huge_body_is_as_large_as_asked() -> None:
    reply = _with(Fault("huge_body", size=1_000_000))

    assert len(reply.lines[0][1]) > 1_000_000


def test_wrong_types_are_well_formed_json() -> None:
    assert said(_with(Fault("wrong_types")))["response"] == ["x"]


def test_a_redirect_names_another_place() -> None:
    reply = _with(Fault("redirect", text="http://elsewhere/"))

    assert (reply.status, reply.headers["location"]) == (307, "http://elsewhere/")


def test_a_busy_host_says_503() -> None:
    assert _with(Fault("busy")).status == 503


def test_an_error_reply_has_the_status_and_text_asked_for() -> None:
    reply = _with(Fault("error", status=502, text="bad gateway"))

    assert (reply.status, said(reply)) == (502, {"error": "bad gateway"})


def test_drip_waits_before_every_chunk() -> None:
    reply = _with(Fault("drip", seconds=7.0))

    times = [at for at, _ in reply.lines[:5]]
    assert all(after - before == pytest.approx(7.0) for before, after in pairwise(times))


def test_a_hang_of_some_seconds_goes_on_afterwards() -> None:
    reply = _with(Fault("hang", after_chunks=2, seconds=30.0))

    assert said(reply)["done"]
    assert reply.lines[2][0] - reply.lines[1][0] == pytest.approx(30.0, abs=0.2)


def test_a_hang_for_ever_holds_its_slot_until_the_client_leaves() -> None:
    async def scenario(stage: Stage) -> tuple[bool, int | None]:
        talk = stage.talk()
        hanging = asyncio.ensure_future(talk.run("POST", "/api/generate", b'{"model":"a","prompt":"x"}'))
        await asyncio.sleep(5.0)
        waiting = stage.begin("a")
        await asyncio.sleep(600.0)
        held = not waiting.done()
        talk.hang_up()
        await hanging
        return held, (await waiting).status

    assert on_stage(scenario, model("a"), faults=(Fault("hang"),)) == (True, 200)


def test_a_crash_takes_the_server_down_until_it_is_started_again() -> None:
    async def scenario(stage: Stage) -> list[Any]:
        reply = await _streamed(stage, 50)
        refused = await _streamed(stage)
        stage.host.start()
        again = await _streamed(stage)
        return [len(reply.lines), refused.client_error, again.status, stage.host.counters.loads]

    found = on_stage(scenario, model("a"), faults=(Fault("crash", after_chunks=3),))

    assert found == [3, "ConnectionRefusedError", 200, 2]


def test_a_dead_runner_ends_the_answer_and_the_next_request_reloads() -> None:
    async def scenario(stage: Stage) -> list[Any]:
        reply = await _streamed(stage, 50)
        listed = await stage.resident()
        again = await _streamed(stage)
        return [said(reply), listed, again.status, stage.host.counters.loads]

    found = on_stage(scenario, model("a"), faults=(Fault("runner_death", after_chunks=3),))

    assert found == [
        {"error": "an error was encountered while running the model: unexpected EOF"},
        ["a"],
        200,
        2,
    ]


def test_a_runner_that_dies_before_its_first_word_says_so() -> None:
    reply = _with(Fault("runner_death"))

    assert reply.status == 500
    assert said(reply)["error"].startswith("model runner has unexpectedly stopped")


def test_a_failing_load_strikes_whoever_loads_even_an_empty_prompt() -> None:
    async def scenario(stage: Stage) -> list[Any]:
        failed = await stage.post("/api/generate", {"model": "a"})
        loaded = await stage.post("/api/generate", {"model": "a"})
        return [failed.status, said(failed)["error"], said(loaded)["done_reason"]]

    fault = Fault("load_failure", model="a", text="cannot allocate")
    assert on_stage(scenario, model("a"), faults=(fault,)) == [500, "cannot allocate", "load"]


def test_a_slow_load_beyond_the_limit_fails() -> None:
    async def scenario(stage: Stage) -> tuple[int | None, float]:
        reply = await stage.generate("a")
        return reply.status, stage.now

    fault = Fault("slow_load", seconds=1_000.0)
    assert on_stage(scenario, model("a"), faults=(fault,), load_timeout=60.0) == (500, 60.0)


def test_faults_pick_their_requests_by_number_model_and_prompt() -> None:
    script = FaultScript(
        [
            Fault("busy", nth=2, model="a", prompt="needle", times=1),
            Fault("eof", model="b", times=2),
            Fault("error", prompt="always", times=0),
        ]
    )
    asked = [
        ("a:latest", "needle 1"),
        ("a:latest", "hay"),
        ("a", "a needle"),
        ("a", "needle again"),
        ("b", "x"),
        ("b", "x"),
        ("b", "x"),
        ("c", "always"),
        ("c", "always"),
    ]

    struck = [fault.kind if (fault := script.strike(*one)) else None for one in asked]

    assert struck == [None, None, "busy", None, "eof", "eof", None, "error", "error"]


def test_a_script_is_replaced_over_http_and_refused_with_a_reason() -> None:
    async def scenario(stage: Stage) -> list[Any]:
        good = await stage.post("/simulator/faults", [{"kind": "busy", "times": 1}])
        struck = await _streamed(stage)
        bad = await stage.post("/simulator/faults", [{"kind": "busi"}])
        return [good.status, struck.status, bad.status, said(bad)["error"]]

    good, struck, bad, why = on_stage(scenario, model("a"))

    assert (good, struck, bad) == (200, 503, 400)
    assert "unknown kind of fault: 'busi'" in why

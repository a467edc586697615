"""Which model is in memory when: the rules of Ollama's scheduler, on a virtual clock."""

import asyncio
from typing import Any

import pytest

from simulator import Line
from tests.unit.simulator.stage import Stage, model, on_stage, said


def test_requests_for_the_loaded_model_pass_one_that_waits_for_another() -> None:
    async def scenario(stage: Stage) -> list[str]:
        ended: list[str] = []

        async def ask(who: str, name: str, tokens: int) -> None:
            await stage.generate(name, tokens=tokens)
            ended.append(who)

        await stage.generate("a")
        async with asyncio.TaskGroup() as group:
            group.create_task(ask("first a", "a", 20))
            await asyncio.sleep(0.1)
            group.create_task(ask("b", "b", 1))
            await asyncio.sleep(0.1)
            group.create_task(ask("second a", "a", 20))
        return ended

    assert on_stage(scenario, model("a"), model("b")) == ["first a", "second a", "b"]


def test_pending_requests_are_served_strictly_in_order() -> None:
    async def scenario(stage: Stage) -> list[str]:
        tasks = [stage.begin(name) for name in ("a", "b", "a", "b")]
        await asyncio.gather(*tasks)
        return [entry["model"] for entry in stage.host.counters.load_log]

    loads = on_stage(scenario, model("a"), model("b"))

    assert loads == ["a:latest", "b:latest", "a:latest", "b:latest"]


def test_a_full_queue_refuses_loads_and_nothing_else() -> None:
    async def scenario(stage: Stage) -> tuple[list[int | None], list[int | None], int]:
        await stage.generate("a")
        busy = stage.begin("a", tokens=50)
        await asyncio.sleep(0.1)
        waiting = []
        for _ in range(5):
            waiting.append(stage.begin("b"))
            await asyncio.sleep(0.05)
        joining = [stage.begin("a") for _ in range(5)]
        replies = await asyncio.gather(busy, *waiting, *joining)
        statuses = [reply.status for reply in replies]
        return statuses[1:6], statuses[6:], stage.host.counters.refused_503

    waited, joined, refused = on_stage(scenario, model("a"), model("b"), max_queue=2)

    assert sorted(waited, key=str) == [
        200,
        200,
        200,
        503,
        503,
    ]  # one is already out of the queue, two wait in it
    assert joined == [200] * 5
    assert refused == 2


def test_the_victim_is_the_idle_one_with_the_shortest_keep_alive() -> None:
    async def scenario(stage: Stage) -> list[str]:
        await stage.generate("a", keep_alive="1m")
        await stage.generate("b", keep_alive="30s")
        await stage.generate("a")  # used last, and its keep_alive stays
        await stage.generate("c")
        return await stage.resident()

    assert on_stage(scenario, model("a"), model("b"), model("c"), max_loaded_models=2) == ["a", "c"]


def test_keep_alive_is_counted_from_the_end_of_the_last_request() -> None:
    async def scenario(stage: Stage) -> tuple[list[str], list[str]]:
        await stage.generate("a", tokens=100, keep_alive="3s")
        await asyncio.sleep(2.9)
        before = await stage.resident()
        await asyncio.sleep(0.2)
        return before, await stage.resident()

    assert on_stage(scenario, model("a")) == (["a"], [])


def test_keep_alive_zero_waits_for_requests_under_way_and_yields_to_a_later_one() -> None:
    async def scenario(stage: Stage) -> list[list[str]]:
        first = stage.begin("a", tokens=20, keep_alive=0)
        await asyncio.sleep(0.1)
        await first
        await asyncio.sleep(0.1)
        after_zero = await stage.resident()
        first = stage.begin("a", tokens=20, keep_alive=0)
        await asyncio.sleep(0.1)
        await asyncio.gather(first, stage.begin("a", keep_alive="1m"))
        await asyncio.sleep(0.1)
        return [after_zero, await stage.resident()]

    assert on_stage(scenario, model("a")) == [[], ["a"]]


def test_two_names_of_one_weights_file_share_a_runner() -> None:
    async def scenario(stage: Stage) -> tuple[int, list[str]]:
        for name in ("a", "alias", "a"):
            await stage.generate(name)
        return stage.host.counters.loads, await stage.resident()

    twins = (model("a", weights="same"), model("alias", weights="same"))
    assert on_stage(scenario, *twins) == (1, ["a"])


def test_two_names_with_different_windows_reload_at_every_change() -> None:
    async def scenario(stage: Stage) -> int:
        for name in ("a", "small", "a", "small"):
            await stage.generate(name)
        return stage.host.counters.loads

    twins = (model("a", weights="same"), model("small", weights="same", parameters={"num_ctx": 2048}))
    assert on_stage(scenario, *twins) == 4


@pytest.mark.parametrize(("line", "loads"), [("O", 1), ("H", 3)])
def test_the_shift_flag_reloads_on_the_newer_line_only(line: Line, loads: int) -> None:
    async def scenario(stage: Stage) -> int:
        await stage.generate("a")
        for shift in (False, False, True):
            await stage.generate("a", shift=shift)
        return stage.host.counters.loads

    assert on_stage(scenario, model("a"), line=line) == loads


def test_a_client_that_leaves_while_its_model_loads_aborts_the_load() -> None:
    async def scenario(stage: Stage) -> tuple[list[str], int, int]:
        talk = stage.talk()
        task = asyncio.ensure_future(talk.run("POST", "/api/generate", b'{"model":"a","prompt":"x"}'))
        await asyncio.sleep(1.0)
        talk.hang_up()
        await task
        await asyncio.sleep(5.0)
        return await stage.resident(), stage.host.counters.runner_starts, stage.host.counters.loads

    assert on_stage(scenario, model("a")) == ([], 1, 0)


def test_a_pending_request_whose_client_left_still_evicts() -> None:
    async def scenario(stage: Stage) -> tuple[list[str], int]:
        await stage.generate("a", keep_alive=-1)
        busy = stage.begin("a", tokens=30)
        await asyncio.sleep(0.1)
        talk = stage.talk()
        pending = asyncio.ensure_future(talk.run("POST", "/api/generate", b'{"model":"b","prompt":"x"}'))
        await asyncio.sleep(0.1)
        talk.hang_up()
        await asyncio.gather(busy, pending)
        await asyncio.sleep(5.0)
        return await stage.resident(), stage.host.counters.evictions

    assert on_stage(scenario, model("a"), model("b")) == ([], 1)


def test_a_client_that_leaves_mid_stream_frees_the_slot() -> None:
    async def scenario(stage: Stage) -> float:
        await stage.generate("a")
        talk = stage.talk()
        body = b'{"model":"a","prompt":"x","options":{"num_predict":1000}}'
        task = asyncio.ensure_future(talk.run("POST", "/api/generate", body))
        await asyncio.sleep(1.0)
        talk.hang_up()
        await task
        started = stage.now
        await stage.generate("a", tokens=2)
        return stage.now - started

    assert on_stage(scenario, model("a")) < 0.5


def test_the_older_line_reads_a_prompt_to_its_end_though_the_client_left() -> None:
    async def scenario(stage: Stage) -> float:
        await stage.generate("a")
        talk = stage.talk()
        body = b'{"model":"a","prompt":"%s"}' % (b"y" * 1_000)  # ten seconds to read
        task = asyncio.ensure_future(talk.run("POST", "/api/generate", body))
        await asyncio.sleep(1.0)
        talk.hang_up()
        await task
        started = stage.now
        await stage.generate("a", tokens=1)
        return stage.now - started

    assert 8.5 < on_stage(scenario, model("a"), line="O") < 10.5
    assert on_stage(scenario, model("a"), line="H") < 0.5


def test_slots_serve_side_by_side_and_the_next_waits() -> None:
    async def scenario(stage: Stage) -> list[float]:
        await stage.generate("a")
        began = stage.now
        ends: list[float] = []

        async def ask() -> None:
            await stage.generate("a", tokens=10)
            ends.append(round(stage.now - began, 1))

        await asyncio.gather(*(ask() for _ in range(3)))
        return ends

    first, second, third = on_stage(scenario, model("a"), num_parallel=2, slot_cost=0.0)

    assert second == pytest.approx(first, abs=0.1)
    assert third == pytest.approx(2 * first, abs=0.3)


def test_two_models_at_work_share_the_gpu() -> None:
    async def scenario(stage: Stage) -> list[float]:
        await stage.generate("a")
        await stage.generate("b")
        began = stage.now
        await stage.generate("a", tokens=21)
        alone = stage.now - began
        await asyncio.gather(*(stage.generate(name, tokens=21) for name in ("a", "b")))
        return [alone, stage.now - began - alone]

    alone, beside = on_stage(scenario, model("a"), model("b"), max_loaded_models=2, slot_cost=0.25)

    assert beside == pytest.approx(2 * alone, rel=0.05)


def test_a_model_too_large_beside_another_takes_its_place() -> None:
    async def scenario(stage: Stage) -> list[list[str]]:
        await stage.generate("a")
        await stage.generate("b")
        together = await stage.resident()
        await stage.generate("large")
        return [together, await stage.resident()]

    models = (model("a"), model("b"), model("large", size_bytes=60 * 2**20))
    found = on_stage(scenario, *models, max_loaded_models=3, memory_bytes=64 * 2**20)

    assert found == [["a", "b"], ["large"]]


def test_a_model_larger_than_the_gpu_is_slow_and_says_so() -> None:
    async def scenario(stage: Stage) -> tuple[Any, float]:
        reply = await stage.generate("large", tokens=11)
        listed = (await stage.get("/api/ps"))["models"][0]
        return listed["size_vram"] / listed["size"], said(reply)["eval_duration"] / 1e9

    large = model("large", size_bytes=64 * 2**20)
    on_gpu, seconds = on_stage(scenario, large, memory_bytes=32 * 2**20)

    assert on_gpu < 0.6
    assert seconds > 2.0  # one second when all of it is on the GPU


@pytest.mark.parametrize("line", ["O", "H"])
def test_a_runner_that_stands_still_goes_on_where_it_was(line: Line) -> None:
    async def scenario(stage: Stage) -> tuple[float, float]:
        await stage.generate("a")
        began = stage.now
        task = stage.begin("a", tokens=20)
        await asyncio.sleep(1.0)
        runner = stage.host.runner_of("a")
        assert runner is not None
        runner.process.stop()
        await asyncio.sleep(4.0)
        runner.process.go_on()
        reply = await task
        return stage.now - began, said(reply)["eval_duration"] / 1e9

    whole, speaking = on_stage(scenario, model("a"), line=line)

    assert whole == pytest.approx(6.0, abs=0.2)
    assert speaking == pytest.approx(5.9, abs=0.2)


def test_a_dead_runner_stays_listed_until_the_next_request_reloads_it() -> None:
    async def scenario(stage: Stage) -> tuple[list[str], int | None, int]:
        await stage.generate("a")
        runner = stage.host.runner_of("a")
        assert runner is not None
        runner.process.kill()
        listed = await stage.resident()
        reply = await stage.generate("a")
        return listed, reply.status, stage.host.counters.loads

    assert on_stage(scenario, model("a")) == (["a"], 200, 2)


def test_load_duration_contains_the_wait_for_the_queue() -> None:
    async def scenario(stage: Stage) -> dict[str, Any]:
        await stage.generate("a")
        busy = stage.begin("a", tokens=50)
        await asyncio.sleep(0.1)
        reply = await stage.generate("b", tokens=3)
        await busy
        return said(reply)

    reply = on_stage(scenario, model("a"), model("b"))

    assert reply["load_duration"] > 6.5e9  # five seconds of the other answer, two of loading
    parts = reply["load_duration"] + reply["prompt_eval_duration"] + reply["eval_duration"]
    assert reply["total_duration"] >= parts


@pytest.mark.parametrize("moment", [0.0, 1.999, 2.0, 2.001, 2.0325, 4.1])
def test_clients_that_leave_at_any_moment_leave_a_working_host(moment: float) -> None:
    async def scenario(stage: Stage) -> tuple[int | None, int]:
        await stage.generate("a")
        talks = [stage.talk() for _ in range(4)]
        tasks = [
            asyncio.ensure_future(talk.run("POST", "/api/generate", b'{"model":"%s","prompt":"x"}' % name))
            for talk, name in zip(talks, (b"a", b"b", b"b", b"a"), strict=True)
        ]
        await asyncio.sleep(moment)
        for talk in talks:
            talk.hang_up()
        await asyncio.gather(*tasks)
        reply = await stage.generate("b")
        await stage.generate("a")
        await asyncio.sleep(1.0)
        users = sum(loaded.users for loaded in stage.host.scheduler.loaded.values())
        return reply.status, users + stage.host.counters.concurrent

    assert on_stage(scenario, model("a"), model("b")) == (200, 0)

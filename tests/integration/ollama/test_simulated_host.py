"""The client and the simulated host: both lines of server, from load to unload, and what goes wrong between."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from simulator import (
    Fault,
    HostSettings,
    RunningHost,
    Script,
    SimulatedModel,
    demo_models,
    running,
)
from tests.asking import generate
from tests.waiting import wait_until
from worker.domain.runners import RunnerKey
from worker.errors import Code, HostError
from worker.kinds.generate.request import wire_request
from worker.ollama.client import Call, Deadlines, OllamaHost

MODEL = "llama3.2:3b"
THINKING = "deepseek-r1:8b"
KEY = RunnerKey(MODEL, (("num_ctx", 4096),))
QUICK = Deadlines(connect=1, first_byte=0.3, silence=0.2, total=5, load=5, probe=2)


@pytest.fixture(params=["O", "H"])
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    with running(HostSettings("gpu-1", demo_models(), line=request.param, time_scale=0, num_parallel=4)) as (
        one,
    ):
        yield one


@pytest.fixture
def gpu(host: RunningHost, monkeypatch: pytest.MonkeyPatch) -> Iterator[OllamaHost]:
    monkeypatch.setattr("worker.replies.bounds.LINE_BYTES", 100_000)
    monkeypatch.setattr("worker.replies.bounds.PROBE_BYTES", 1_000_000)
    one = OllamaHost(host.url, slots=4, deadlines=QUICK)
    yield one
    one.close()


def job(prompt: str = "Say hello.", **fields: object) -> dict[str, object]:
    return wire_request(MODEL, prompt, {"options": {"num_ctx": 4096}, **fields}, None)


def failure(gpu: OllamaHost, **fields: object) -> HostError:
    with pytest.raises(HostError) as caught:
        generate(gpu, job(**fields))  # type: ignore[arg-type]
    return caught.value


def test_a_job_after_its_load_costs_no_second_one(host: RunningHost, gpu: OllamaHost) -> None:
    gpu.load(KEY, keep_alive=600)

    replies = [generate(gpu, job()) for _ in range(3)]

    assert host.state()["loads"] == 1
    assert all(reply.response and reply.done_reason == "stop" for reply in replies)
    assert replies[0].context is not None
    assert [(model.name, model.context_length) for model in gpu.loaded()] == [(MODEL, 4096)]


def test_keep_alive_with_the_runners_options_does_not_reload(host: RunningHost, gpu: OllamaHost) -> None:
    gpu.load(KEY, keep_alive=600)

    gpu.apply_keep_alive(KEY, 3600)
    assert host.state()["loads"] == 1

    gpu.apply_keep_alive(KEY, 0)
    wait_until(lambda: gpu.loaded() == [], description="nothing loaded", interval=0.001)
    gpu.apply_keep_alive(KEY, -1)
    assert gpu.loaded() == []
    assert host.state()["loads"] == 1


def test_an_unloaded_model_leaves_the_list(gpu: OllamaHost) -> None:
    gpu.load(KEY, keep_alive=600)

    gpu.unload(MODEL)

    wait_until(lambda: gpu.loaded() == [], description="nothing loaded", interval=0.001)


def test_its_models_are_told_with_what_they_can(gpu: OllamaHost) -> None:
    models = {model.name: (model.thinking, model.trained_context) for model in gpu.models()}

    assert models == {
        MODEL: (False, 131_072),
        "qwen2.5:7b": (False, 32_768),
        THINKING: (True, 131_072),
    }


def test_reasoning_comes_apart(gpu: OllamaHost) -> None:
    reply = generate(
        gpu, {"model": THINKING, "prompt": "Why?", "think": True, "options": {"num_predict": 500}}
    )

    assert reply.thinking
    assert reply.response


def test_a_thinking_model_cut_in_its_thoughts_answers_nothing(gpu: OllamaHost) -> None:
    reply = generate(gpu, {"model": THINKING, "prompt": "Why?", "think": True, "options": {"num_predict": 3}})

    assert (reply.response, reply.done_reason) == ("", "length")
    assert reply.thinking


def test_a_prompt_that_does_not_fit_is_named(host: RunningHost, gpu: OllamaHost) -> None:
    error = failure(gpu, prompt="word " * 9000)

    assert error.code is Code.CONTEXT_OVERFLOW
    if host.state()["line"] == "H":
        assert error.numbers["n_ctx"] == 4096
        assert error.numbers["n_prompt_tokens"] > 4096


def test_what_a_host_refuses_has_its_code(gpu: OllamaHost) -> None:
    assert failure(gpu, think=True).code is Code.UNSUPPORTED
    assert failure(gpu, options={"num_ctx": "big"}).code is Code.INVALID_REQUEST
    assert failure(gpu, format="xml").code is Code.INVALID_REQUEST
    with pytest.raises(HostError) as caught:
        generate(gpu, {"model": "nope", "prompt": "x"})
    assert caught.value.code is Code.MODEL_MISSING
    with pytest.raises(HostError) as caught:
        gpu.load(RunnerKey("nope:latest"), keep_alive=600)
    assert caught.value.code is Code.MODEL_MISSING


@pytest.mark.parametrize(
    ("fault", "code", "has_partial"),
    [
        (Fault("hang"), Code.NO_FIRST_BYTE, False),
        (Fault("hang", after_chunks=2), Code.REPLY_STALLED, True),
        (Fault("runner_death", after_chunks=2), Code.RUNNER_DIED, True),
        (Fault("runner_death"), Code.RUNNER_DIED, False),
        (Fault("error_line", after_chunks=2, text="something new"), Code.HOST_ERROR, True),
        (Fault("error", status=500, text="something new"), Code.HOST_ERROR, False),
        (Fault("eof", after_chunks=2), Code.REPLY_CUT, True),
        (Fault("cut", after_chunks=2), Code.REPLY_CUT, True),
        (Fault("crash", after_chunks=2), Code.REPLY_CUT, True),
        (Fault("bad_json", after_chunks=2), Code.BAD_REPLY, True),
        (Fault("endless_line", after_chunks=2), Code.BAD_REPLY, True),
        (Fault("huge_body"), Code.BAD_REPLY, False),
        (Fault("wrong_types"), Code.BAD_REPLY, False),
        (Fault("redirect", text="http://127.0.0.1:9/api/generate"), Code.BAD_REPLY, False),
        (Fault("busy"), Code.HOST_BUSY, False),
    ],
    ids=lambda value: f"{value.kind} after {value.after_chunks}" if isinstance(value, Fault) else None,
)
def test_each_fault_is_told_from_the_others(
    host: RunningHost, gpu: OllamaHost, fault: Fault, code: Code, has_partial: bool
) -> None:
    gpu.load(KEY, keep_alive=600)
    host.set_faults(fault)

    error = failure(gpu)

    assert error.code is code, error.message
    assert bool(error.partial) is has_partial


def test_a_load_that_fails_is_no_jobs_fault(host: RunningHost, gpu: OllamaHost) -> None:
    host.set_faults(Fault("load_failure", text="llama runner process has terminated: exit status 2"))

    with pytest.raises(HostError) as caught:
        gpu.load(KEY, keep_alive=600)

    assert caught.value.code is Code.LOAD_FAILED


def test_a_host_that_died_is_unreachable_until_it_is_started_again(
    host: RunningHost, gpu: OllamaHost
) -> None:
    gpu.load(KEY, keep_alive=600)
    host.kill()

    assert failure(gpu).code is Code.HOST_UNREACHABLE

    host.start_again()
    assert generate(gpu, job()).response


def test_a_dead_runner_stays_listed_and_the_next_request_loads_again(
    host: RunningHost, gpu: OllamaHost
) -> None:
    gpu.load(KEY, keep_alive=600)
    host.kill_runner(MODEL)

    assert [model.name for model in gpu.loaded()] == [MODEL]
    assert generate(gpu, job()).response
    assert host.state()["loads"] == 2


def test_an_abort_frees_the_slot_for_the_next_job(host: RunningHost, gpu: OllamaHost) -> None:
    host.set_faults(Fault("hang", after_chunks=1))
    patient, call = OllamaHost(host.url), Call()
    with ThreadPoolExecutor() as pool:
        hung = pool.submit(generate, patient, job(), call=call)
        wait_until(lambda: call.chunks > 0, description="a chunk", interval=0.001)

        call.abort()

        error = hung.exception(5)
    assert isinstance(error, HostError)
    assert (error.code, bool(error.partial)) == (Code.CANCELLED, True)
    assert generate(gpu, job()).response
    patient.close()


def test_a_foreign_context_is_the_jobs_fault_on_both_lines(gpu: OllamaHost) -> None:
    error = failure(gpu, context=[99_999_999])

    assert error.code is Code.CONTEXT_MISMATCH


def test_a_repeated_piece_is_told_from_a_cut(host: RunningHost) -> None:
    script = Script(pieces={263: " again"}, following={263: 263}, first=263)
    model = SimulatedModel("repeat", vocabulary_size=264, script=script)
    with running(HostSettings("gpu-2", (model,), line=host.state()["line"], time_scale=0)) as (other,):
        gpu = OllamaHost(other.url)
        with pytest.raises(HostError) as caught:
            generate(gpu, {"model": "repeat", "prompt": "x", "options": {"num_predict": 100}})
        gpu.close()

    assert caught.value.code is Code.REPEATED_OUTPUT
    assert caught.value.partial == " again" * 31


def test_four_slots_answer_together(host: RunningHost, gpu: OllamaHost) -> None:
    gpu.load(KEY, keep_alive=600)

    with ThreadPoolExecutor(4) as pool:
        replies = list(pool.map(lambda n: generate(gpu, job(f"Tell me {n}.")), range(40)))

    assert len(replies) == 40
    assert all(reply.response for reply in replies)
    assert host.state()["loads"] == 1

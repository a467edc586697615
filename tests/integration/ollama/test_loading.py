"""Loads, unloads and looks at a host, byte for byte."""

import json
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from tests.integration.ollama.scripted import (
    Action,
    Close,
    Drip,
    Flood,
    Hang,
    Request,
    Send,
    body,
    scripted,
)
from tests.unit.ollama.recordings import VERSIONS, exchanges
from worker.domain.hosts import HostModel, LoadedModel
from worker.domain.runners import RunnerKey
from worker.errors import Code, HostError
from worker.ollama.client import Deadlines, OllamaHost

KEY = RunnerKey("m:latest", (("num_ctx", 4096), ("use_mmap", False)))
QUICK = Deadlines(connect=1, load=0.2, probe=0.2)

both_versions = pytest.mark.parametrize("version", VERSIONS)


def done(reason: str) -> list[Action]:
    return body({"model": "m", "created_at": "x", "response": "", "done": True, "done_reason": reason})


def answers(**by_path: Sequence[Action]) -> Any:
    """``tags=…`` is what the host does for ``/api/tags``."""
    return lambda request: by_path[request.path.rpartition("/")[2]]


def load_failure(answer: Sequence[Action], *, deadlines: Deadlines | None = None) -> HostError:
    with scripted(answer) as host:
        gpu = OllamaHost(host.url, deadlines=deadlines)
        with pytest.raises(HostError) as caught:
            gpu.load(KEY, keep_alive=600)
        gpu.close()
    return caught.value


# -- load and unload -------------------------------------------------------------------------------------------------


def test_a_load_carries_the_runners_exact_options_and_its_shift() -> None:
    with scripted(done("load")) as host:
        gpu = OllamaHost(host.url)

        seconds = gpu.load(KEY, keep_alive=600.0)
        gpu.load(RunnerKey("n:latest", shift=True), keep_alive="10m")
        gpu.close()

    assert 0 <= seconds < 5
    assert [request.body for request in host.requests] == [
        {
            "model": "m:latest",
            "prompt": "",
            "keep_alive": 600,
            "truncate": False,
            "shift": False,
            "options": {"num_ctx": 4096, "use_mmap": False},
            "stream": False,
        },
        {
            "model": "n:latest",
            "prompt": "",
            "keep_alive": "10m",
            "truncate": False,
            "shift": True,
            "stream": False,
        },
    ]


@pytest.mark.parametrize(
    ("status", "text", "code"),
    [
        (404, "model 'm:latest' not found", Code.MODEL_MISSING),
        (500, "llama runner process has terminated: exit status 2", Code.LOAD_FAILED),
        (500, "model requires more system memory (12.3 GiB) than is available (4.0 GiB)", Code.OUT_OF_MEMORY),
        (500, "something new", Code.LOAD_FAILED),
        (503, "server busy, please try again.  maximum pending requests exceeded", Code.HOST_BUSY),
        (500, 'option "num_ctx" must be of type integer', Code.INVALID_REQUEST),
    ],
)
def test_a_load_that_fails_says_why(status: int, text: str, code: Code) -> None:
    assert load_failure(body({"error": text}, status=status)).code is code


@pytest.mark.parametrize(
    "answer", [[Hang()], [Send(b"HTTP/1.1 200 OK\r\n"), Hang()], [Drip(b"H" * 100, 0.05)]]
)
def test_a_load_that_never_ends_is_a_failed_load(answer: list[Action]) -> None:
    error = load_failure(answer, deadlines=QUICK)

    assert (error.code, error.message) == (Code.LOAD_FAILED, "no reply within 0.2 s")


def test_a_load_may_take_longer_than_a_look() -> None:
    (whole,) = done("load")
    assert isinstance(whole, Send)
    with scripted([Drip(whole.data, 0.002)]) as host:
        gpu = OllamaHost(host.url, deadlines=Deadlines(probe=0.05, load=30))

        assert gpu.load(KEY, keep_alive=1) > 0.05
        gpu.close()


@pytest.mark.parametrize("reason", ["unload", "stop", None])
def test_a_load_is_one_only_if_the_host_says_so(reason: str | None) -> None:
    assert load_failure(body({"done": True, "done_reason": reason})).code is Code.BAD_REPLY


def test_a_host_that_goes_away_during_a_load_is_unreachable() -> None:
    assert load_failure([Close()]).code is Code.HOST_UNREACHABLE


def test_an_unload_asks_for_nothing_but_that() -> None:
    with scripted(done("unload")) as host:
        gpu = OllamaHost(host.url)

        gpu.unload("m:latest")
        gpu.close()

    (sent,) = host.requests
    assert sent.body["keep_alive"] == 0
    assert (sent.body["prompt"], "options" in sent.body) == ("", False)


def test_keep_alive_is_applied_with_the_runners_own_options() -> None:
    ps = body({"models": [{"name": "m:latest", "digest": "d"}]})
    with scripted(answers(ps=ps, generate=done("load"))) as host:
        gpu = OllamaHost(host.url)

        gpu.apply_keep_alive(KEY, -1)
        gpu.close()

    sent = host.requests[-1].body
    assert (sent["keep_alive"], sent["options"], sent["shift"]) == (-1, dict(KEY.options), False)


def test_keep_alive_loads_nothing_that_is_gone() -> None:
    with scripted(answers(ps=body({"models": []}))) as host:
        gpu = OllamaHost(host.url)

        gpu.apply_keep_alive(KEY, 3600)
        gpu.close()

    assert host.paths() == ["/api/ps"]


def test_a_keep_alive_of_zero_unloads() -> None:
    with scripted(answers(generate=done("unload"))) as host:
        gpu = OllamaHost(host.url)

        gpu.apply_keep_alive(KEY, 0.0)
        gpu.close()

    assert host.requests[0].body["keep_alive"] == 0


# -- look ------------------------------------------------------------------------------------------------------------


def recorded_answers(version: str) -> Any:
    """What that server said to ``/api/tags``, ``/api/ps`` and, model by model, ``/api/show``."""
    recorded = exchanges(version, "other-endpoints")
    show = {
        one.request["model"]: one.body for one in recorded if one.path == "/api/show" and one.status == 200
    }
    simple = {one.path: one.body for one in recorded if one.path in ("/api/version", "/api/tags", "/api/ps")}

    def answer(request: Request) -> list[Action]:
        if request.path == "/api/show":
            name = request.body["model"].removesuffix(":latest")
            return body(show[name]) if name in show else body({"error": "internal"}, status=500)
        return body(simple[request.path])

    return answer


@both_versions
def test_what_a_real_server_has_is_read(version: str) -> None:
    with scripted(recorded_answers(version)) as host:
        gpu = OllamaHost(host.url)

        models = {model.name: model for model in gpu.models()}
        loaded = gpu.loaded()
        again = gpu.models()

        assert gpu.version() == "0.0.0"
        gpu.close()
    assert {"plain:latest", "think:latest", "plain-4k:latest", "think-inline:latest"} <= set(models)
    think = models["think:latest"]
    assert (think.thinking, think.trained_context) == (True, 8192)
    assert len(think.digest) == 64
    assert think.size > 6_000_000
    assert models["plain-4k:latest"].thinking is False
    assert [(model.name, model.context_length, model.size_vram) for model in loaded] == [
        ("plain:latest", 4096, 0)
    ]
    assert sorted(model.name for model in again) == sorted(models)


def test_a_newer_server_says_it_all_in_the_list() -> None:
    recorded = exchanges("ollama-0.33.0-rc2", "other-endpoints")
    told = next(one.body for one in recorded if one.path == "/api/tags")
    alone = json.loads(told)["models"][:1]
    with scripted(answers(tags=body({"models": alone}))) as host:
        gpu = OllamaHost(host.url)

        gpu.models()
        gpu.close()

    assert host.paths() == ["/api/tags"]


def test_models_that_could_be_one_under_two_names_are_asked_about_once() -> None:
    details = {"format": "gguf", "family": "qwen3", "parameter_size": "8B", "quantization_level": "Q4_K_M"}
    entries = [
        {"name": f"{name}:1", "digest": name, "details": {**details, "context_length": 40_960}}
        for name in "ab"
    ]
    show = {
        "capabilities": ["completion"],
        "modelfile": "FROM /models/blobs/sha256-1\nPARAMETER num_ctx 4096",
    }
    with scripted(answers(tags=body({"models": entries}), show=body(show))) as host:
        gpu = OllamaHost(host.url)

        first, second = gpu.models()
        gpu.models()
        gpu.close()

    assert first.weights == second.weights is not None
    assert host.paths() == ["/api/tags", "/api/show", "/api/show", "/api/tags"]


def test_an_older_server_is_asked_about_each_model_once() -> None:
    entry = {"name": "a:latest", "digest": "d1", "size": 5}
    show = {
        "capabilities": ["completion", "thinking"],
        "model_info": {"general.architecture": "qwen3", "qwen3.context_length": 40_960},
    }
    with scripted(answers(tags=body({"models": [entry]}), show=body(show))) as host:
        gpu = OllamaHost(host.url)

        first, again = gpu.models(), gpu.models()
        gpu.close()

    model = HostModel("a:latest", "d1", True, 40_960, 5, capabilities=("completion", "thinking"))
    assert first == again == [model]
    assert host.paths() == ["/api/tags", "/api/show", "/api/tags"]


def test_a_model_that_changed_is_asked_about_again() -> None:
    digests = iter(["d1", "d2"])

    def answer(request: Request) -> list[Action]:
        if request.path == "/api/tags":
            return body({"models": [{"name": "a", "digest": next(digests)}]})
        return body({"capabilities": ["completion"]})

    with scripted(answer) as host:
        gpu = OllamaHost(host.url)
        gpu.models()
        gpu.models()
        gpu.close()

    assert host.paths().count("/api/show") == 2


@pytest.mark.parametrize(
    ("entry", "show"),
    [
        ({"name": "gpt-oss:120b-cloud", "digest": "d"}, {}),
        ({"name": "x:cloud", "digest": "d"}, {}),
        ({"name": "mine:latest", "digest": "d", "remote_model": "gpt-oss:120b"}, {}),
        ({"name": "mine:latest", "digest": "d", "remote_host": "https://ollama.com:443"}, {}),
        ({"name": "flux:latest", "digest": "d"}, {"capabilities": ["image"]}),
        (
            {
                "name": "flux:latest",
                "digest": "d",
                "capabilities": ["image"],
                "details": {"context_length": 2048},
            },
            {},
        ),
    ],
)
def test_models_of_a_cloud_and_models_that_nothing_can_be_asked_of_are_left_out(
    entry: Mapping[str, Any], show: Mapping[str, Any]
) -> None:
    with scripted(answers(tags=body({"models": [entry]}), show=body(show))) as host:
        gpu = OllamaHost(host.url)

        assert gpu.models() == []
        gpu.close()


@pytest.mark.parametrize(
    "show",
    [
        body({}),
        body({"error": "model 'a' not found"}, status=404),
        body({"error": "x"}, status=500),
        body({"error": "this model may be incompatible with your version of Ollama"}, status=500),
        body({"error": "this server cannot run this remote model"}, status=400),
        body(b"404 page not found", status=404, content_type="text/plain"),
        body(b"<html>no</html>", status=403, content_type="text/html"),
    ],
)
def test_a_model_that_cannot_be_shown_is_listed_without_what_is_not_known(show: list[Action]) -> None:
    with scripted(answers(tags=body({"models": [{"name": "A"}]}), show=show)) as host:
        gpu = OllamaHost(host.url)

        assert gpu.models() == [HostModel("a:latest", "", False, None, 0)]
        gpu.close()


@pytest.mark.parametrize("status", [401, 502, 503])
def test_a_host_that_lets_nobody_in_is_not_taken_for_one_without_details(status: int) -> None:
    with scripted(answers(tags=body({"models": [{"name": "A"}]}), show=body(b"", status=status))) as host:
        gpu = OllamaHost(host.url)

        with pytest.raises(HostError):
            gpu.models()
        gpu.close()


MANY = body({"models": [{"name": f"m:{n}", "digest": f"d{n}"} for n in range(200)]})


def test_an_older_server_with_many_models_is_asked_about_some_at_a_time() -> None:
    together = threading.Barrier(4)

    def answer(request: Request) -> Sequence[Action]:
        if request.path == "/api/tags":
            return MANY
        together.wait(5)
        return body({"capabilities": ["completion"], "modelfile": f"FROM /{request.body['model']}"})

    with scripted(answer) as host:
        gpu = OllamaHost(host.url)
        models = gpu.models()
        gpu.close()

    assert [(model.name, model.digest) for model in models] == [(f"m:{n}", f"d{n}") for n in range(200)]
    assert len({model.weights for model in models}) == 200


def test_a_host_that_goes_away_is_not_asked_about_the_rest_of_its_models() -> None:
    with scripted(answers(tags=MANY, show=[Close()])) as host:
        gpu = OllamaHost(host.url)
        with pytest.raises(HostError):
            gpu.models()
        gpu.close()

    assert host.paths().count("/api/show") < 50


def test_a_digest_is_the_same_with_and_without_its_algorithm() -> None:
    entry = {"name": "A:7b", "digest": f"sha256:{'d' * 64}"}
    with scripted(
        answers(tags=body({"models": [entry]}), show=body({}), ps=body({"models": [entry]}))
    ) as host:
        gpu = OllamaHost(host.url)

        assert gpu.models()[0].digest == gpu.loaded()[0].digest == "d" * 64
        gpu.close()


def test_what_is_loaded_is_told_with_the_window_it_really_has() -> None:
    entry = {"name": "A:7b", "digest": "d", "size": 9, "size_vram": 8, "context_length": 8192}
    with scripted(body({"models": [entry, {"model": "b"}]})) as host:
        gpu = OllamaHost(host.url)

        assert gpu.loaded() == [LoadedModel("a:7b", "d", 8192, 9, 8), LoadedModel("b:latest", "", None, 0, 0)]
        gpu.close()


@pytest.mark.parametrize(
    "answer",
    [
        body(b"<html></html>", content_type="text/html"),
        body([]),
        body({"models": "none"}),
        body({"models": ["a"]}),
        body({"models": [{}]}),
        body({"models": [{"name": 5}], "version": 5}),
        body(b"404 page not found", status=404, content_type="text/plain"),
        [Send(b"HTTP/1.1 200 OK\r\n\r\n"), Flood(b"x" * 10_000)],
    ],
)
def test_a_look_at_what_is_no_ollama_server_is_a_bad_reply(
    answer: list[Action], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.replies.bounds.PROBE_BYTES", 100_000)
    with scripted(answer) as host:
        gpu = OllamaHost(host.url)

        for look in (gpu.models, gpu.loaded, gpu.version):
            with pytest.raises(HostError) as caught:
                look()
            assert caught.value.code is Code.BAD_REPLY
        gpu.close()


@pytest.mark.parametrize("answer", [[Hang()], [Drip(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100, 0.05)]])
def test_a_look_that_gets_no_answer_finds_the_host_unreachable(answer: list[Action]) -> None:
    with scripted(answer) as host:
        gpu = OllamaHost(host.url, deadlines=QUICK)

        with pytest.raises(HostError) as caught:
            gpu.version()

        assert (caught.value.code, caught.value.message) == (Code.HOST_UNREACHABLE, "no reply within 0.2 s")
        gpu.close()

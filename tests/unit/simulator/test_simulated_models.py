"""Models that come and go on a simulated host: pulled, broken off and gone on with, pushed, made, embedded with."""

import http.client
import json
from typing import Any
from urllib.parse import urlsplit

import pytest

from simulator import Fault, HostSettings, RunningHost, SimulatedModel, demo_models, embedding_model, running

PULLED = SimulatedModel("mistral:7b", size_bytes=1_000_000)
EMBEDDING = embedding_model()


def sent(
    host: RunningHost, path: str, value: object, method: str = "POST"
) -> tuple[int, list[dict[str, Any]]]:
    connection = http.client.HTTPConnection(urlsplit(host.url).netloc, timeout=10)
    connection.request(method, path, json.dumps(value))
    response = connection.getresponse()
    try:
        text = response.read().decode()
    except http.client.IncompleteRead as cut:
        text = cut.partial.decode()
    connection.close()
    return response.status, [json.loads(line) for line in text.splitlines() if line]


def names(host: RunningHost) -> set[str]:
    return {one["name"] for one in sent(host, "/api/tags", None, "GET")[1][0]["models"]}


def digest(host: RunningHost, name: str) -> str:
    tags = sent(host, "/api/tags", None, "GET")[1][0]["models"]
    return {str(one["name"]): str(one["digest"]) for one in tags}[name]


def with_registry(name: str, **changes: Any) -> HostSettings:
    usual: dict[str, Any] = {"time_scale": 0, "pullable": (PULLED,), "registry": "127.0.0.1:5001"}
    return HostSettings(name, demo_models(), **(usual | changes))


@pytest.mark.parametrize("kind", ["pull_cut", "pull_error"])
def test_a_pull_that_was_broken_off_goes_on_from_what_it_has(kind: Any) -> None:
    # a tenth of the weights a tick
    slow: dict[str, Any] = {"time_scale": 0.01, "pull_bytes_per_second": PULLED.size_bytes / 0.6}
    fault = Fault(kind, model="mistral:7b", after_chunks=5, text="no space left on device")
    with running(with_registry("a", faults=(fault,), **slow)) as (host,):
        broken = sent(host, "/api/pull", {"model": "mistral:7b"})[1]
        without = names(host)
        again = sent(host, "/api/pull", {"model": "mistral:7b"})[1]

        assert "mistral:7b" not in without
        assert "mistral:7b" in names(host)
        assert host.state()["pulled_bytes"] < 1.01 * PULLED.size_bytes
    assert broken[-1] != {"status": "success"}
    assert again[1]["completed"] > PULLED.size_bytes / 2
    assert again[-1] == {"status": "success"}


def test_what_one_host_pushes_another_pulls_and_its_digest_is_the_same() -> None:
    name = "127.0.0.1:5001/team/llama:latest"
    with running(with_registry("a"), with_registry("b")) as (first, second):
        sent(first, "/api/copy", {"source": "llama3.2:3b", "destination": name})
        refused = sent(first, "/api/push", {"model": name, "stream": False})
        pushed = sent(first, "/api/push", {"model": name, "insecure": True})[1]
        pulled = sent(second, "/api/pull", {"model": name, "insecure": True, "stream": False})

        assert digest(second, name) == digest(first, name) == digest(first, "llama3.2:3b")
    assert (refused[0], "TLS handshake" in refused[1][0]["error"]) == (500, True)
    assert pushed[-1] == {"status": "success"}
    assert pulled == (200, [{"status": "success"}])


def test_a_model_that_is_made_of_another_keeps_its_weights_and_has_a_digest_of_its_own() -> None:
    with running(with_registry("a")) as (host,):
        made = sent(host, "/api/create", {"model": "brief", "from": "llama3.2:3b", "system": "Be brief."})[1]

        shown = sent(host, "/api/show", {"model": "brief"})[1][0]
        assert digest(host, "brief:latest") != digest(host, "llama3.2:3b")
    assert [line["status"].split(" sha256")[0] for line in made] == [
        "using existing layer",
        "using existing layer",
        "creating new layer",
        "writing manifest",
        "success",
    ]
    assert shown["system"] == "Be brief."


@pytest.mark.parametrize("line", ["O", "H"])
def test_a_text_that_is_too_long_is_cut_or_refuses_the_whole_list(line: Any) -> None:
    long = "word " * 3_000
    with running(HostSettings("a", (EMBEDDING,), line=line, time_scale=0)) as (host,):
        cut = sent(host, "/api/embed", {"model": EMBEDDING.name, "input": long})[1][0]
        refused = sent(host, "/api/embed", {"model": EMBEDDING.name, "input": ["a", long], "truncate": False})
        short = sent(
            host, "/api/embed", {"model": EMBEDDING.name, "input": ["a", "a", "b"], "dimensions": 3}
        )[1][0]

    assert cut["prompt_eval_count"] == EMBEDDING.trained_context
    assert refused == (400, [{"error": "the input length exceeds the context length"}])
    first, same, other = short["embeddings"]
    assert first == same != other
    assert sum(number * number for number in first) == pytest.approx(1, abs=1e-6)


def test_faults_strike_calls_for_vectors_too() -> None:
    faults = (Fault("error", prompt="poison", status=500, text="no"), Fault("cut", prompt="cut"))
    with running(HostSettings("a", (EMBEDDING,), time_scale=0, faults=faults)) as (host,):
        refused = sent(host, "/api/embed", {"model": EMBEDDING.name, "input": ["fine", "poison"]})
        with pytest.raises(http.client.HTTPException):
            sent(host, "/api/embed", {"model": EMBEDDING.name, "input": "cut"})
        after = sent(host, "/api/embed", {"model": EMBEDDING.name, "input": ["fine", "poison"]})

    assert refused == (500, [{"error": "no"}])
    assert len(after[1][0]["embeddings"]) == 2

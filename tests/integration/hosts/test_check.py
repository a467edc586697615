"""What ``hosts check`` finds, on simulated hosts, directly and behind a proxy."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from simulator import HostSettings, RunningHost, SimulatedModel, running
from simulator.catalog import embedding_model
from tests.servers.proxy import proxying
from worker.domain.hosts import Access, Host
from worker.domain.runners import RunnerKey
from worker.errors import SettingsRefused
from worker.hosts.check import HostFinding, findings
from worker.ollama.client import Deadlines, OllamaHost

SMALLEST = "llama3.2:3b"
MODELS = tuple(
    SimulatedModel(name, size_bytes=size, load_seconds=0.1, tokens_per_second=60.0, answer_tokens=(48, 48))
    for name, size in ((SMALLEST, 2_000_000_000), ("qwen2.5:7b", 4_700_000_000))
)


def told(
    settings: HostSettings, *, slots: int = 1, model: str | None = None
) -> tuple[list[HostFinding], RunningHost]:
    with running(settings) as (one,):
        return found(Host("gpu-1", one.url, slots), model=model), one


def found(host: Host, *, model: str | None = None) -> list[HostFinding]:
    return list(findings(host, open_host=lambda one: OllamaHost.of(one, deadlines=QUICK), model=model))


QUICK = Deadlines(connect=2, first_byte=20, load=20, probe=5)


def settings(**changes: object) -> HostSettings:
    return replace(HostSettings("gpu-1", MODELS, num_parallel=4), **changes)  # type: ignore[arg-type]


FAST = tuple(replace(model, tokens_per_second=600.0) for model in MODELS)


def of(what: str, findings: list[HostFinding]) -> HostFinding:
    (one,) = [finding for finding in findings if finding.what == what]
    return one


@pytest.mark.parametrize("line", ["O", "H"])
def test_a_host_that_is_set_up_well_is_all_right(line: str) -> None:
    findings, _ = told(settings(line=line), slots=4)

    assert {finding.level for finding in findings} == {"ok"}, findings
    assert [finding.what for finding in findings] == [
        *("reach", "models", "model", "streaming", "parallel", "gpu")
    ]
    assert f"asked {SMALLEST}: the smallest model of the host, loaded in" in of("model", findings).message
    assert "it gives 4 answers at once" in of("parallel", findings).message


@pytest.mark.parametrize("line", ["O", "H"])
def test_a_model_that_only_makes_vectors_is_not_asked_a_prompt(line: str) -> None:
    vectors = replace(embedding_model(), size_bytes=45_000_000)
    with running(settings(line=line, models=(*FAST, vectors))) as (one,):
        gpu = OllamaHost(one.url)
        gpu.load(RunnerKey(f"{vectors.name}:latest"), keep_alive=600)
        gpu.close()
        mixed = found(Host("gpu-1", one.url, 4))
        named = found(Host("gpu-1", one.url, 4), model=vectors.name)
    alone, _ = told(settings(line=line, models=(vectors,)))

    assert f"asked {SMALLEST}: the smallest model of the host" in of("model", mixed).message
    assert {finding.level for finding in mixed} <= {"ok", "warn"}
    assert of("model", named).level == "bad"
    assert "is an embedding model" in of("model", named).message
    assert {finding.level for finding in alone} == {"ok"}


@pytest.mark.parametrize(
    ("gives", "slots", "remedy"),
    [
        (1, 4, "OLLAMA_NUM_PARALLEL=4, or caravan hosts set gpu-1 --slots 1"),
        (3, 1, "caravan hosts set gpu-1 --slots 3"),
    ],
)
def test_slots_that_are_not_what_the_host_gives_are_found(gives: int, slots: int, remedy: str) -> None:
    findings, _ = told(settings(num_parallel=gives), slots=slots)

    finding = of("parallel", findings)
    assert finding.level == "warn"
    assert f"it gives {gives} answers at once" in finding.message
    assert finding.remedy.endswith(remedy)


def test_a_host_that_gives_more_than_was_asked_of_it_gives_at_least_that() -> None:
    findings, _ = told(settings(num_parallel=9, models=FAST), slots=4)

    assert "it gives at least 8 answers at once" in of("parallel", findings).message


def test_a_model_that_is_loaded_is_asked_and_stays_as_it_is() -> None:
    with running(settings()) as (one,):
        gpu = OllamaHost(one.url)
        gpu.load(RunnerKey("qwen2.5:7b", (("num_ctx", 8192),)), keep_alive=600)
        loads = one.state()["loads"]

        findings = found(Host("gpu-1", one.url, 4))

        assert "asked qwen2.5:7b: it was already loaded" in of("model", findings).message
        assert one.state()["loads"] == loads
        assert [model.context_length for model in gpu.loaded()] == [8192]
        gpu.close()


def test_the_model_that_was_told_is_asked() -> None:
    findings, _ = told(settings(), slots=4, model="qwen2.5:7B")

    assert "asked qwen2.5:7b: named by --model" in of("model", findings).message


def test_a_model_that_is_not_there_is_named() -> None:
    findings, _ = told(settings(), model="llama3.2:1b")

    assert of("model", findings) == HostFinding(
        "bad", "model", "it does not have llama3.2:1b", "there: ollama pull llama3.2:1b"
    )


def test_a_host_without_models_is_told_to_pull_one() -> None:
    findings, _ = told(settings(models=()))

    assert of("models", findings).level == "bad"
    assert "ollama pull" in of("models", findings).remedy


def test_a_model_that_lies_partly_on_the_cpu_is_found() -> None:
    findings, _ = told(settings(memory_bytes=2_200_000_000, models=FAST), slots=4)

    finding = of("gpu", findings)
    assert finding.level == "warn"
    assert "is on the CPU" in finding.message or "on the CPU alone" in finding.message


def test_a_proxy_that_holds_answers_back_is_found() -> None:
    with running(settings()) as (one,), proxying(one.url, tls=False, buffer=True) as proxy:
        findings = found(Host("gpu-1", proxy.url, 4))

    finding = of("streaming", findings)
    assert finding.level == "warn"
    assert "proxy_buffering off" in finding.remedy
    assert "not measured" in of("parallel", findings).message


def test_a_proxy_that_passes_on_what_comes_is_all_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPU_AUTH", "me:secret")
    with running(settings()) as (one,), proxying(one.url, user="me:secret", prefix="/ollama") as proxy:
        access = Access(basic_auth="env:GPU_AUTH", ca_file=str(proxy.ca_file))

        findings = found(Host("gpu-1", proxy.url, 4, access))

    assert {finding.level for finding in findings} == {"ok"}, findings
    assert of("access", findings).message == "basic auth from env:GPU_AUTH"


# -- what cannot be reached -------------------------------------------------------------------------------------------


@pytest.fixture
def quick() -> Iterator[RunningHost]:
    with running(settings(time_scale=0)) as (one,):
        yield one


def test_a_proxy_that_wants_a_password_is_told_how_to_get_it(quick: RunningHost) -> None:
    with proxying(quick.url, tls=False, user="me:secret") as proxy:
        (finding,) = found(Host("gpu-1", proxy.url))

    assert (finding.level, finding.what) == ("bad", "access")
    assert "caravan hosts set gpu-1 --basic-auth env:NAME" in finding.remedy


def test_a_secret_that_is_not_here_is_named() -> None:
    access = Access(bearer="env:CARAVAN_TEST_NOT_SET")

    findings = found(Host("gpu-1", "http://127.0.0.1:1", access=access))

    assert findings[-1].level == "bad"
    assert "env:CARAVAN_TEST_NOT_SET" in findings[-1].message


def test_a_secret_in_clear_and_a_file_that_all_can_read_are_found(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("secret")
    file.chmod(0o644)
    host = Host("gpu-1", "http://gpu.example", access=Access(bearer=f"file:{file}"))

    def open_host(host: Host) -> OllamaHost:
        raise SettingsRefused("not now")

    exposed, clear, _ = findings(host, open_host=open_host)

    assert (exposed.level, exposed.remedy) == ("warn", f"chmod 600 {file}")
    assert "goes over the network without encryption" in clear.message
    assert "ssh -N -L 11434:127.0.0.1:11434 gpu.example" in clear.remedy


def test_an_authority_that_is_not_trusted_is_told_how_to_be(quick: RunningHost) -> None:
    with proxying(quick.url) as proxy:
        (finding,) = found(Host("gpu-1", proxy.url))

    assert (finding.level, finding.remedy) == ("bad", "caravan hosts set gpu-1 --ca-file FILE")


def test_http_spoken_to_tls_is_found_even_where_the_host_only_hangs_up(quick: RunningHost) -> None:
    with proxying(quick.url) as proxy:
        (finding,) = found(Host("gpu-1", proxy.url.replace("https://", "http://")))

    assert finding.message == "the host speaks TLS on this port: https://, not http://"
    assert finding.remedy == f"caravan hosts set gpu-1 --url {proxy.url}"


def test_a_wrong_path_is_told_to_be_corrected(quick: RunningHost) -> None:
    with proxying(quick.url, tls=False, prefix="/ollama") as proxy:
        (finding,) = found(Host("gpu-1", proxy.url.removesuffix("/ollama")))

    assert "there is no Ollama at this URL" in finding.message
    assert "--url URL" in finding.remedy


def test_nobody_there_is_told_how_to_be_reached() -> None:
    (finding,) = found(Host("gpu-1", "http://127.0.0.1:1"))

    assert finding.level == "bad"
    assert "ollama serve" in finding.remedy
    assert "ssh -N -L 11434:127.0.0.1:11434 USER@HOST" in finding.remedy


def test_a_proxy_whose_ollama_is_away_is_named(quick: RunningHost) -> None:
    with proxying("http://127.0.0.1:1", tls=False) as proxy:
        (finding,) = found(Host("gpu-1", proxy.url))

    assert "(502 Bad Gateway)" in finding.message
    assert "behind that proxy" in finding.remedy


def test_a_proxy_that_gives_up_on_a_load_is_told_to_wait_longer(quick: RunningHost) -> None:
    with proxying(quick.url, tls=False, status=504) as proxy:
        findings = found(Host("gpu-1", proxy.url))

    assert findings[-1].level == "bad"
    assert "proxy_read_timeout" in findings[-1].remedy

"""A host behind TLS, basic auth and a path, on a real TLS connection; and what the proxy before it does wrong."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from simulator import HostSettings, RunningHost, demo_models, running
from tests.asking import generate
from tests.servers.proxy import Proxy, proxying
from tests.waiting import wait_until
from worker.domain.hosts import Access, Host
from worker.domain.runners import RunnerKey
from worker.errors import CODES, Code, HostError, SettingsRefused
from worker.kinds.generate.request import wire_request
from worker.ollama.between import speaks_tls
from worker.ollama.client import Call, Deadlines, OllamaHost

SECRET = "correct horse"
USER = f"gpu:{SECRET}"
MODEL = "llama3.2:3b"
KEY = RunnerKey(MODEL)
JOB = wire_request(MODEL, "Say hello.", {}, None)


@pytest.fixture
def host() -> Iterator[RunningHost]:
    with running(HostSettings("gpu-1", demo_models(), time_scale=0, num_parallel=4)) as (one,):
        yield one


@pytest.fixture
def proxy(host: RunningHost) -> Iterator[Proxy]:
    with proxying(host.url, user=USER, prefix="/team/ollama") as one:
        yield one


@pytest.fixture
def access(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> Access:
    monkeypatch.setenv("GPU_AUTH", USER)
    return Access(basic_auth="env:GPU_AUTH", ca_file=str(proxy.ca_file))


def failure(url: str, access: Access, deadlines: Deadlines | None = None) -> HostError:
    gpu = OllamaHost(url, access=access, deadlines=deadlines)
    with pytest.raises(HostError) as caught:
        generate(gpu, JOB)
    gpu.close()
    assert CODES[caught.value.code].fault == "host"
    return caught.value


def test_a_host_behind_tls_basic_auth_and_a_path_serves_as_any(proxy: Proxy, access: Access) -> None:
    gpu = OllamaHost.of(Host("gpu-1", proxy.url, slots=4, access=access))

    gpu.load(KEY, keep_alive=60)
    reply = generate(gpu, JOB)

    assert reply.response
    assert reply.chunks > 2
    assert gpu.version() == "0.24.0"
    assert [model.name for model in gpu.loaded()] == [MODEL]
    assert proxy.requests[0] == ("POST", "/team/ollama/api/generate")
    gpu.close()


def test_a_secret_is_read_from_a_file_and_sent_as_the_header_it_is_for(
    host: RunningHost, tmp_path: Path
) -> None:
    file = tmp_path / "key"
    file.write_text(f"{SECRET}\n")
    file.chmod(0o600)
    for told, header in (
        (Access(bearer=f"file:{file}"), ("Authorization", f"Bearer {SECRET}")),
        (Access(headers=(("X-Api-Key", f"file:{file}"),)), ("X-Api-Key", SECRET)),
    ):
        with proxying(host.url, tls=False, header=header) as proxy:
            gpu = OllamaHost(proxy.url, access=told)

            assert gpu.version() == "0.24.0"
            gpu.close()


def test_a_reply_through_tls_meets_its_deadline(proxy: Proxy, access: Access) -> None:
    proxy.status, proxy.after = 504, 60

    error = failure(proxy.url, access, Deadlines(first_byte=0.2))

    assert error.code is Code.NO_FIRST_BYTE


def test_a_call_through_tls_is_ended_from_another_thread(proxy: Proxy, access: Access) -> None:
    proxy.status, proxy.after = 504, 60
    gpu, call, errors = OllamaHost(proxy.url, access=access), Call(), list[HostError]()

    def ask() -> None:
        try:
            generate(gpu, JOB, call=call)
        except HostError as error:
            errors.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    wait_until(lambda: proxy.requests, description="the request is on its way")
    call.abort()
    thread.join(5)

    assert [error.code for error in errors] == [Code.CANCELLED]
    gpu.close()


def test_an_authority_that_is_not_trusted_is_named_with_its_remedy(proxy: Proxy, access: Access) -> None:
    error = failure(proxy.url, replace(access, ca_file=None))

    assert error.code is Code.HOST_UNREACHABLE
    assert "is not trusted" in error.message
    assert "--ca-file FILE" in error.message


def test_a_certificate_for_another_name_is_named(host: RunningHost) -> None:
    with proxying(host.url, names=("gpu.example",)) as proxy:
        error = failure(proxy.url, Access(ca_file=str(proxy.ca_file)))

    assert error.code is Code.HOST_UNREACHABLE
    assert "for another name" in error.message


def test_tls_spoken_to_a_host_without_it_is_named(host: RunningHost) -> None:
    error = failure(host.url.replace("http://", "https://"), Access(), Deadlines(connect=0.2))

    assert error.code is Code.HOST_UNREACHABLE
    assert "http://, not https://" in error.message


def test_a_port_is_asked_whether_it_speaks_tls(host: RunningHost, proxy: Proxy) -> None:
    assert speaks_tls(proxy.url.replace("https://", "http://"), seconds=5)
    assert not speaks_tls(host.url, seconds=0.2)


def test_a_wrong_password_is_refused_with_its_remedy_and_never_shown(
    proxy: Proxy, access: Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy.echo, proxy.user = True, "gpu:another"

    error = failure(proxy.url, access)

    assert "the host refuses us (401 Unauthorized)" in error.message
    assert "--basic-auth or --bearer" in error.message
    assert "***" in error.message
    assert SECRET not in f"{error} {error.message} {error.args}"
    assert "Z3B1OmNvcnJlY3QgaG9yc2U=" not in f"{error} {error.message} {error.args}"


def test_no_ollama_behind_the_path_is_named(proxy: Proxy, access: Access) -> None:
    error = failure(proxy.url.removesuffix("/ollama"), access)

    assert error.code is Code.BAD_REPLY
    assert "there is no Ollama at this URL (404 Not Found)" in error.message


def test_a_proxys_own_failure_is_named_in_a_load_and_in_a_job_and_is_never_the_jobs_fault(
    proxy: Proxy, access: Access
) -> None:
    gpu = OllamaHost(proxy.url, access=access)
    for status, words in ((502, "answers in the host's place"), (504, "gave up waiting for the host")):
        proxy.status = status

        with pytest.raises(HostError, match=words) as caught:
            gpu.load(KEY, keep_alive=60)
        error = failure(proxy.url, access)

        assert caught.value.code is error.code is Code.HOST_UNREACHABLE
        assert words in error.message
    gpu.close()


def test_a_host_that_is_away_behind_its_proxy_is_unreachable(proxy: Proxy, access: Access) -> None:
    proxy.to = "http://127.0.0.1:1"

    error = failure(proxy.url, access)

    assert error.code is Code.HOST_UNREACHABLE
    assert "(502 Bad Gateway)" in error.message


def test_a_ca_file_that_is_none_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    with pytest.raises(SettingsRefused, match="cannot be read"):
        OllamaHost("https://gpu-1", access=Access(ca_file=str(file)))
    file.write_text("no certificate")

    with pytest.raises(SettingsRefused, match="PEM"):
        OllamaHost("https://gpu-1", access=Access(ca_file=str(file)))

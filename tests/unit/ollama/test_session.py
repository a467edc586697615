"""What a session is, before any host is asked."""

import socket

import pytest

from worker.errors import SettingsRefused
from worker.ollama.session import checked_url, open_session


def test_a_session_reads_nothing_from_the_environment_and_tries_nothing_twice() -> None:
    session = open_session(4)

    adapter = session.get_adapter("http://gpu-1:11434")
    assert session.trust_env is False
    assert adapter.max_retries.total == 0  # type: ignore[attr-defined]
    assert adapter.max_retries.read is False  # type: ignore[attr-defined]


def test_a_session_keeps_a_connection_for_each_slot_and_a_few() -> None:
    adapter = open_session(8).get_adapter("http://gpu-1:11434")

    pool = adapter.poolmanager.connection_from_url("http://gpu-1:11434")  # type: ignore[attr-defined]
    assert pool.pool.maxsize == 12


def test_a_host_that_vanished_is_noticed() -> None:
    adapter = open_session(1).get_adapter("https://gpu-1")

    options = adapter.poolmanager.connection_pool_kw["socket_options"]  # type: ignore[attr-defined]
    assert (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1) in options


@pytest.mark.parametrize(
    ("url", "base", "auth"),
    [
        (" http://gpu-1:11434/ ", "http://gpu-1:11434", None),
        ("HTTPS://GPU-1/ollama/", "https://gpu-1/ollama", None),
        ("http://[::1]:11434", "http://[::1]:11434", None),
        ("http://me:p%40ss@gpu-1", "http://gpu-1", ("me", "p@ss")),
    ],
)
def test_a_url_is_kept_without_what_is_no_place(url: str, base: str, auth: tuple[str, str] | None) -> None:
    assert checked_url(url) == (base, auth)


@pytest.mark.parametrize(
    "url", ["", "gpu-1:11434", "file:///etc/passwd", "http://", "http://h:x", "http://h/#a"]
)
def test_a_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(SettingsRefused, match="http://HOST:PORT"):
        checked_url(url)

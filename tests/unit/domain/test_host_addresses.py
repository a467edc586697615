"""Addresses in every form, what a host wants to see, and sizes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.domain.address import host_address, host_name
from worker.domain.hosts import Access, memory_bytes
from worker.errors import SettingsRefused


@pytest.mark.parametrize(
    ("text", "address"),
    [
        # as in envconfig/config_test.go TestHost
        ("", "http://127.0.0.1:11434"),
        ("1.2.3.4", "http://1.2.3.4:11434"),
        (":1234", "http://127.0.0.1:1234"),
        ("1.2.3.4:1234", "http://1.2.3.4:1234"),
        ("example.com", "http://example.com:11434"),
        ("example.com:1234", "http://example.com:1234"),
        ("[::1]", "http://[::1]:11434"),
        ("[::1]:1337", "http://[::1]:1337"),
        ("::1", "http://[::1]:11434"),
        (" 1.2.3.4 ", "http://1.2.3.4:11434"),
        ('"1.2.3.4"', "http://1.2.3.4:11434"),
        ('" 1.2.3.4 "', "http://1.2.3.4:11434"),
        ("'1.2.3.4:1'", "http://1.2.3.4:1"),
        ("http://1.2.3.4", "http://1.2.3.4"),
        ("https://1.2.3.4", "https://1.2.3.4"),
        ("http://1.2.3.4:80", "http://1.2.3.4"),
        ("https://1.2.3.4:443", "https://1.2.3.4"),
        ("https://1.2.3.4:80", "https://1.2.3.4:80"),
        ("example.com/", "http://example.com:11434"),
        ("example.com:1234/ollama", "http://example.com:1234/ollama"),
        ("https://example.com/ollama/", "https://example.com/ollama"),
        ("ollama.com", "https://ollama.com"),
        # what a server listens on is this machine for a client
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("http://0.0.0.0:11434", "http://127.0.0.1:11434"),
        ("[::]:11434", "http://[::1]:11434"),
        # what people write
        ("HTTP://GPU-1:11434", "http://gpu-1:11434"),
        ("fe80::7%eth0", "http://[fe80::7%25eth0]:11434"),
        ("gpu_1.lan", "http://gpu_1.lan:11434"),
    ],
)
def test_an_address_is_read_as_ollama_reads_it(text: str, address: str) -> None:
    assert host_address(text) == address
    assert host_address(address) == address


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (":66000", "'66000' is not a valid port; expected a number from 1 to 65535"),
        ("gpu-1:0", "'0' is not a valid port"),
        ("gpu-1:11434a", "'11434a' is not a valid port"),
        ("gpu-1:٣", "is not a valid port"),
        ("gpu-1=5", "is not a valid address"),
        ("gpu-1=http://10.0.0.7", "give the name of a host or its address, not both"),
        ("ftp://gpu-1", "begins with ftp://"),
        ("::1:11434", "is not a valid IPv6 address"),
        ("[gpu-1]:11434", "is not a valid IPv6 address"),
        ("[::1", "is not a valid address"),
        ("[::1]11434", "is not a valid address"),
        ("gpu 1", "is not a valid address"),
        ("http://gpu-1?x=1", "is not a valid address"),
        ("http://gpu-1/?x=1", "has a query"),
        ("http://gpu-1/a b", "has a query, a fragment or a space"),
    ],
)
def test_what_is_no_address_is_refused_with_what_was_expected(text: str, words: str) -> None:
    with pytest.raises(SettingsRefused, match=words.replace("(", r"\(").replace("?", r"\?")) as caught:
        host_address(text)

    assert "expected" in str(caught.value)


@pytest.mark.parametrize("text", ["https://me:hunter2@gpu-1", "me:hunter2@gpu-1", "ftp://me:hunter2@gpu-1"])
def test_credentials_in_an_address_are_refused_and_not_shown(text: str) -> None:
    with pytest.raises(SettingsRefused) as caught:
        host_address(text)

    assert "hunter2" not in str(caught.value)


def test_credentials_in_an_address_are_refused_with_what_to_do_instead() -> None:
    with pytest.raises(SettingsRefused, match="--basic-auth env:NAME"):
        host_address("https://me:hunter2@gpu-1")


@given(st.text(max_size=40))
def test_any_text_is_an_address_or_is_refused(text: str) -> None:
    try:
        address = host_address(text)
    except SettingsRefused:
        return
    assert host_address(address) == address
    assert host_name(address)


@pytest.mark.parametrize(
    "told",
    [
        {"basic_auth": "me:hunter2"},
        {"bearer": "hunter2"},
        {"bearer": "env:"},
        {"bearer": "file:a\nb"},
        {"headers": (("X-Key", "hunter2"),)},
        {"headers": (("X Key", "env:KEY"),)},
        {"headers": (("X-Key", "env:KEY"), ("x-key", "env:OTHER"))},
        {"headers": (("Content-Length", "env:KEY"),)},
        {"bearer": "env:TOKEN", "headers": (("Authorization", "env:KEY"),)},
        {"bearer": "env:TOKEN", "basic_auth": "env:AUTH"},
    ],
)
def test_a_secret_where_a_reference_should_stand_is_refused_and_not_shown(told: dict[str, object]) -> None:
    with pytest.raises(SettingsRefused) as caught:
        Access(**told)  # type: ignore[arg-type]

    assert "hunter2" not in str(caught.value)


def test_what_a_host_wants_to_see_is_stored_as_references() -> None:
    access = Access("env:A", None, (("X-Key", "file:/run/key"), ("X-Team", "env:TEAM")), "/etc/ca.pem")

    assert Access.parse(access.stored) == access
    assert Access().stored is None
    assert Access.parse(None) == Access()


@pytest.mark.parametrize("text", ["", "much", "0", "-1GB", "24 parsecs", "9e99", "99999999999TB"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(SettingsRefused, match="24GB"):
        memory_bytes(text)

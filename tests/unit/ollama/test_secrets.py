"""References to secrets → what a session sends, and nothing that shows it."""

import logging
from pathlib import Path

import pytest

from worker.domain.hosts import Access
from worker.errors import SettingsRefused
from worker.ollama.secrets import resolve, resolved

SECRET = "s3cr3t-of-gpu"


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(f"{SECRET}\r\n")
    path.chmod(0o600)
    return path


def test_nothing_told_is_nothing_sent() -> None:
    found = resolve(Access())

    assert (found.headers, found.verify, found.secrets) == ({}, True, ())


def test_basic_auth_is_user_and_password_of_any_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPU_AUTH", "me:pässwörd")

    found = resolve(Access(basic_auth="env:GPU_AUTH"))

    assert found.headers == {"Authorization": "Basic bWU6cMOkc3N3w7ZyZA=="}


def test_a_files_last_newline_is_no_part_of_the_secret(secret_file: Path) -> None:
    assert resolved(f"file:{secret_file}") == SECRET


def test_no_form_of_a_secret_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPU_AUTH", f"me:{SECRET}")
    monkeypatch.setenv("GPU_KEY", "key-of-gpu")

    found = resolve(Access(basic_auth="env:GPU_AUTH", headers=(("X-Key", "env:GPU_KEY"),)))

    sent = found.headers["Authorization"]
    shown = found.hidden(f"you sent {sent}, that is me:{SECRET}, or {SECRET}, and key-of-gpu")
    assert shown == "you sent Basic ***, that is ***, or ***, and ***"
    assert SECRET not in repr(found)
    assert "key-of-gpu" not in repr(found)


@pytest.mark.parametrize(
    ("access", "words"),
    [
        (Access(bearer="env:CARAVAN_TEST_NOT_SET"), "env:CARAVAN_TEST_NOT_SET: that variable is not set here"),
        (Access(bearer="file:/nowhere/token"), "file:/nowhere/token cannot be read: No such file"),
        (Access(bearer="env:CARAVAN_TEST_TWO_LINES"), "env:CARAVAN_TEST_TWO_LINES has more than one line"),
        (Access(bearer="env:CARAVAN_TEST_EMPTY"), "env:CARAVAN_TEST_EMPTY is empty"),
        (Access(bearer="env:CARAVAN_TEST_LETTERS"), "env:CARAVAN_TEST_LETTERS has characters beyond ASCII"),
        (Access(basic_auth="env:CARAVAN_TEST_LETTERS"), "env:CARAVAN_TEST_LETTERS does not hold USER:PASSWORD"),
    ],
    ids=lambda value: "" if isinstance(value, Access) else value,
)  # fmt: skip
def test_a_reference_that_leads_nowhere_is_named_without_what_it_holds(
    access: Access, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CARAVAN_TEST_TWO_LINES", f"{SECRET}\nX-Other: {SECRET}")
    monkeypatch.setenv("CARAVAN_TEST_EMPTY", "")
    monkeypatch.setenv("CARAVAN_TEST_LETTERS", f"{SECRET}é")

    with pytest.raises(SettingsRefused, match=words) as caught:
        resolve(access)

    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_secret_that_every_user_can_read_is_warned_of(
    secret_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "caravan"):
        resolve(Access(bearer=f"file:{secret_file}"))
        assert not caplog.records
        secret_file.chmod(0o644)

        resolve(Access(bearer=f"file:{secret_file}"))

    (record,) = caplog.records
    assert record.event == "secret.exposed"  # type: ignore[attr-defined]
    assert record.fields == {"reference": f"file:{secret_file}"}  # type: ignore[attr-defined]

import http.client
import json
import socket
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.waiting import wait_until
from worker.errors import SettingsRefused
from worker.notify import listener
from worker.notify.listener import listen_address, listening


class Answers:
    """What is told, and how often it was asked for."""

    well = True
    asked = 0

    def __call__(self) -> tuple[bool, dict[str, Any]]:
        self.asked += 1
        return self.well, {"well": self.well, "findings": []}


@pytest.fixture
def answers() -> Answers:
    return Answers()


@pytest.fixture
def place(answers: Answers) -> Iterator[tuple[str, int]]:
    with listening(("127.0.0.1", 0), answers) as url:
        parts = urlsplit(url)
        assert parts.hostname and parts.port
        yield parts.hostname, parts.port


def ask(place: tuple[str, int], method: str = "GET", path: str = "/healthz") -> tuple[int, bytes]:
    with closing(http.client.HTTPConnection(*place, timeout=5)) as connection:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read()


def test_it_is_200_when_all_is_well_and_503_when_not(place: tuple[str, int], answers: Answers) -> None:
    well = ask(place)
    answers.well = False
    bad = ask(place)

    assert (well[0], json.loads(well[1])["well"]) == (200, True)
    assert (bad[0], json.loads(bad[1])["well"]) == (503, False)


def test_head_has_the_status_and_no_body(place: tuple[str, int], answers: Answers) -> None:
    answers.well = False

    assert ask(place, "HEAD") == (503, b"")


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/", 404), ("POST", "/healthz", 501)])
def test_nothing_else_is_answered(
    place: tuple[str, int], answers: Answers, method: str, path: str, status: int
) -> None:
    assert ask(place, method, path)[0] == status
    assert answers.asked == 0


def test_who_connects_and_says_nothing_keeps_nobody_out(
    place: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "SECONDS", 0.3)
    silent = [socket.create_connection(place) for _ in range(listener.AT_ONCE + 2)]

    def answered() -> bool:
        try:
            return ask(place)[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    wait_until(answered, description="the silent ones are closed", timeout=5)
    for one in silent:
        one.close()


def test_an_address_that_is_none_is_refused() -> None:
    for text in ("", "host", "host:", "127.0.0.1:99999", "1:x"):
        with pytest.raises(SettingsRefused):
            listen_address(text)

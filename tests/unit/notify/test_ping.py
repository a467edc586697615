import pytest

from tests.servers.pinged import pinged_here
from tests.servers.smtp import mail_server_here
from worker.errors import SettingsRefused
from worker.notify import ping as pinging
from worker.notify.bounded import DeliveryError
from worker.notify.ping import ping, ping_url


def test_well_is_the_address_itself_and_not_well_is_fail_behind_it() -> None:
    with pinged_here() as seen:
        ping(f"{seen.url}/uuid?rid=1", well=True)
        ping(f"{seen.url}/uuid?rid=1", well=False)
        ping(f"{seen.url}/uuid/", well=False)

    assert seen.paths == ["/uuid?rid=1", "/uuid/fail?rid=1", "/uuid/fail"]


def test_a_redirect_is_not_followed() -> None:
    with pinged_here() as other, pinged_here(status=302, headers={"Location": f"{other.url}/x"}) as seen:
        with pytest.raises(DeliveryError, match="302"):
            ping(f"{seen.url}/uuid", well=True)

    assert other.paths == []


def test_a_proxy_of_the_environment_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    with pinged_here() as proxy, pinged_here() as seen:
        monkeypatch.setenv("http_proxy", proxy.url)
        ping(f"{seen.url}/uuid", well=True)

    assert (proxy.paths, seen.paths) == ([], ["/uuid"])


def test_an_address_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pinging, "SECONDS", 0.2)
    with mail_server_here(silent=True) as silent, pytest.raises(DeliveryError):
        ping(f"http://127.0.0.1:{silent.port}/uuid", well=True)


@pytest.mark.parametrize(
    "url", ["ftp://h/x", "http://", "http://u:p@h/", "http://h/#x", "http://h/a b", "http://h:x/", "uuid"]
)
def test_an_address_that_is_none_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(SettingsRefused) as refused:
        ping_url(url)

    assert url not in str(refused.value)

import base64
from datetime import UTC, datetime

import pytest

from tests.servers.pinged import pinged_here
from tests.servers.smtp import mail_server_here
from worker.errors import SettingsRefused
from worker.notify import webhook
from worker.notify.bounded import DeliveryError
from worker.notify.webhook import Gone, post, signature, webhook_key, webhook_url

AT = datetime(2021, 2, 25, 14, 55, 30, tzinfo=UTC)
KEY = webhook_key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")


def test_the_signature_is_that_of_the_standards_own_example() -> None:
    body = b'{"test": 2432232314}'

    assert AT.timestamp() == 1614264930
    assert (
        signature(KEY, message_id="msg_p5jXN8AQM9LWM0D4loKWxJek", at=at(1614265330), body=body)
        == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    )


def at(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def test_a_message_bears_its_id_its_time_and_its_signature() -> None:
    with pinged_here() as seen:
        post(f"{seen.url}/hook?a=1", b"{}", message_id="msg_1", at=AT, key=KEY)

    [(headers, body)] = seen.posts
    assert (seen.paths, body) == (["/hook?a=1"], b"{}")
    assert headers["content-type"] == "application/json"
    assert (headers["webhook-id"], headers["webhook-timestamp"]) == ("msg_1", "1614264930")
    assert headers["webhook-signature"] == signature(KEY, message_id="msg_1", at=AT, body=b"{}")


def test_without_a_key_a_message_is_not_signed() -> None:
    with pinged_here() as seen:
        post(seen.url, b"{}", message_id="msg_1", at=AT, key=None)

    assert "webhook-signature" not in seen.posts[0][0]


@pytest.mark.parametrize(("status", "error"), [(500, DeliveryError), (302, DeliveryError), (410, Gone)])
def test_only_a_2xx_is_an_acceptance_and_a_redirect_is_not_followed(
    status: int, error: type[DeliveryError]
) -> None:
    with pinged_here(status=status, headers={"Location": "/other"}) as seen:
        with pytest.raises(error, match=str(status)):
            post(f"{seen.url}/hook", b"{}", message_id="m", at=AT, key=None)

    assert seen.paths == ["/hook"]


def test_a_receiver_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "SECONDS", 0.2)
    with mail_server_here(silent=True) as silent, pytest.raises(DeliveryError):
        post(f"http://127.0.0.1:{silent.port}/", b"{}", message_id="m", at=AT, key=None)


@pytest.mark.parametrize("secret", ["short", "whsec_///", "whsec_" + base64.b64encode(b"short").decode()])
def test_a_key_that_is_none_is_refused_without_showing_it(secret: str) -> None:
    with pytest.raises(SettingsRefused) as refused:
        webhook_key(secret)

    assert secret.removeprefix("whsec_") not in str(refused.value)


@pytest.mark.parametrize("url", ["ftp://h/x", "http://", "http://u:p@h/", "http://h/a b", "hook"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(SettingsRefused, match="--webhook"):
        webhook_url(url)

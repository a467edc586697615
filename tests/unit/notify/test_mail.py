import ssl
from pathlib import Path

import pytest
import trustme

from tests.servers.smtp import mail_server_here
from worker.errors import SettingsRefused
from worker.notify import mail
from worker.notify.bounded import DeliveryError
from worker.notify.mail import mail_addresses, mail_server, send_mail


@pytest.fixture
def tls(tmp_path: Path) -> tuple[ssl.SSLContext, str]:
    """A server's certificate for localhost, and the file of whoever signed it."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return context, str(tmp_path / "ca.pem")


def test_a_mail_arrives_with_its_subject_its_text_and_all_who_get_it() -> None:
    with mail_server_here() as box:
        server = mail_server(f"smtp://127.0.0.1:{box.port}/?from=caravan@example.org&starttls=never")

        send_mail(
            server, ["a@example.org", "b@example.org"], subject="gpu-1 天\nX: y", text="Zeile ä\n.\nlast"
        )

    assert box.subjects == ["gpu-1 天 X: y"]
    assert box.recipients == ["a@example.org", "b@example.org"]
    assert box.mails[0]["From"] == "caravan@example.org"
    assert box.mails[0].get_content().splitlines() == ["Zeile ä", ".", "last"]


def test_starttls_comes_before_the_password(tls: tuple[ssl.SSLContext, str]) -> None:
    context, ca = tls
    with mail_server_here(tls=context, login=("me@example.org", "s3cret")) as box:
        server = mail_server(f"smtp://me%40example.org:s3cret@localhost:{box.port}/?ca_file={ca}")

        send_mail(server, ["a@example.org"], subject="s", text="t")

    assert box.secure == [True]
    assert box.mails[0]["From"] == "me@example.org"


def test_smtps_is_encrypted_from_the_first_byte(tls: tuple[ssl.SSLContext, str]) -> None:
    context, ca = tls
    with mail_server_here(tls=context, implicit_tls=True) as box:
        server = mail_server(f"smtps://localhost:{box.port}/?from=c@example.org&ca_file={ca}")

        send_mail(server, ["a@example.org"], subject="s", text="t")

    assert box.secure == [True]


def test_nothing_is_said_to_a_server_that_cannot_be_trusted(tls: tuple[ssl.SSLContext, str]) -> None:
    context, _ = tls
    with mail_server_here(tls=context, login=("me", "s3cret")) as box:
        server = mail_server(f"smtp://me:s3cret@localhost:{box.port}/?from=c@example.org")

        with pytest.raises(DeliveryError, match="certificate"):
            send_mail(server, ["a@example.org"], subject="s", text="t")

    assert box.mails == []


def test_without_starttls_nothing_is_said_in_the_clear() -> None:
    with mail_server_here(login=("me", "s3cret")) as box:
        server = mail_server(f"smtp://me:s3cret@127.0.0.1:{box.port}/?from=c@example.org")

        with pytest.raises(DeliveryError, match="no STARTTLS"):
            send_mail(server, ["a@example.org"], subject="s", text="t")

    assert box.mails == []


def test_a_password_that_the_server_echoes_is_not_told() -> None:
    with mail_server_here(login=("me", "right-one")) as box:
        server = mail_server(
            f"smtp://me@127.0.0.1:{box.port}/?from=c@example.org&starttls=never&password=env:X"
        )

        with pytest.raises(DeliveryError) as refused:
            send_mail(server, ["a@example.org"], subject="s", text="t", password="wr0ng-one")

    assert "wr0ng-one" not in str(refused.value)
    assert "wr0ng-one" not in repr(server)


def test_a_server_that_refuses_the_mail_is_an_error_with_its_words() -> None:
    with mail_server_here(refuse="552 mailbox full") as box:
        server = mail_server(f"smtp://127.0.0.1:{box.port}/?from=c@example.org&starttls=never")

        with pytest.raises(DeliveryError, match="mailbox full"):
            send_mail(server, ["a@example.org"], subject="s", text="t")


def test_a_server_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mail, "ALTOGETHER", 0.2)
    with mail_server_here(silent=True) as box:
        server = mail_server(f"smtp://127.0.0.1:{box.port}/?from=c@example.org&starttls=never")

        with pytest.raises(DeliveryError):
            send_mail(server, ["a@example.org"], subject="s", text="t")


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("http://h/", "not the URL of a mail server"),
        ("smtp://", "not the URL of a mail server"),
        ("smtp://h:x/", "not a valid URL"),
        ("smtp://h/?form=a@b", "unknown 'form'"),
        ("smtp://h/?starttls=maybe", "always"),
        ("smtp://u@h/?password=hunter2", "env:NAME or file:PATH"),
        ("smtp://h/?password=env:X", "without a user"),
        ("smtp://h/?from=nobody", "not a valid mail address"),
    ],
)
def test_a_url_that_is_none_is_refused_without_showing_it(url: str, told: str) -> None:
    with pytest.raises(SettingsRefused, match=told) as refused:
        mail_server(url)

    assert "hunter2" not in str(refused.value)


def test_ports_and_encryption_follow_from_the_scheme() -> None:
    plain, tls = mail_server("smtp://h/?from=a@b.c"), mail_server("smtps://h/?from=a@b.c")

    assert (plain.port, plain.starttls, plain.tls) == (587, True, False)
    assert (tls.port, tls.starttls, tls.tls) == (465, False, True)


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(SettingsRefused, match="'b'"):
        mail_addresses("a@example.org, b")

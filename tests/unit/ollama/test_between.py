"""What TLS and proxies say between us and a host."""

import http.client
import ssl

import pytest

from worker.ollama.between import proxy_words, tls_reason


def handshake_answered_with(data: bytes) -> ssl.SSLError:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="gpu-1")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    incoming.write(data)
    with pytest.raises(ssl.SSLError) as caught:
        client.do_handshake()
    return caught.value


def certificate_error(code: int, words: str) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code, error.verify_message = code, words
    return error


def test_an_answer_in_plain_http_to_a_handshake_is_named() -> None:
    error = handshake_answered_with(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    assert tls_reason([error]) == "the host does not speak TLS on this port: http://, not https://"


def test_a_tls_alert_in_answer_to_plain_http_is_named() -> None:
    error = http.client.BadStatusLine("\x15\x03\x01\x00\x02\x02F")

    assert tls_reason([ConnectionError(), error]) == (
        "the host speaks TLS on this port: https://, not http://"
    )


@pytest.mark.parametrize(
    ("code", "words", "said"),
    [
        (18, "self-signed certificate", "not trusted (self-signed certificate): --ca-file FILE"),
        (20, "unable to get local issuer certificate", "not trusted (unable to get local issuer certificate)"),
        (10, "certificate has expired", "the certificate of the host has expired"),
        (62, "Hostname mismatch, certificate is not valid for 'gpu-1'.", "is for another name (Hostname mismatch"),
    ],
)  # fmt: skip
def test_a_certificate_that_does_not_hold_is_named_for_what_it_lacks(
    code: int, words: str, said: str
) -> None:
    assert said in str(tls_reason([certificate_error(code, words)]))


def test_what_is_no_matter_of_tls_is_left_to_others() -> None:
    assert tls_reason([ConnectionRefusedError(), TimeoutError("timed out")]) is None


def test_a_status_that_an_ollama_gives_itself_has_no_proxys_words() -> None:
    assert [proxy_words(status, "", "") for status in (400, 429, 500)] == [None] * 3

"""E-mail as mail programs show it."""

import base64
from email.message import EmailMessage

import pytest

from worker.documents.formats.limits import Refused
from worker.documents.formats.reading import read_bytes


def read(data: bytes | str) -> dict[str, object]:
    return read_bytes(data if isinstance(data, bytes) else data.encode("latin-1"), "a.eml")


def test_headers_and_text_are_decoded() -> None:
    message = (
        "From: =?utf-8?q?J=C3=BCrgen?= <a@b>\r\nSubject: =?iso-8859-1?B?5PY=?=\r\n =?iso-2022-jp?B?GyRCRnxLXBsoQg==?=\r\n"
        "Date: Tue, 3 Feb 2026 10:00:00 +0100\r\nContent-Type: text/plain; charset=iso-8859-1\r\n"
        "Content-Transfer-Encoding: quoted-printable\r\n\r\nM=FCnchen =80 12=\r\n,000\r\n"
    )

    content = read(message)

    assert content["text"] == (
        "From: Jürgen <a@b>\nDate: Tue, 3 Feb 2026 10:00:00 +0100\nSubject: äö日本\n\nMünchen € 12,000\n"
    )
    metadata = content["metadata"]
    assert isinstance(metadata, dict)
    assert metadata["date"] == "2026-02-03T10:00:00+01:00"


@pytest.mark.parametrize("charset", ["nonsense", "unknown-8bit", "utf-8", "us-ascii", ""])
def test_a_wrong_or_missing_charset_costs_no_text(charset: str) -> None:
    kind = f"Content-Type: text/plain{f'; charset={charset}' if charset else ''}\n"
    assert "caf" in str(
        read(f"Subject: x\n{kind}Content-Transfer-Encoding: 8bit\n\ncaf\xe9 and more\n")["text"]
    )


def test_plain_text_is_taken_before_html_and_html_where_there_is_no_other() -> None:
    both, only = EmailMessage(), EmailMessage()
    for message in (both, only):
        message["Subject"] = "s"
    both.set_content("plain\n")
    both.add_alternative("<p>html</p>", subtype="html")
    only.set_content("<p>only <b>html</b></p><p style='display:none'>no</p>", subtype="html")

    assert read(both.as_bytes())["text"] == "Subject: s\n\nplain\n"
    assert read(only.as_bytes())["text"] == "Subject: s\n\nonly html\n"


def test_an_empty_plain_part_does_not_hide_the_html_one() -> None:
    message = EmailMessage()
    message.set_content(" \n")
    message.add_alternative("<p>html</p>", subtype="html")
    message["Subject"] = "s"

    assert read(message.as_bytes())["text"] == "Subject: s\n\nhtml\n"


def test_a_plain_part_that_only_stands_in_for_the_page_is_not_taken_for_the_letter() -> None:
    letter = "We offer forty chairs at 90 EUR each, delivered to Porto by the first of May, payable in thirty days."
    stub, same = EmailMessage(), EmailMessage()
    for message, plain in (
        (stub, "Your program shows no HTML.\n"),
        (same, f"{letter}\n\nhttps://example.org/x\n"),
    ):
        message["Subject"] = "s"
        message.set_content(plain)
        message.add_alternative(f"<style>p {{ color: red }}</style><p>{letter}</p>", subtype="html")

    assert read(stub.as_bytes())["text"] == f"Subject: s\n\n{letter}\n"
    assert "https://example.org/x" in str(read(same.as_bytes())["text"])


def test_attachments_are_handed_out_by_distinct_names_without_folders() -> None:
    inner = EmailMessage()
    inner["Subject"] = "Inner letter"
    inner.set_content("inner\n")
    message = EmailMessage()
    message["Subject"] = "s"
    message.set_content("text\n")
    message.add_attachment(b"1", maintype="application", subtype="octet-stream", filename="../../a.bin")
    message.add_attachment(b"2", maintype="application", subtype="octet-stream", filename="a.bin")
    message.add_attachment("3\n", filename="Größe.txt")
    message.add_attachment(inner)
    message.add_attachment("BEGIN:VCALENDAR\n", subtype="calendar")

    attached = read(message.as_bytes())["attachments"]

    assert isinstance(attached, list)
    assert [name for name, _ in attached] == [
        "a.bin",
        "a~2.bin",
        "Größe.txt",
        "Inner letter.eml",
        "attachment-5.ics",
    ]
    assert base64.b64decode(attached[0][1]) == b"1"
    assert b"inner" in base64.b64decode(attached[3][1])


def test_pictures_of_the_text_are_named_and_no_documents() -> None:
    message = EmailMessage()
    message["Subject"] = "s"
    message.set_content("<p>text<img src='cid:logo'></p>", subtype="html")
    message.add_related(b"\x89PNG", maintype="image", subtype="png", cid="<logo>", filename="logo.png")

    content = read(message.as_bytes())

    assert content["attachments"] == []
    assert content["metadata"]["pictures_in_text"] == ["logo.png"]  # type: ignore[index]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        ("no headers at all", "unreadable"),
        (
            "Subject: s\nContent-Type: application/pkcs7-mime; smime-type=enveloped-data\n\nAAAA\n",
            "encrypted",
        ),
        ("Subject: s\nContent-Type: multipart/encrypted; boundary=x\n\n--x\n\n--x--\n", "encrypted"),
        ("From: a@b\n\n", "no_text"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(data: str, code: str) -> None:
    with pytest.raises(Refused) as refused:
        read(data)

    assert refused.value.code == code


def test_parts_nested_too_deeply_are_refused() -> None:
    head = "".join(f"Content-Type: multipart/mixed; boundary=b{n}\n\n--b{n}\n" for n in range(60))

    with pytest.raises(Refused) as refused:
        read(f"Subject: s\n{head}Content-Type: text/plain\n\ntext\n")

    assert refused.value.code == "too_large"


def test_headers_and_names_of_raw_bytes_are_read_as_utf8_or_windows() -> None:
    body = (
        "Content-Type: multipart/mixed; boundary=B\n\n--B\nContent-Type: text/plain\n\nText\n--B\n"
        'Content-Type: text/csv; name="Übersicht.csv"\n\na,b\n--B--\n'
    )
    for encoding in ("utf-8", "cp1252"):
        mail = read(f"From: Jürgen <a@b>\nSubject: Grüße\n{body}".encode(encoding))

        assert str(mail["text"]).startswith("From: Jürgen <a@b>\nSubject: Grüße\n\nText\n")
        assert [name for name, _ in mail["attachments"]] == ["Übersicht.csv"]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "kind", ["multipart/mixed; boundary=other", "multipart/alternative", "text/enriched", "text/x-unknown"]
)
def test_a_text_of_unknown_kind_or_with_a_wrong_boundary_is_shown(kind: str) -> None:
    mail = read(f"Subject: s\nContent-Type: {kind}\n\n--B\nContent-Type: text/plain\n\nThe text.\n--B--\n")

    assert "The text." in str(mail["text"])
    assert mail["attachments"] == []


@pytest.mark.parametrize("charset", ["utf-16", "utf-16le", "utf-16be"])
@pytest.mark.parametrize("written", ["utf-16-le", "utf-16-be"])
def test_a_mark_of_byte_order_in_a_part_wins_over_its_label(charset: str, written: str) -> None:
    text = base64.b64encode("\ufeffGrüße".encode(written)).decode()

    mail = read(
        f"Subject: s\nContent-Type: text/plain; charset={charset}\nContent-Transfer-Encoding: base64\n\n{text}\n"
    )

    assert mail["text"] == "Subject: s\n\nGrüße\n"

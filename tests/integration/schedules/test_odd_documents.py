"""Nights with names of any bytes, messages with attachments, and documents of which some pages are scans."""

import os
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path

from sqlalchemy import select

from tests.integration.schedules.nights import Nights, counts
from tests.made_documents import pdf_of
from worker.schedules.letter import letter
from worker.storage.tables.schedules import schedule_documents

FIRST = datetime(2026, 3, 26, 1, tzinfo=UTC)
DAY = timedelta(days=1)
NAMES = {
    b"caf\xe9.txt": r"caf\xe9.txt",
    b"caf\xe8.txt": r"caf\xe8.txt",
    rb"caf\xe9.txt": r"caf\\xe9.txt",
    b"a\nb.txt": r"a\x0ab.txt",
    b"end .txt": "end .txt",
    b"n.txt#7": r"n.txt\x237",
    b"\xc4\xe3\xba\xc3/" + b"\xb5\xb5.txt": r"\xc4\xe3\xba\xc3/\xb5\xb5.txt",
    "é.txt".encode(): "é.txt",
    "e\u0301.txt".encode(): "e\u0301.txt",
    b"A.TXT": "A.TXT",
    b"a.txt": "a.txt",
    b"x" * 250 + b".txt": "x" * 250 + ".txt",
}


def put(nights: Nights, name: bytes, data: bytes) -> Path:
    path = Path(os.fsdecode(os.fsencode(nights.folder / "inbox") + b"/" + name))
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    return path


def test_names_of_any_bytes_are_all_asked_once_accounted_for_and_answered_in_files(nights: Nights) -> None:
    for number, name in enumerate(NAMES):
        put(nights, name, f"text {number}".encode())
    put(nights, b"empty-\xff.txt", b"")
    nights.schedule(documents=["inbox/**"], output="answers", beside=True)

    report = nights.night(FIRST)

    assert counts(report) == {"new": len(NAMES), "answered": len(NAMES), "failed": 1}
    assert [one["document"] for one in report["failed_documents"]] == [r"empty-\xff.txt"]
    assert not report["files"]["problems"]
    assert report["files"]["written"] == 2 * len(NAMES)
    with nights.database.read() as conn:
        known = set(conn.scalars(select(schedule_documents.c.custom_id)))
    assert {name for name in NAMES.values() if len(name) < 200} < known
    beside = Path(os.fsdecode(os.fsencode(nights.folder / "inbox") + b"/caf\xe9.txt.answer.md"))
    assert "text 0" in beside.read_text()
    assert "text 2" in (nights.folder / "answers" / r"caf\\xe9.txt.answer.md").read_text()
    assert counts(nights.night(FIRST + DAY)) == {"reused": len(NAMES), "failed": 1}


def test_what_is_attached_to_a_message_is_a_document_and_what_cannot_be_read_is_named(nights: Nights) -> None:
    message = EmailMessage()
    message["Subject"], message["From"] = "Delay", "a@example.org"
    message.set_content("See the report.\n")
    message.add_attachment(
        pdf_of(["The report."]), maintype="application", subtype="pdf", filename="report.pdf"
    )
    message.add_attachment(
        b"PK\x05\x06" + bytes(18), maintype="application", subtype="zip", filename="more.zip"
    )
    put(nights, b"delay.eml", message.as_bytes())
    nights.schedule(documents=["inbox/**"], output="answers", beside=True)

    report = nights.night(FIRST)

    assert counts(report) == {"new": 2, "answered": 2, "failed": 1}
    assert [(one["document"], one["code"]) for one in report["failed_documents"]] == [
        ("delay.eml/more.zip", "empty")
    ]
    assert (nights.folder / "answers" / "delay.eml" / "report.pdf.answer.md").exists()
    assert (nights.folder / "inbox" / "delay.eml.report.pdf.answer.md").exists()
    assert counts(nights.night(FIRST + DAY)) == {"reused": 2, "failed": 1}


def test_a_document_that_is_asked_without_some_of_its_pages_is_named(nights: Nights) -> None:
    put(nights, b"mixed.pdf", pdf_of(["First.", "", ""]))
    nights.schedule(documents=["inbox/**"])

    report = nights.night(FIRST)

    assert report["incomplete"] == [{"document": "mixed.pdf", "pages": [2, 3], "of": 3}]
    assert "mixed.pdf: asked without 2 of its 3 pages" in letter(report)
    assert not nights.night(FIRST + DAY)["incomplete"]

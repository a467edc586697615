"""Names in an archive that does not say in which encoding they are."""

import base64
import struct
import zlib

import pytest

from worker.documents.formats.archive import read_archive


def archive(*names: bytes, extra: bytes = b"") -> bytes:
    """A zip file as old programs write it: the bytes of the names and nothing about them."""
    out, directory, data = b"", b"", b"x"
    for name in names:
        about = struct.pack("<HHHHIII", 0, 0, 0, 33, zlib.crc32(data), len(data), len(data))
        sizes = struct.pack("<HH", len(name), len(extra))
        place = struct.pack("<HHHII", 0, 0, 0, 0, len(out))
        directory += b"PK\1\2\x14\0\x14\0" + about + sizes + place + name + extra
        out += b"PK\3\4\x14\0" + about + struct.pack("<HH", len(name), 0) + name + data
    count = len(names)
    return (
        out
        + directory
        + struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, count, count, len(directory), len(out), 0)
    )


def names_of(data: bytes) -> list[str]:
    return [name for name, _ in read_archive(data)["attachments"]]


@pytest.mark.parametrize(
    ("encoding", "names"),
    [
        ("gbk", ["合同.txt"]),
        ("gbk", ["中.txt"]),
        ("gbk", ["测试.txt"]),
        ("gbk", ["简历.txt", "a.txt"]),
        ("gbk", ["新建文本文档.txt"]),
        ("cp932", ["メモ.txt"]),
        ("cp932", ["資料.txt"]),
        ("cp932", ["写真.txt", "表.txt"]),
        ("cp949", ["계약서.txt"]),
        ("cp950", ["報告.txt"]),
        ("cp437", ["café.txt"]),
        ("cp437", ["Übersicht.txt", "Größe.txt"]),
        ("cp437", ["für.txt"]),
        ("cp850", ["São Paulo.txt"]),
        ("cp866", ["отчет.txt"]),
        ("cp1251", ["Договор.txt"]),
        ("cp1252", ["café.txt"]),
        ("utf-8", ["é.txt"]),
    ],
)
def test_short_names_are_read_in_the_likeliest_encoding(encoding: str, names: list[str]) -> None:
    assert names_of(archive(*(name.encode(encoding) for name in names))) == names


def test_a_name_that_an_archive_has_in_unicode_as_well_is_that_one() -> None:
    name, shown = b"\x81.txt", "合同.txt"
    field = b"\1" + struct.pack("<I", zlib.crc32(name)) + shown.encode()
    data = archive(name, extra=struct.pack("<HH", 0x7075, len(field)) + field)
    assert names_of(data) == [shown]
    stale = field[:1] + b"\0\0\0\0" + field[5:]
    assert names_of(archive(name, extra=struct.pack("<HH", 0x7075, len(stale)) + stale)) != [shown]


def test_the_bytes_of_a_file_do_not_change_with_its_name() -> None:
    assert (
        read_archive(archive("合同.txt".encode("gbk")))["attachments"][0][1]
        == base64.b64encode(b"x").decode()
    )

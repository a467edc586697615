"""Texts are kept by what was read: equal bytes are parsed once, and nothing else is taken for them."""

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from worker.documents import cache
from worker.documents.bounded import Reader
from worker.documents.cache import CachedReader, TextCache, text_key

DATA = b"<html><body><p>Hello</p></body></html>"


@pytest.fixture
def texts(tmp_path: Path) -> TextCache:
    return TextCache(tmp_path / "texts")


def files(texts: TextCache) -> list[Path]:
    return sorted(texts.folder.glob("*/*"))


def test_what_was_read_once_starts_no_child_the_next_time(
    texts: TextCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    with CachedReader(texts) as reader:
        first = reader.read("a.html", DATA, "a.html", None)

    def refuse(*_: Any) -> None:
        raise AssertionError("a child was started")

    monkeypatch.setattr(Reader, "_running", refuse)
    with CachedReader(texts) as reader:
        assert reader.read("elsewhere/b.html", DATA, "b.html", None) == first

    assert "Hello" in first["text"]


def test_bytes_kind_encoding_and_the_version_of_the_readers_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {
        text_key(DATA, "a.html", None),
        text_key(DATA + b" ", "a.html", None),
        text_key(DATA, "a.txt", None),
        text_key(DATA, "a.html", "cp1252"),
    }
    monkeypatch.setattr(cache, "readers_version", lambda: "another")
    keys.add(text_key(DATA, "a.html", None))

    assert len(keys) == 5
    assert text_key(DATA, "x/b.html", None) in keys


def test_a_damaged_file_is_read_anew_and_nobody_else_may_look(texts: TextCache) -> None:
    with CachedReader(texts) as reader:
        first = reader.read("a.html", DATA, "a.html", None)
        [path] = files(texts)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        path.write_bytes(b"damaged")
        assert reader.read("a.html", DATA, "a.html", None) == first
    assert texts.get(path.name) == first


def test_a_folder_that_cannot_be_written_hinders_nobody(tmp_path: Path) -> None:
    (tmp_path / "texts").write_text("a file")

    with CachedReader(TextCache(tmp_path / "texts")) as reader:
        assert "Hello" in reader.read("a.html", DATA, "a.html", None)["text"]


def test_what_nobody_asked_for_goes_and_the_least_used_of_too_much(texts: TextCache) -> None:
    for n, used_at in enumerate((100.0, 200.0, 300.0, 10.0)):
        texts.put(f"{n}{n}", {"text": str(n)})
        os.utime(texts.folder / f"{n}{n}" / f"{n}{n}", (used_at, used_at))
    size = files(texts)[0].stat().st_size

    removed = texts.prune(now=300.0, most=2 * size, oldest=250.0)

    assert removed == 2
    assert [path.name for path in files(texts)] == ["11", "22"]

"""What do text and Markdown files under a folder say? Found by patterns, nothing outside the roots, links included."""

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from worker.documents.encodings import read_text
from worker.errors import InputRefused, Problem

MOST_DOCUMENTS = 200_000
MOST_BYTES = 128 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Found:
    """A document that is there, not yet read."""

    path: str
    root: str
    name: str
    """Relative to the root."""
    size: int
    mtime: datetime


@dataclass(frozen=True, slots=True)
class Document:
    """A document as it was read."""

    name: str
    path: str
    text: str
    sha256: str
    """Of its bytes."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    row: bool = False


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A document without a text, and why."""

    path: str
    code: str
    message: str


def find_documents(patterns: Sequence[str], roots: Sequence[str]) -> Iterator[Found]:
    """The files that match any of ``patterns`` (absolute, or relative to each root), by name, each once.

    Raises InputRefused: a root that is not there, more than ``MOST_DOCUMENTS``.
    """
    found: dict[str, Found] = {}
    for root in roots:
        if not Path(root).is_dir():
            raise InputRefused([Problem(0, "documents", "unreadable", f"{root}: not there")])
        for pattern in patterns:
            inside = os.path.relpath(pattern, root) if Path(pattern).is_absolute() else pattern
            if inside.startswith(".."):
                continue
            for path in Path(root).glob("**/*" if inside == "." else inside):
                if path.is_file():
                    about = path.stat()
                    name = str(path.relative_to(root))
                    at = datetime.fromtimestamp(about.st_mtime, tz=UTC)
                    found[name] = Found(str(path), root, name, about.st_size, at)
                    if len(found) > MOST_DOCUMENTS:
                        told = f"more than {MOST_DOCUMENTS:,} documents match; give narrower patterns"
                        raise InputRefused([Problem(0, "documents", "too_large", told)])
    yield from (found[name] for name in sorted(found))


def read_all(found: Found) -> Iterator[Document | Unreadable]:
    """What the file says, or why it says nothing."""
    real, root = os.path.realpath(found.path), os.path.realpath(found.root)
    if not real.startswith(f"{root}/"):
        yield Unreadable(found.path, "outside_root", f"leads to {real}, outside {found.root}")
        return
    if found.size > MOST_BYTES:
        yield Unreadable(found.path, "too_large", f"{found.size:,} bytes")
        return
    try:
        sha256 = hashlib.sha256(Path(real).read_bytes()).hexdigest()
        text = read_text(Path(real))
    except InputRefused as error:
        yield Unreadable(found.path, "unreadable", error.problems[0].message)
        return
    except OSError as error:
        yield Unreadable(found.path, "unreadable", error.strerror or str(error))
        return
    if not text.strip():
        yield Unreadable(found.path, "empty", "the file is empty")
        return
    yield Document(found.name, found.path, text, sha256)

"""Files that match a pattern and are no documents: what somebody excludes, and what programs leave lying about."""

import fnmatch
import re
import stat
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Literal

from worker.documents.patterns import compiled

Reason = Literal["excluded", "litter", "special", "unsettled"]
"""Why a file is left out: somebody excludes it, a program made it for itself, it is no plain file, or was changed just now."""
OmissionCounts = Counter[Reason]

_WORDS: Mapping[Reason, str] = {
    "excluded": "excluded",
    "litter": "of other programs (such as Thumbs.db)",
    "special": "sockets, pipes or devices",
    "unsettled": "changed just now, and left to the next time",
}


def omissions(left_out: Mapping[Reason, int]) -> str:
    """Left-out files in words, by reason.

    >>> omissions(Counter({"excluded": 3, "litter": 1}))
    '3 excluded, 1 of other programs (such as Thumbs.db)'
    """
    return ", ".join(
        f"{left_out[reason]:,} {words}" for reason, words in _WORDS.items() if left_out.get(reason)
    )


_LITTER = (
    "~$*",  # Word, Excel and PowerPoint: somebody has the document open
    ".~lock.*#",  # LibreOffice: the same
    "._*",  # macOS: what another file system cannot hold of a file
    ".ds_store",
    "thumbs.db",
    "ehthumbs.db",
    "desktop.ini",
    "icon\r",
    "*~",  # editors: the text before it was changed
    "#*#",  # Emacs: what is not saved yet
    ".#*",
    ".*.sw[a-p]",  # Vim
    "*.crdownload",  # browsers: half a download
    "*.part",
    "*.partial",
)
_LITTER_FOLDERS = frozenset({"__macosx", "@eadir", "$recycle.bin", "system volume information"})


def is_litter(name: str) -> bool:
    """Whether programs make files of this name (relative to its root) for themselves.

    >>> [is_litter(name) for name in ("a/~$b.docx", "a/Thumbs.db", "__MACOSX/b.txt", "b.txt~", "b.pdf.part", "a/~b.txt")]
    [True, True, True, True, True, False]
    """
    *folders, last = name.lower().split("/")
    return any(fnmatch.fnmatchcase(last, pattern) for pattern in _LITTER) or bool(
        _LITTER_FOLDERS.intersection(folders)
    )


def is_special(path: str) -> bool:
    """Whether this is a socket, a pipe or a device, none of which is a document. A broken link is not special."""
    try:
        mode = Path(path).stat().st_mode
    except (OSError, ValueError):
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def is_excluded(path: str, name: str, patterns: Sequence[str]) -> bool:
    """Whether one of ``patterns`` leaves out the file at ``path``, whose name relative to its root is ``name``.

    A pattern matches the end of a path: a name, or a name with folders above it; one that begins with ``/`` or a scheme
    matches from the beginning. A folder below the root that matches leaves out all that is in it.

    >>> def excluded(name, *patterns):
    ...     return is_excluded(f"/srv/drafts/in/{name}", name, patterns)
    >>> excluded("a/drafts/b.txt", "drafts"), excluded("a/b.tmp", "*.tmp"), excluded("a/b.txt", "drafts")
    (True, True, False)
    >>> excluded("old/2024/b.txt", "in/old/**"), excluded("old/2024/b.txt", "old/*.txt"), excluded("b.txt", "/srv/b.txt")
    (True, False, False)
    """
    root, parts = path[: -len(name)], name.split("/")
    ways = [root + "/".join(parts[:depth]) for depth in range(1, len(parts) + 1)]
    return any(regex.fullmatch(way) for regex in map(_excluding, patterns) for way in ways)


@lru_cache(maxsize=256)
def _excluding(pattern: str) -> re.Pattern[str]:
    plain = pattern.rstrip("/")
    within = compiled(plain, hidden=True).pattern
    whole = plain.startswith("/") or "://" in plain
    return re.compile(f"{'/?' if whole else '(?:.*/)?'}{within}", re.DOTALL)


def omission_reason(path: str, name: str, exclude: Sequence[str], *, literal: bool) -> Reason | None:
    """Why a file is left out, or None. ``literal``: a pattern names this very file, so that it is no litter."""
    if is_excluded(path, name, exclude):
        return "excluded"
    if literal:
        return None
    if is_litter(name):
        return "litter"
    return "special" if path.startswith("/") and is_special(path) else None

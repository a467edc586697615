"""Which documents are there? Files that match patterns, under configured roots and never outside them.

A root is a folder, or a prefix in a bucket (``s3://bucket/inbox``; fsspec, ``worker.documents.buckets``). Links are followed
as long as what they lead to lies under a root; one that leads outside is found all the same, so that reading it says so.
"""

import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from worker.documents.leave_out import OmissionCounts, Reason, omission_reason
from worker.documents.names import document_name, spelled, unspelled
from worker.documents.patterns import MAGIC, compiled, matches
from worker.errors import DocumentRefused, InputRefused, Problem
from worker.records import record

MOST_DOCUMENTS = 200_000
MOST_ENTRIES = 2_000_000
"""Files and folders looked at; a pattern that begins too high up is refused, instead of a walk without end."""
DEEPEST = 64
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)


@record
class DocumentFile:
    """A document that is there, not yet read."""

    path: str
    """Absolute; of a bucket its URL. As ``names.document_name`` spells it, so that it can be stored and shown."""
    root: str
    name: str
    """Relative to the root, with ``/``: what identifies it from one night to the next. Spelled in the same way."""
    size: int
    """Bytes."""
    mtime: datetime
    """UTC."""
    file: str
    """What opens it: the path as the file system has it, or its URL."""


def is_remote(path: str) -> bool:
    """Whether this is a URL that fsspec reads.

    >>> is_remote("s3://bucket/inbox"), is_remote("inbox/*.pdf")
    (True, False)
    """
    return bool(_SCHEME.match(path))


def absolute(pattern: str, base: Path) -> str:
    """The pattern as it is stored: beginning at the root of the file system, ``..`` and ``~`` resolved; a URL as it is."""
    if is_remote(pattern):
        return pattern
    return os.path.normpath(base / Path(pattern).expanduser())


def fixed_part(pattern: str) -> str:
    """The folder at which a pattern begins to vary.

    >>> fixed_part("/srv/inbox/**/*.pdf"), fixed_part("s3://bucket/in/*.txt")
    ('/srv/inbox', 's3://bucket/in')
    """
    magic = MAGIC.search(pattern)
    if magic is None:
        return pattern.rstrip("/") or "/"
    fixed = pattern[: magic.start()].rpartition("/")[0]
    return fixed or "/"


def roots_of(patterns: Iterable[str], base: Path) -> tuple[str, ...]:
    """The roots of patterns without ``--root``: where each begins to vary; of a plain file its folder."""
    roots: list[str] = []
    for pattern in patterns:
        whole = absolute(pattern, base)
        root = fixed_part(whole)
        if not is_remote(whole) and not MAGIC.search(whole) and not Path(whole).is_dir():
            root = str(Path(whole).parent)
        if root not in roots:
            roots.append(root)
    return tuple(roots)


def find_documents(
    patterns: Sequence[str],
    roots: Sequence[str | Path],
    *,
    exclude: Sequence[str] = (),
    left_out: OmissionCounts | None = None,
) -> Iterator[DocumentFile]:
    """The files that match any of ``patterns``, by name, each once.

    A pattern is absolute, a URL, or relative to each root; ``*`` and ``?`` stay within one folder, ``**`` is any number
    of folders, a folder alone means all that is in it. Names that begin with a dot match only where the pattern says so.
    Files that match ``exclude`` are left out, and files that programs make for themselves (``worker.documents.leave_out``);
    ``left_out`` counts them once all documents are found, which is before the first is yielded.
    Raises InputRefused: a pattern outside all roots, a root that is not there, more than ``MOST_DOCUMENTS``.
    """
    allowed = tuple(str(root) for root in roots)
    files: dict[str, DocumentFile] = {}
    omitted: dict[str, Reason] = {}
    for root in allowed:
        mine = [relative for pattern in patterns if (relative := _relative(pattern, root)) is not None]
        if not mine:
            continue
        for file in _under(root, mine):
            name = unspelled(file.name)
            reason = omission_reason(file.file, name, exclude, literal=name in mine)
            if reason is not None:
                omitted[file.path] = reason
                continue
            other = files.setdefault(file.name, file)
            if other.path != file.path and _real(other.file) != _real(file.file):
                message = f"{file.name} is there twice, as {other.path} and {file.path}; give --root, a folder above both"
                raise InputRefused([Problem(0, "documents", "duplicate_document", message)])
            if len(files) > MOST_DOCUMENTS:
                message = f"more than {MOST_DOCUMENTS:,} documents match; give narrower patterns"
                raise InputRefused([Problem(0, "documents", "too_large", message)])
    for pattern in patterns:
        if all(_relative(pattern, root) is None for root in allowed):
            message = (
                f"{spelled(pattern)}: outside the roots ({spelled(', '.join(allowed)) or 'none is set'})"
            )
            raise InputRefused([Problem(0, "documents", "outside_root", message)])
    if left_out is not None:
        left_out.update(omitted.values())
    yield from (files[name] for name in sorted(files))


def names_document(pattern: str, path: Path) -> bool:
    """Whether a file at ``path``, which need not be there, would match an absolute pattern.

    >>> names_document("/in/**/*.txt", Path("/in/a/b.txt")), names_document("/in/*.txt", Path("/in/b.csv"))
    (True, False)
    """
    if is_remote(pattern):
        return False
    root = fixed_part(pattern)
    if not Path(root).is_dir():
        root = str(Path(root).parent)
    relative = _relative(pattern, root)
    real, real_root = os.path.realpath(path), os.path.realpath(root)
    if relative is None or not _inside(real, real_root):
        return False
    return matches(_spread(root, relative), os.path.relpath(real, real_root))


def open_inside(file: DocumentFile) -> int:
    """A file descriptor of the document, opened so that no link on the way can lead outside its root, whatever is
    changed meanwhile. Raises DocumentRefused with ``outside_root`` or ``unreadable``.
    """
    root = os.path.realpath(file.root)
    real = os.path.realpath(file.file)
    if not _inside(real, root):
        raise DocumentRefused(
            file.path, "outside_root", f"leads to {spelled(real)}, outside {spelled(file.root)}"
        )
    folder = -1
    try:
        folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        *above, last = os.path.relpath(real, root).split("/")
        for name in above:
            deeper = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
            os.close(folder)
            folder = deeper
        opened = os.open(last, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except OSError as error:
        raise DocumentRefused(file.path, "unreadable", error.strerror or str(error)) from error
    finally:
        if folder >= 0:
            os.close(folder)
    if not stat.S_ISREG(os.fstat(opened).st_mode):
        os.close(opened)
        raise DocumentRefused(file.path, "unreadable", "no plain file")
    return opened


def _under(root: str, patterns: Sequence[str]) -> Iterator[DocumentFile]:
    if is_remote(root):
        from worker.documents.buckets import listed  # fsspec is an extra

        for one in listed(root):
            if any(matches(pattern, unspelled(one.name)) for pattern in patterns):
                yield one
        return
    if not Path(root).is_dir():
        message = f"{spelled(root)}: {'no folder' if Path(root).exists() else 'not there'}"
        raise InputRefused([Problem(0, "documents", "unreadable", message)])
    expressions = [(pattern, compiled(_spread(root, pattern))) for pattern in patterns]
    real_root = os.path.realpath(root)
    starts = {_start(root, pattern) for pattern in patterns}
    starts = {one for one in starts if not any(one != other and _inside(one, other) for other in starts)}
    budget = [MOST_ENTRIES]
    for start in sorted(starts):
        for path in _walk(start, real_root, budget):
            name = os.path.relpath(path, root)
            if any(regex.fullmatch(name) for _, regex in expressions):
                yield _file(path, root, name)


def _start(root: str, pattern: str) -> str:
    fixed = fixed_part(pattern) if "/" in pattern or not MAGIC.search(pattern) else ""
    if fixed in {"", "/"} or pattern == ".":
        return root
    path = os.path.normpath(f"{root}/{fixed}")
    return path if Path(path).is_dir() else str(Path(path).parent)


def _spread(root: str, pattern: str) -> str:
    """A folder alone means all that is in it."""
    if pattern == ".":
        return "**"
    if not MAGIC.search(pattern) and (Path(root) / pattern).is_dir():
        return f"{pattern.rstrip('/')}/**"
    return pattern


def _walk(folder: str, real_root: str, budget: list[int]) -> Iterator[str]:
    """All files below, links included; a folder that is a link is entered where it leads under the root, and no folder
    is entered from within itself."""
    todo: list[tuple[str, frozenset[str]]] = [(folder, frozenset())]
    while todo:
        here, above = todo.pop()
        real = os.path.realpath(here)
        if real in above or len(above) > DEEPEST:
            continue
        if not _inside(real, real_root):
            yield here  # reading it says that it leads outside
            continue
        try:
            with os.scandir(here) as entries:
                for entry in entries:
                    budget[0] -= 1
                    if budget[0] < 0:
                        message = f"{spelled(folder)}: more than {MOST_ENTRIES:,} files and folders; give narrower patterns"
                        raise InputRefused([Problem(0, "documents", "too_large", message)])
                    if _is_folder(entry):
                        todo.append((entry.path, above | {real}))
                    else:
                        yield entry.path
        except OSError:
            yield here  # a folder that may not be read is told as a document that cannot be


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether to enter it. A link that leads in a circle or past what may be read is a document that cannot be read."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def _file(path: str, root: str, name: str) -> DocumentFile:
    try:
        about = Path(path).stat()
        size, mtime = about.st_size, about.st_mtime
    except OSError:
        size, mtime = 0, 0.0
    when = datetime.fromtimestamp(mtime, tz=UTC)
    return DocumentFile(document_name(path), root, document_name(name), size, when, path)


def _relative(pattern: str, root: str) -> str | None:
    """The pattern below this root; None where it lies elsewhere."""
    if is_remote(pattern) or is_remote(root):
        if not (is_remote(pattern) and is_remote(root)):
            return None if pattern.startswith("/") or is_remote(pattern) else pattern
        base = root.rstrip("/")
        if pattern.rstrip("/") == base:
            return "**"
        return pattern[len(base) + 1 :] if pattern.startswith(f"{base}/") else None
    if not Path(pattern).is_absolute():
        relative = os.path.normpath(pattern)
        return None if relative == ".." or relative.startswith("../") else relative
    whole, base = os.path.normpath(pattern), os.path.normpath(root)
    if whole == base:
        return "."
    return whole[len(base.rstrip("/")) + 1 :] if whole.startswith(f"{base.rstrip('/')}/") else None


def _inside(path: str, root: str) -> bool:
    return path == root or path.startswith(f"{root.rstrip('/')}/")


def _real(path: str) -> str:
    return path if is_remote(path) else os.path.realpath(path)

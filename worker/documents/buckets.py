"""Which documents lie in a bucket, and what are their bytes? The same as a folder, through fsspec (``caravan-ollama[s3]``).

Imported only where a root is a URL. Credentials are found as the file system finds them (for s3: environment, profile, role).
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from worker.documents.names import document_name
from worker.documents.sources import MOST_ENTRIES, DocumentFile
from worker.errors import DocumentRefused, InputRefused, Problem, in_words
from worker.extras import require


def listed(root: str) -> Iterator[DocumentFile]:
    """Everything under ``root``. Raises InputRefused where it cannot be listed."""
    system, base = _system(root)
    try:
        entries = system.find(base, detail=True)
    except Exception as error:  # each file system raises its own
        raise _unreadable(root, error) from error
    if len(entries) > MOST_ENTRIES:
        message = f"{root}: more than {MOST_ENTRIES:,} objects; give a longer prefix"
        raise InputRefused([Problem(0, "documents", "too_large", message)])
    prefix = f"{base.rstrip('/')}/"
    for path, about in sorted(entries.items()):
        if not path.startswith(prefix):
            continue
        name = path[len(prefix) :]
        if ".." in name.split("/"):
            continue
        url = f"{root.rstrip('/')}/{name}"
        size = int(about.get("size") or 0)
        yield DocumentFile(document_name(url), root, document_name(name), size, _modified(about), url)


def fetched(source: DocumentFile, most: int) -> bytes:
    """The object's bytes. Raises DocumentRefused."""
    if not source.file.startswith(f"{source.root.rstrip('/')}/") or ".." in source.file.split("/"):
        raise DocumentRefused(source.path, "outside_root", f"outside {source.root}")
    try:
        system, path = _system(source.file)
        with system.open(path, "rb") as file:
            data: bytes = file.read(most + 1)
    except Exception as error:
        raise DocumentRefused(source.path, "unreadable", in_words(error)) from error
    if len(data) > most:
        raise DocumentRefused(source.path, "too_large", f"more than {most:,} bytes")
    return data


def _system(url: str) -> tuple[Any, str]:
    """Raises ExtraMissing where s3fs is not installed, InputRefused where another scheme's file system is not."""
    scheme = url.partition("://")[0].lower()
    if scheme in {"file", "local", "http", "https", "ftp", "reference", "simplecache", "filecache"}:
        message = f"{url}: documents are read from folders and buckets (s3://…), not from {scheme}://"
        raise InputRefused([Problem(0, "documents", "unreadable", message)])
    require(
        "s3", f"{url}: reading a bucket", *(("fsspec", "s3fs") if scheme in {"s3", "s3a"} else ("fsspec",))
    )
    import fsspec

    try:
        system, path = fsspec.core.url_to_fs(url)
    except ImportError as error:
        message = f"{url}: the file system of {scheme}:// is not installed: {error}"
        raise InputRefused([Problem(0, "documents", "unreadable", message)]) from error
    except ValueError as error:
        raise _unreadable(url, error) from error
    return system, str(path)


def _modified(about: dict[str, Any]) -> datetime:
    modified = about.get("LastModified") or about.get("mtime") or about.get("created")
    if isinstance(modified, datetime):
        return modified.astimezone(UTC) if modified.tzinfo else modified.replace(tzinfo=UTC)
    return (
        datetime.fromtimestamp(float(modified), tz=UTC)
        if isinstance(modified, int | float)
        else datetime(1970, 1, 1, tzinfo=UTC)
    )


def _unreadable(url: str, error: Exception) -> InputRefused:
    return InputRefused([Problem(0, "documents", "unreadable", f"{url}: {in_words(error)}")])

"""The files that a command writes: looked at before anything runs, remembered when they are written."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from worker.exports.outputs import Outputs, database_files
from worker.settings import Settings
from worker.storage.engine import database_url

Force = Annotated[
    bool,
    typer.Option("--force", help="Replace files that Caravan did not write, or that were changed since."),
]


def outputs_of(
    settings: Settings,
    *,
    force: bool = False,
    documents: list[str] | None = None,
    **inputs: "Path | str | None",
) -> Outputs:
    """What this command may write. ``inputs``: the options that name a file it reads; a text names one by ``@FILE``,
    or ``file:PATH``."""
    files = {
        "the settings file": settings.config or settings.home / "caravan.toml",
        **database_files(_database_file(settings)),
    }
    for name, value in inputs.items():
        path = _file_of(value)
        if path is not None:
            files["the input" if name == "file" else f"the file of --{name.replace('_', '-')}"] = path
    return Outputs(settings.home, force, files, _among(documents or []))


def _database_file(settings: Settings) -> Path | None:
    url = database_url(settings.database)
    if url.get_backend_name() != "sqlite" or not url.database or url.database == ":memory:":
        return None
    return Path(url.database)


def _file_of(value: "Path | str | None") -> Path | None:
    if isinstance(value, str):
        for prefix in ("file:", "@"):
            if value.startswith(prefix) and not value.startswith("@@"):
                return Path(value.removeprefix(prefix))
        return None
    return None if value is None or str(value) == "-" else value


class _among:  # noqa: N801 - a function with a state
    """Whether a path is among the documents of these patterns."""

    def __init__(self, patterns: list[str]) -> None:
        self._patterns = patterns

    def __call__(self, path: Path) -> bool:
        if not self._patterns:
            return False
        from worker.documents.sources import absolute, names_document

        return any(names_document(absolute(pattern, Path.cwd()), path) for pattern in self._patterns)


@contextmanager
def written(outputs: Outputs, path: Path, *, later: str | None = None) -> Iterator[None]:
    """Write ``path`` within the block: it is looked at once more, and remembered. Raises InputRefused; OSError that
    names the file, and says with ``later`` how what it should hold can be written another time."""
    try:
        outputs.check(path)
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        words = error.strerror or str(error)
        if error.errno == errno.EFBIG:
            words = f"{words} (a limit of this process, ulimit -f)"
        if later is not None:
            words = f"{words}. The answers are stored; write them with: {later}"
        raise OSError(error.errno, words, str(path)) from error
    outputs.remember(path)

"""Images that a row names by a file: ``"file:photo.png"`` in ``images`` becomes the base64 of what the file holds."""

import base64
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

MARK = "file:"
MOST_BYTES = 32 * 1024 * 1024
"""Of one file; as base64 a third more, and a line has 64 MiB."""


_BEGINNINGS = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM")
"""PNG, JPEG, GIF and BMP; WebP has its mark behind its length."""


class NoImage(ValueError):
    """A file that cannot be an image of a row; the text says which and why."""


def is_image(content: bytes) -> bool:
    """Whether these bytes begin like an image that hosts read."""
    return content.startswith(_BEGINNINGS) or content[8:12] == b"WEBP"


def names_files(raw: bytes) -> bool:
    """Whether a line may name a file, as far as can be told without reading it."""
    return b'"file:' in raw


def image_names(values: Mapping[str, Any], columns: Iterable[str]) -> list[str]:
    """The images of a row, as names of files: the paths in ``columns``. An empty cell names no image.

    >>> image_names({"photo": "a.png", "back": " "}, ["photo", "back"])
    ['file:a.png']
    """
    paths = (str(values.get(column) or "").strip() for column in columns)
    return [path if path.startswith(MARK) else f"{MARK}{path}" for path in paths if path]


def with_image_files(job: Mapping[str, Any], folder: Path | None) -> dict[str, Any]:
    """A job whose images are base64, in place of names of files; those are looked for in ``folder``, then in the working
    directory. Raises NoImage.
    """
    made = dict(job)
    if isinstance(job.get("images"), list):
        made["images"] = [_image(image, folder) for image in job["images"]]
    if isinstance(job.get("messages"), list):
        made["messages"] = [
            {**message, "images": [_image(image, folder) for image in message["images"]]}
            if isinstance(message, Mapping) and isinstance(message.get("images"), list)
            else message
            for message in job["messages"]
        ]
    return made


def _image(value: Any, folder: Path | None) -> Any:
    if not isinstance(value, str) or not value.startswith(MARK):
        return value
    named = Path(value.removeprefix(MARK).removeprefix("//")).expanduser()
    places = [named] if folder is None else [folder / named, named]
    try:
        path = next((place for place in places if place.is_file()), None)
        if path is None:
            elsewhere = folder is not None and not named.is_absolute() and folder.resolve() != Path.cwd()
            beside = f", neither in {folder} nor here" if elsewhere else ""
            raise NoImage(f"images: no file {str(named)[:300]}{beside}")
        if path.stat().st_size > MOST_BYTES:
            raise NoImage(f"images: {path}: more than {MOST_BYTES // 2**20} MiB")
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        if isinstance(error, NoImage):
            raise
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise NoImage(f"images: {str(named)[:300]} cannot be read: {reason}") from error
    if not content:
        raise NoImage(f"images: {path} is empty")
    if not is_image(content):
        raise NoImage(f"images: {path} is not a PNG, JPEG, WebP, GIF or BMP image; hosts read no others")
    return base64.b64encode(content).decode("ascii")

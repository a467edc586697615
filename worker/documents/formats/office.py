"""Outlook messages, by kreuzberg.

kreuzberg is given bytes and a kind. Its own cache and its recognition of pictures are off: it writes nothing and fetches nothing.
"""

from typing import Any

from worker.documents.formats.limits import Content, Refused, check_size, clean, content

_METADATA = ("title", "authors", "subject", "keywords", "language", "created_at", "modified_at")


def read_office(data: bytes, media_type: str) -> Content:
    """The text of the message. Raises Refused, ModuleNotFoundError."""
    result = _extracted(data, media_type)
    check_size(len(result.content))
    return content(clean(result.content), metadata=_metadata(dict(result.metadata)))


def _extracted(data: bytes, media_type: str) -> Any:
    from kreuzberg import ExtractionConfig, KreuzbergError, extract_bytes_sync

    # Markdown would join the lines of a mail
    config = ExtractionConfig(  # type: ignore[call-arg, unused-ignore]
        use_cache=False, disable_ocr=True, enable_quality_processing=False, output_format="plain"
    )
    try:
        return extract_bytes_sync(data, media_type, config)
    except KreuzbergError as error:
        raise Refused("unreadable", str(error)[:200]) from error


def _metadata(properties: dict[str, Any]) -> dict[str, Any]:
    return {name: properties[name] for name in _METADATA if properties.get(name)}

"""Bounds on what a host sends."""

from worker.records import record


@record
class Bounds:
    """Bytes, and levels of JSON. A host is not trusted: it may be something else behind the URL, or broken."""

    line_bytes: int = 16 * 1024 * 1024
    """One line of a stream. The last one carries ``context``: some 7 bytes a token, 2 MB for a full 262,144 window."""
    reply_bytes: int = 32 * 1024 * 1024
    """All text of one reply."""
    probe_bytes: int = 16 * 1024 * 1024
    error_bytes: int = 64 * 1024
    json_depth: int = 64
    json_nodes: int = 500_000
    """Texts and brackets of one line, or of one answer of the small endpoints: some tens a model."""

"""Bounds on what a host sends: it is not trusted, since it may be something else behind the URL, or broken."""

LINE_BYTES = 16 * 1024 * 1024
"""One line of a stream. The last one carries ``context``: some 7 bytes a token, 2 MB for a full 262,144 window."""
REPLY_BYTES = 32 * 1024 * 1024
"""All text of one reply."""
PROBE_BYTES = 16 * 1024 * 1024
ERROR_BYTES = 64 * 1024
JSON_DEPTH = 64
JSON_NODES = 500_000
"""Texts and brackets of one line, or of one answer of the small endpoints: some tens a model."""

"""The stream of ``POST /api/generate`` → Reply."""

from typing import Any

from worker.replies.stream import TextReader


class ReplyReader(TextReader):
    """``response`` and ``thinking`` stand in the record itself."""

    def _pieces(self, record: dict[str, Any], line: bytes) -> tuple[Any, Any]:
        return record.get("response", ""), record.get("thinking", "")

"""The stream of ``POST /api/chat`` → Reply."""

from typing import Any

from worker.replies.stream import TextReader
from worker.replies.wording import bad_reply


class ChatReader(TextReader):
    """``content``, ``thinking`` and ``tool_calls`` stand in the ``message`` of a record."""

    def _pieces(self, record: dict[str, Any], line: bytes) -> tuple[Any, Any]:
        message = record.get("message")
        if message is None:
            return "", ""
        if not isinstance(message, dict):
            raise bad_reply("a message that is no object", line)
        if message.get("tool_calls") is not None:
            self._keep_calls(message["tool_calls"], line)
        return message.get("content", ""), message.get("thinking", "")

"""``POST /api/chat``: a conversation, and its next turn."""

from worker.kinds.chat.kind import Chat

__all__ = ["Chat"]

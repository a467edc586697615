"""``POST /api/embed``: one text, one vector; many in one call."""

from worker.kinds.embed.kind import Embed

__all__ = ["Embed"]

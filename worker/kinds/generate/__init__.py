"""``POST /api/generate``: one prompt, one text."""

from worker.kinds.generate.kind import Generate

__all__ = ["Generate"]

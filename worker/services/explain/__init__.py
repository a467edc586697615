"""Why does nothing move, what does this job wait for, and what costs the time? In words."""

from worker.services.explain.explained import Explained, explain
from worker.services.explain.reasons import moment, span, why_nothing_moves

__all__ = ["Explained", "explain", "moment", "span", "why_nothing_moves"]

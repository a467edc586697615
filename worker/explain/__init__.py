"""Why does nothing move, what does this job wait for, and what costs the time? In words."""

from worker.explain.explained import Explained, explain
from worker.explain.reasons import moment, span, why_nothing_moves

__all__ = ["Explained", "explain", "moment", "span", "why_nothing_moves"]

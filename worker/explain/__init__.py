"""Why does nothing move, what does this job wait for, and what costs the time? In words."""

from worker.explain.explained import Explained, explain
from worker.explain.reasons import moment, span, why_nothing_moves
from worker.explain.situation import Server

__all__ = ["Explained", "Server", "explain", "moment", "span", "why_nothing_moves"]

"""Recognises whether this request's ``context`` took the host down.

A token id that the model does not have aborts a whole older server (0.24 and before its ``llama-server``): the connection
drops without an answer, and nobody listens any more. A job that does this must not go on to the next host. But a host
may go down for its own reasons, and take down with it jobs whose context is good. So it is held against a request
only if all of this is so, and is the host's own death (``runner_died``) otherwise:

- it carried a ``context``, and the connection was dropped within ten seconds, before anything came;
- the host refuses connections since: the server is gone, not the machine or the way to it;
- no other request with a ``context`` was waiting for its first byte there at that time.
"""

import threading

from worker.ollama.calls import Call

WITHIN_SECONDS = 10.0
_TOGETHER_SECONDS = 1.0


class Suspects:
    """The calls with a ``context`` that wait for their first byte. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: set[Call] = set()
        self._dropped_at = float("-inf")

    def enter(self, call: Call) -> None:
        with self._lock:
            self._waiting.add(call)

    def leave(self, call: Call) -> None:
        with self._lock:
            self._waiting.discard(call)

    def is_alone(self, call: Call, *, now: float) -> bool:
        """``call`` was dropped at ``now``: whether no other could be what did it."""
        with self._lock:
            others = any(other is not call and other.first_byte_at is None for other in self._waiting)
            together = now - self._dropped_at < _TOGETHER_SECONDS
            self._dropped_at = now
            return not others and not together

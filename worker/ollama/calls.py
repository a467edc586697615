"""One request under way: how far it is, how long it may still wait, and how another thread ends it."""

import contextlib
import http.client
import socket
import threading
from typing import TYPE_CHECKING, Any

from worker.clock import Clock
from worker.domain.numbers import count_of
from worker.errors import Code
from worker.ollama.limits import Patience
from worker.records import record

if TYPE_CHECKING:
    from worker.replies.stream import Reader

_TAIL_SECONDS = 1.0
"""How long the end of a body may take after the last record; the connection is given up then, the reply is not."""


@record
class Verdict:
    """Why the request was ended from this side."""

    code: Code
    message: str


class Call:
    """A handle on one request. Its maker may ``abort`` it from any thread, at any time, and read its progress.

    ``started_at``, ``first_byte_at`` (of the reply's text, not of its headers) and ``last_byte_at`` are readings of the
    host's monotonic clock in seconds, None until then; ``chunks`` counts the records that came.
    """

    def __init__(self) -> None:
        self.started_at: float | None = None
        self.first_byte_at: float | None = None
        self.last_byte_at: float | None = None
        self.chunks = 0
        self.pace_mark: tuple[float, int] | None = None
        """When the pace was last found good, and the chunks that had come by then."""
        self.verdict: Verdict | None = None
        self.reader: Reader[Any] | None = None
        """What reads the reply; its ``partial`` is the text so far."""
        self.response: http.client.HTTPResponse | None = None
        """The one that comes in. Closed by urllib3 with its own, but not where the headers made none."""
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._clock: Clock | None = None
        self._patience: Patience | None = None
        self._until = 0.0
        self._ends_at: float | None = None
        """Of all its requests together: the deadline in total."""
        self._repeated = False
        self._tail = False
        self._silence_is_next = False

    def abort(self, code: Code = Code.CANCELLED, *, reason: str = "") -> None:
        """End the request now, whatever it waits for; ``generate`` then raises HostError with ``code``.

        A reply whose last record was read already is kept. The server sees the connection close and stops.
        """
        with self._lock:
            if self.verdict is None:
                self.verdict = Verdict(code, reason or "the request was given up")
            _shut(self._socket)

    def again(self) -> None:
        """Another request is made on this call. An abort holds for it too, and so does what is left of the total
        deadline; the others, and the pace, count again."""
        self.first_byte_at = self.last_byte_at = self.pace_mark = self.response = None
        self.chunks = 0
        self._tail = self._silence_is_next = False
        self._repeated = True

    # -- for the exchange that the call is made on ----------------------------------------------------------

    def start(self, patience: Patience, clock: Clock) -> None:
        self._patience, self._clock = patience, clock
        self.started_at = clock.monotonic()
        if self._ends_at is None:
            self._ends_at = self.started_at + patience.total
        self._until = min(self.started_at + patience.first_byte, self._ends_at)

    def take(self, sock: socket.socket) -> None:
        """From now on an abort closes ``sock``. Raises ConnectionAbortedError where one came before."""
        with self._lock:
            if self.verdict is not None:
                raise ConnectionAbortedError(self.verdict.message)
            self._socket = sock

    def let_go(self) -> bool:
        """From now on an abort closes nothing; False if one has closed the socket already.

        A connection goes back to the pool somewhere inside urllib3, and the next call may have it before this one's
        maker knows of the end. So the next call on a connection lets it go in the name of the last.
        """
        with self._lock:
            self._socket = None
            return self.verdict is None

    def first_byte(self) -> None:
        """The first text came: from here the time between reads counts, and the total."""
        assert self._clock is not None
        assert self._ends_at is not None
        self.first_byte_at = self.last_byte_at or self._clock.monotonic()
        self._until = self._ends_at

    def tail(self) -> None:
        """The last record came; only the end of the body is awaited."""
        assert self._clock is not None
        self._tail = True
        self._until = self._clock.monotonic() + _TAIL_SECONDS

    def wait_seconds(self) -> float:
        """How long the next read may wait. Raises TimeoutError when a deadline has passed."""
        assert self._clock is not None
        assert self._patience is not None
        patience, left = self._patience, self._until - self._clock.monotonic()
        streaming = self.first_byte_at is not None and not self._tail
        self._silence_is_next = streaming and patience.silence < left
        if left <= 0:
            self.ran_out()
            raise TimeoutError
        return patience.silence if self._silence_is_next else left

    def ran_out(self) -> None:
        """A read waited as long as it might: say which deadline it was."""
        patience = self._patience
        assert patience is not None
        if self._tail:
            return
        in_total = self._repeated and self._until == self._ends_at
        if self.first_byte_at is None and not in_total:
            seconds = min(patience.first_byte, patience.total)
            verdict = Verdict(patience.late, f"no reply within {seconds:g} s")
        elif self._silence_is_next:
            verdict = Verdict(
                patience.silent,
                f"nothing came for {patience.silence:g} s, after {count_of(self.chunks, 'chunk')}",
            )
        else:
            verdict = Verdict(patience.slow, f"the reply was not complete after {patience.total:g} s")
        with self._lock:
            if self.verdict is None:
                self.verdict = verdict

    def came(self) -> None:
        assert self._clock is not None
        self.last_byte_at = self._clock.monotonic()


def _shut(sock: socket.socket | None) -> None:
    """Wake whoever reads from ``sock``. Closing it would not wake a blocked read, and frees the number for another."""
    if sock is not None:
        with contextlib.suppress(OSError):
            # Not sock.shutdown: for TLS that takes the session from under the reader first.
            socket.socket.shutdown(sock, socket.SHUT_RDWR)

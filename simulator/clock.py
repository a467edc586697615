"""The clock of a simulated host, and its waits.

Everything waits through this clock, so that the same code runs in real time, a hundred times as fast, at once,
or on an event loop whose time jumps.
"""

import asyncio
import time
from datetime import UTC, datetime

COALESCE_SECONDS = 0.001
"""Waits shorter than this are not worth a timer: what falls due together is written together."""


ROUNDING_SECONDS = 1e-9
"""A rest of this size is what rounding left of a wait that is over."""


class Clock:
    """The time of one host. ``now`` is in seconds from anywhere; only differences mean something."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, time_scale: float, *, coalesce: float = COALESCE_SECONDS
    ) -> None:
        self._loop = loop
        self._scale = time_scale
        self._coalesce = coalesce
        self._skipped = 0.0
        self._wall_at_zero_ns = time.time_ns() - int(loop.time() * 1e9)
        self._second = -1
        self._second_text = ""

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        return self._loop

    def now(self) -> float:
        """The host's time. On a host that answers at once it runs ahead by every wait that was skipped."""
        return self._loop.time() + self._skipped

    def wall_ns(self) -> int:
        """Nanoseconds since 1970, following the event loop."""
        return self._wall_at_zero_ns + int(self._loop.time() * 1e9)

    def scaled(self, seconds: float) -> float:
        """How long something that takes a machine ``seconds`` lasts on this clock."""
        return seconds * self._scale if self._scale else seconds

    def skip(self, ahead: float) -> bool:
        """Whether a wait of ``ahead`` seconds is over without a timer: it is not positive, or this host never waits."""
        if not self._scale:
            self._skipped += max(0.0, ahead)
            return True
        return ahead <= max(self._coalesce, ROUNDING_SECONDS)

    async def sleep(self, seconds: float) -> None:
        """Let a wait of the machine pass; ``seconds`` are those of scale 1."""
        ahead = self.scaled(seconds)
        if not self.skip(ahead):
            await asyncio.sleep(ahead)

    def stamp(self) -> str:
        """Now, as Go writes it: RFC 3339 with nanoseconds, trailing zeros dropped, UTC."""
        return self.stamp_of(self.wall_ns())

    def stamp_of(self, nanoseconds: int) -> str:
        second, rest = divmod(nanoseconds, 1_000_000_000)
        if second != self._second:
            self._second = second
            self._second_text = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        fraction = f".{rest:09d}".rstrip("0").rstrip(".")
        return f"{self._second_text}{fraction}Z"

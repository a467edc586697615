"""The time a runner process lives in: it passes while it runs, stands still while it is stopped, ends when killed."""

import asyncio

from simulator.clock import Clock


class RunnerDied(Exception):
    """The runner process ended while something was waiting for it."""


class Process:
    """A runner's process. What it works at waits with :meth:`until`, in the process' own time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._dead = False
        self._stopped_since: float | None = None
        self._stood_still = 0.0
        self._sleepers: set[asyncio.Future[None]] = set()

    @property
    def dead(self) -> bool:
        return self._dead

    @property
    def stopped(self) -> bool:
        return self._stopped_since is not None

    def time(self) -> float:
        """Seconds of the host's clock in which this process ran."""
        until = self._clock.now() if self._stopped_since is None else self._stopped_since
        return until - self._stood_still

    async def work(self, seconds: float) -> None:
        """Be busy for ``seconds`` of a machine at scale 1.

        Raises:
            RunnerDied: the process was killed before.
        """
        await self.until(self.time() + self._clock.scaled(seconds))

    async def until(self, due: float) -> None:
        """Wait until the process' own time is ``due``.

        Raises:
            RunnerDied: the process was killed before.
        """
        while True:
            if self._dead:
                raise RunnerDied
            if self._stopped_since is None and self._clock.skip(due - self.time()):
                return
            sleeper = self._clock.loop.create_future()
            self._sleepers.add(sleeper)
            timer = None
            if self._stopped_since is None:
                timer = self._clock.loop.call_later(due - self.time(), _wake, sleeper)
            try:
                await sleeper
            finally:
                self._sleepers.discard(sleeper)
                if timer is not None:
                    timer.cancel()

    async def runs_within(self, seconds: float) -> bool:
        """Whether a ping would be answered within ``seconds``; a stopped process is waited for."""
        if self._stopped_since is not None and not self._dead:
            sleeper = self._clock.loop.create_future()
            self._sleepers.add(sleeper)
            timer = self._clock.loop.call_later(seconds, _wake, sleeper)
            try:
                await sleeper
            finally:
                self._sleepers.discard(sleeper)
                timer.cancel()
        return not self._dead and self._stopped_since is None

    def kill(self) -> None:
        self._dead = True
        self._wake_all()

    def stop(self) -> None:
        """Stand still, as after SIGSTOP."""
        if self._stopped_since is None:
            self._stopped_since = self._clock.now()
            self._wake_all()

    def go_on(self) -> None:
        """Continue after :meth:`stop`."""
        if self._stopped_since is not None:
            self._stood_still += self._clock.now() - self._stopped_since
            self._stopped_since = None
            self._wake_all()

    def _wake_all(self) -> None:
        for sleeper in self._sleepers:
            _wake(sleeper)


def _wake(sleeper: asyncio.Future[None]) -> None:
    if not sleeper.done():
        sleeper.set_result(None)

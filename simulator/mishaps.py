"""How a fault is acted out on the request it strikes."""

import asyncio
from collections.abc import Callable
from typing import Any

from simulator.clock import Clock
from simulator.failures import BUSY
from simulator.faults import Fault
from simulator.http import JSON, PLAIN_JSON, Reply
from simulator.process import Process, RunnerDied

PIECE = b"x" * 65_536


class Interruption(Exception):
    """An answer ends here: with an error line (``text``), a broken connection (``cut``), or just so."""

    def __init__(self, text: str | None = None, *, cut: bool = False) -> None:
        super().__init__(text)
        self.text = text
        self.cut = cut


async def acted_out_instead(fault: Fault, reply: Reply, error: Callable[[str, int], bytes]) -> bool:
    """Act out a fault that takes the place of the whole answer; False if it is of another kind."""
    match fault.kind:
        case "error":
            reply.send(fault.status, JSON, error(fault.text or "internal error", fault.status))
        case "busy":
            reply.send(503, JSON, error(BUSY, 503))
        case "redirect":
            reply.send(307, None, b"", location=fault.text or "http://127.0.0.1:9/api/generate")
        case "wrong_types":
            reply.send(
                200, JSON, b'{"model":7,"created_at":true,"response":["x"],"done":"true","eval_count":"many"}'
            )
        case "huge_body":
            reply.start(200, PLAIN_JSON)
            reply.chunk(b'{"model":"x","response":"')
            await _pour(reply, fault.size)
            reply.chunk(b'","done":true}')
            reply.finish()
        case _:
            return False
    return True


class Mishap:
    """A fault that strikes while the answer is being said."""

    def __init__(
        self, fault: Fault, clock: Clock, reply: Reply, process: Process, kill_server: Callable[[], None]
    ) -> None:
        self._fault = fault
        self._clock = clock
        self._reply = reply
        self._process = process
        self._kill_server = kill_server

    async def at(self, count: int) -> None:
        """Called before the piece number ``count`` (from 0) leaves.

        Raises:
            Interruption: the answer ends here.
            RunnerDied: the runner's process is gone.
        """
        fault = self._fault
        if fault.kind == "drip":
            await asyncio.sleep(fault.seconds)
            return
        if count != fault.after_chunks:
            return
        match fault.kind:
            case "hang":
                await self._hang(fault.seconds)
            case "crash":
                self._clock.loop.call_soon(self._kill_server)
                await self._hang(0)
            case "runner_death":
                self._process.kill()
                raise RunnerDied
            case "error_line":
                raise Interruption(fault.text or "an error was encountered while running the model")
            case "eof":
                raise Interruption
            case "cut":
                raise Interruption(cut=True)
            case "bad_json":
                self._begin()
                self._reply.chunk(b'{"model":"x","created_at":"2026-01-02T03:04:05Z","respon\n')
            case "endless_line":
                self._begin()
                self._reply.chunk(b'{"model":"x","response":"')
                await _pour(self._reply, fault.size)
                raise Interruption(cut=True)
            case _:
                pass

    def _begin(self) -> None:
        if not self._reply.started:
            self._reply.start(200, "application/x-ndjson")

    async def _hang(self, seconds: float) -> None:
        if seconds:
            await asyncio.sleep(seconds)
        else:
            await self._clock.loop.create_future()


async def _pour(reply: Reply, size: int) -> None:
    """Write ``size`` bytes no faster than the client takes them."""
    left = size
    while left > 0:
        reply.chunk(PIECE[:left])
        left -= len(PIECE)
        await reply.drained()


def fault_list(value: Any) -> tuple[Fault, ...]:
    """Read a list of faults from JSON.

    Raises:
        ValueError: it is no list of faults.
    """
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise ValueError("a fault script is a list of objects")
    return tuple(Fault.from_json(one) for one in value)

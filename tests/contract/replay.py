"""A scene played again: the same requests in the same order and overlap, the same interventions.

A request that was sent when another had ended is sent when that has ended here; one that was sent while another
was under way is sent as long after its start as recorded. So the overlap is the recorded one although the servers
are not equally fast.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from tests.contract.recording import LEFT_OUT, Exchange, Scene, line_count
from tests.contract.wire import Reply, Talk, Wire

RACE_MS = 5.0
"""Requests sent closer together than this reach a server in any order; they are sent in the order of their ends."""


class Intervention(Protocol):
    """What the recorder did to the server from outside, besides sending requests."""

    def kill_runner(self) -> None: ...

    def stop_runner(self) -> None: ...

    def continue_runner(self) -> None: ...

    def kill_server(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Act:
    """Done ``after_seconds`` after a request was sent, or, if ``after_lines`` is set, when so many lines are there."""

    do: Callable[[], None]
    after_seconds: float = 0.0
    after_lines: int | None = None


@dataclass(slots=True)
class Played:
    """An exchange as it went here. Times are seconds of the event loop."""

    exchange: Exchange
    sent: asyncio.Event = field(default_factory=asyncio.Event)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    sent_at: float = 0.0
    over_at: float = 0.0
    reply: Reply = field(default_factory=Reply)


async def play(scene: Scene, wire: Wire, intervention: Intervention) -> list[Played]:
    """Play a scene to its end."""
    played = [Played(exchange) for exchange in scene.exchanges]
    acts = _acts(scene, intervention)
    order = {one.exchange.number: one for one in played}
    async with asyncio.TaskGroup() as group:
        for one in played:
            group.create_task(_play_one(one, order, wire, acts.get(one.exchange.number, [])))
    return played


async def _play_one(one: Played, all_played: Mapping[int, Played], wire: Wire, acts: list[Act]) -> None:
    loop = asyncio.get_running_loop()
    await _wait_for_turn(one, all_played)
    timers: list[asyncio.TimerHandle] = []

    def count_lines(count: int) -> None:
        for act in acts:
            if act.after_lines == count:
                loop.call_soon(act.do)

    talk = Talk(wire, count_lines)
    one.sent_at = loop.time()
    one.sent.set()
    for act in acts:
        if act.after_lines is None:
            timers.append(loop.call_later(act.after_seconds, act.do))
    exchange = one.exchange
    if exchange.closed_by_client_ms is not None:
        lines = len(exchange.answer.lines) if exchange.answer else 0
        if lines:
            acts.append(Act(talk.hang_up, after_lines=lines))
        else:
            timers.append(
                loop.call_later((exchange.closed_by_client_ms - exchange.at_ms) / 1e3, talk.hang_up)
            )
    one.reply = await talk.run(exchange.method, exchange.path, exchange.body)
    one.over_at = loop.time()
    one.over.set()


async def _wait_for_turn(one: Played, all_played: Mapping[int, Played]) -> None:
    """Wait for what had ended before, then as long after the last thing before as recorded."""
    loop = asyncio.get_running_loop()
    at = one.exchange.at_ms
    last_ms, last_here = 0.0, 0.0
    for other in all_played.values():
        if other is one:
            continue
        if other.exchange.over_ms <= at and (other.exchange.at_ms, other.exchange.number) < (
            at,
            one.exchange.number,
        ):
            await other.over.wait()
            if other.exchange.over_ms >= last_ms:
                last_ms, last_here = other.exchange.over_ms, max(other.over_at, last_here)
        elif _before(other.exchange, one.exchange):
            await other.sent.wait()
            if other.exchange.at_ms >= last_ms:
                last_ms, last_here = other.exchange.at_ms, max(other.sent_at, last_here)
    due = last_here + max(0.0, at - last_ms) / 1e3
    if due > loop.time():
        await asyncio.sleep(due - loop.time())


def _before(one: Exchange, other: Exchange) -> bool:
    """Whether ``one`` is sent first. Of two sent almost together, that which was served first."""
    if abs(one.at_ms - other.at_ms) <= RACE_MS and one.over_ms > other.at_ms + RACE_MS:
        return (one.over_ms, one.number) < (other.over_ms, other.number)
    return one.at_ms < other.at_ms


def _acts(scene: Scene, intervention: Intervention) -> dict[int, list[Act]]:
    """What was done to the server in a scene, by the exchange it was done in."""
    if scene.name != "runner-dies":
        return {}

    def stop_for_a_while() -> None:
        intervention.stop_runner()
        asyncio.get_running_loop().call_later(4.0, intervention.continue_runner)

    acts: dict[int, list[Act]] = {}
    for exchange in scene.exchanges:
        lines = line_count(exchange.answer) if exchange.answer else 0
        label = exchange.label
        if label.startswith("streamed; runner killed"):
            act = Act(intervention.kill_runner, after_lines=lines - 1)
        elif label.startswith("not streamed; runner killed"):
            act = Act(intervention.kill_runner, after_seconds=2.0)
        elif label.startswith("runner killed while idle"):
            act = Act(intervention.kill_runner)
        elif label.startswith("streamed; runner stopped"):
            act = Act(stop_for_a_while, after_seconds=1.0, after_lines=_lines_before_silence(exchange))
        elif "server itself is killed" in label:
            act = Act(intervention.kill_server, after_lines=lines)
        else:
            continue
        acts[exchange.number] = [act]
    return acts


def _lines_before_silence(exchange: Exchange) -> int | None:
    """After how many lines the answer paused for seconds; None if it never did."""
    count, last = 0, None
    for at, text in exchange.answer.lines if exchange.answer else ():
        if at is not None and last is not None and at - last > 2_000:
            return count
        cut = LEFT_OUT.search(text) if at is None else None
        count += int(cut[1]) if cut else 1
        last = at if at is not None else last
    return None

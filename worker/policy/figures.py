"""Sums of results, loads and watts by batch, model, host, day or hour."""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from datetime import datetime, timedelta
from enum import StrEnum

from worker.domain.figures import Cell, Load, Power
from worker.records import mutable_record, record

HOUR = timedelta(hours=1)
_JOULES = 3_600_000.0
"""In a kilowatt hour."""


_ADDED = ("results", "succeeded", "failed", "cut", "empty", "unfit", "prompt_tokens", "output_tokens")


class By(StrEnum):
    """What the lines of a report stand for."""

    BATCH = "batch"
    MODEL = "model"
    HOST = "host"
    DAY = "day"
    HOUR = "hour"


@mutable_record
class Line:
    """One line of a report. ``idle_seconds`` is None where idleness belongs to nobody: to a batch, a model; ``kwh``
    where a host that was at work has no watts."""

    key: str
    results: int = 0
    succeeded: int = 0
    failed: int = 0
    cut: int = 0
    empty: int = 0
    unfit: int = 0
    prompt_tokens: int = 0
    output_tokens: int = 0
    eval_seconds: float = 0.0
    busy_seconds: float = 0.0
    loading_seconds: float = 0.0
    loads: int = 0
    idle_seconds: float | None = None
    kwh: float | None = 0.0

    @property
    def tokens_per_second(self) -> float | None:
        """The pace of one slot."""
        return self.output_tokens / self.eval_seconds if self.eval_seconds > 0 else None

    @property
    def load_share(self) -> float | None:
        """Of the seconds that the GPU had something to do, those that went into loading."""
        worked = self.busy_seconds + self.loading_seconds
        return self.loading_seconds / worked if worked > 0 else None

    @property
    def idle_share(self) -> float | None:
        """Of all seconds in the hours in which a host did something."""
        if self.idle_seconds is None:
            return None
        whole = self.busy_seconds + self.loading_seconds + self.idle_seconds
        return self.idle_seconds / whole if whole > 0 else None


@record
class _Part:
    """Some seconds of loading that belong to a batch, in an hour."""

    batch_id: int | None
    load: Load
    loads: int
    seconds: float


@record
class Figures:
    """A report: its lines in their order, and what they come to together."""

    lines: Sequence[Line]
    total: Line
    unknown_power: Sequence[str] = field(default=())
    """Hosts that were at work and whose watts nobody told."""


def figures(
    cells: Sequence[Cell],
    loads: Iterable[Load],
    *,
    by: By,
    power: Mapping[str, Power],
    whole: bool,
    now: datetime,
    names: Mapping[int, str] | None = None,
    beside: Sequence[Cell] = (),
) -> Figures:
    """Add up. ``beside`` is what other batches did: they bear their part of a load.
    ``whole``: these are all batches, so that what is left of an hour was idle; else nothing is said of it.

       kWh: seconds at work and of loading at a host's ``watts``; idle ones at its ``idle_watts`` where both are known.
    """
    total = Line("total")
    lines: dict[str, Line] = {}
    unknown: set[str] = set()
    names = names or {}

    def add(key: str, host: str) -> tuple[Line, Line]:
        if host not in power:
            unknown.add(host)
        return lines.setdefault(key, Line(key)), total

    spent: dict[tuple[datetime, str], float] = {}
    for cell in cells:
        spent[cell.hour, cell.host] = spent.get((cell.hour, cell.host), 0.0) + cell.gpu_seconds
        for line in add(_key(by, cell.batch_id, cell.hour, cell.model, cell.host, names), cell.host):
            for name in _ADDED:
                setattr(line, name, getattr(line, name) + getattr(cell, name))
            line.eval_seconds += cell.eval_seconds
            line.busy_seconds += cell.gpu_seconds
            _draw(line, cell.gpu_seconds, power.get(cell.host))
    for part in _shared(cells, loads, beside, whole=whole):
        load = part.load
        hour = _hour(load.started_at + timedelta(seconds=load.seconds))
        spent[hour, load.host] = spent.get((hour, load.host), 0.0) + part.seconds
        for line in add(_key(by, part.batch_id, hour, load.model, load.host, names), load.host):
            line.loads += part.loads
            line.loading_seconds += part.seconds
            _draw(line, part.seconds, power.get(load.host))
    if whole:
        _idle(lines, total, spent, by, power, now)
    if by is By.BATCH:
        order = {
            _key(by, batch, now, "", "", names): batch for batch in sorted({cell.batch_id for cell in cells})
        }
        ordered = sorted(lines.values(), key=lambda line: order.get(line.key, 0))
    else:
        ordered = sorted(lines.values(), key=lambda line: line.key)
    return Figures(ordered, total, tuple(sorted(unknown)))


def _key(by: By, batch: int | None, hour: datetime, model: str, host: str, names: Mapping[int, str]) -> str:
    match by:
        case By.BATCH:
            return "of none" if batch is None else f"{batch} {names.get(batch, '')}".rstrip()
        case By.MODEL:
            return model
        case By.HOST:
            return host
        case By.DAY:
            return f"{hour:%Y-%m-%d}"
        case By.HOUR:
            return f"{hour:%Y-%m-%d %H}:00"


def _shared(
    cells: Sequence[Cell], loads: Iterable[Load], beside: Sequence[Cell], *, whole: bool
) -> Iterable[_Part]:
    """A load belongs to the batches that its runner then worked for, by the seconds that they took of it. One that
    served nobody is of none of them, and told only in a report over all."""
    own = {cell.batch_id for cell in cells}
    places: dict[tuple[str, str], list[Cell]] = {}
    for cell in sorted((*cells, *beside), key=_hour_of):
        places.setdefault((cell.host, cell.model), []).append(cell)
    for load in loads:
        taken: dict[int, float] = {}
        there = places.get((load.host, load.model), [])
        for cell in there[bisect_left(there, _hour(load.started_at), key=_hour_of) :]:
            if load.ended_at is not None and cell.hour > load.ended_at:
                break
            taken[cell.batch_id] = taken.get(cell.batch_id, 0.0) + cell.gpu_seconds
        busy = sum(taken.values())
        if not busy:
            if whole:
                yield _Part(None, load, 1, load.seconds)
            continue
        first = max(taken, key=lambda batch: (taken[batch], -batch))
        for batch, seconds in taken.items():
            if batch in own:
                yield _Part(batch, load, int(batch == first), load.seconds * seconds / busy)


def _draw(line: Line, seconds: float, power: Power | None) -> None:
    if power is None:
        line.kwh = None
    elif line.kwh is not None:
        line.kwh += seconds * power.watts / _JOULES


def _idle(
    lines: Mapping[str, Line],
    total: Line,
    spent: Mapping[tuple[datetime, str], float],
    by: By,
    power: Mapping[str, Power],
    now: datetime,
) -> None:
    for (hour, host), seconds in spent.items():
        passed = min(HOUR, max(timedelta(0), now - hour)).total_seconds()
        idle = max(0.0, passed - seconds)
        parts = [total]
        if by in (By.HOST, By.DAY, By.HOUR):
            parts.append(lines[_key(by, None, hour, "", host, {})])
        for line in parts:
            line.idle_seconds = (line.idle_seconds or 0.0) + idle
            known = power.get(host)
            if line.kwh is not None and known is not None and known.idle_watts is not None:
                line.kwh += idle * known.idle_watts / _JOULES


def _hour_of(cell: Cell) -> datetime:
    return cell.hour


def _hour(at: datetime) -> datetime:
    return at.replace(minute=0, second=0, microsecond=0)

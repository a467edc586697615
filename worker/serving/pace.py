"""Learns how fast a runner key is here and on the other hosts; the newest observation counts most."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import field
from functools import lru_cache
from statistics import fmean

from worker.policy.parallel import MOST_UNSET, SAMPLES, Parallel, Waited, learn
from worker.records import mutable_record, record
from worker.serving.facts import memory_of
from worker.storage.paces import StoredPace

LOAD_WEIGHT = 0.5
"""Loads are few, and a warm page cache makes them ten times as fast: the last one counts half."""
SERVICE_WEIGHT = 0.05
LOAD_PRIOR, BYTES_PER_SECOND = 2.0, 1e9
"""A load that nobody has seen is taken to last 2 s and to read 1 GB/s."""
UNKNOWN_SIZE = 18e9
SERVICE_PRIOR = 5.0
"""Seconds: 200 tokens at 40 tokens/s. Too much is safer than too little, for deadlines."""
VECTOR_PRIOR = 0.05
"""Seconds of a text whose vector is wanted: many go in a call, and none is answered in words."""


@record
class Estimate:
    """What to expect of a runner key on a host of mean speed."""

    load_seconds: float
    service_seconds: float
    memory: int | None
    tried: bool
    """A job of it was seen somewhere."""


@mutable_record
class _Own:
    """What was seen of a key on this host."""

    load: float | None = None
    service: float | None = None
    memory: int | None = None
    jobs: int = 0
    parallel: Parallel | None = None
    waits: list[Waited] = field(default_factory=list)


_UNKNOWN = _Own()


class Paces:
    """Load and service seconds, memory and slots per runner key on ``host``, and what the other hosts saw.

    Only the thread that serves the host calls the methods.
    """

    def __init__(self, host: str = "") -> None:
        self._host = host
        self._own: dict[str, _Own] = {}
        self._elsewhere: list[StoredPace] = []
        self._by_key: dict[str, list[StoredPace]] = {}
        self._loads_of: dict[str, dict[str, float]] = {}
        self._unsaved: set[str] = set()
        self._speeds: dict[str, float] | None = None
        self.has_news = False
        """A key was seen for the first time: worth telling the other hosts at once."""

    def service_seconds(self, runner_key: str | None) -> float | None:
        """Seconds that one job keeps a slot here; None before one has."""
        own = None if runner_key is None else self._own.get(runner_key)
        return None if own is None else own.service

    def load_seconds(self, runner_key: str) -> float | None:
        """Seconds that a load of it takes here; None before one was seen."""
        own = self._own.get(runner_key)
        return None if own is None else own.load

    def slots(self, runner_key: str | None, *, limit: int, is_set: bool) -> int:
        """Jobs of the key that are sent at once: as many as were set, fewer where they were seen to wait."""
        own = None if runner_key is None else self._own.get(runner_key)
        known = None if own is None else own.parallel
        if known is None:
            return limit
        return min(known.slots, limit) if is_set else known.slots

    def add_job(self, runner_key: str, seconds: float) -> None:
        """One job of ``runner_key`` kept a slot for ``seconds``."""
        own = self._entry(runner_key, new=self.service_seconds(runner_key) is None)
        own.jobs += 1
        weight = max(SERVICE_WEIGHT, 1 / (own.jobs + 2))
        own.service = seconds if own.service is None else own.service + weight * (seconds - own.service)

    def add_load(self, runner_key: str, seconds: float, memory: int | None = None) -> None:
        """A load of ``runner_key`` took ``seconds``, and the runner takes ``memory`` bytes."""
        own = self._own.get(runner_key)
        own = self._entry(runner_key, new=own is None or own.load is None)
        own.load = seconds if own.load is None else own.load + LOAD_WEIGHT * (seconds - own.load)
        own.memory = memory or own.memory

    def add_waits(self, runner_key: str, waits: Iterable[Waited], *, limit: int, is_set: bool) -> int | None:
        """Answers that were given while all its slots were in use. Returns how many slots it has now, where that
        changed."""
        own = self._own.setdefault(runner_key, _Own())
        known = own.parallel or Parallel(limit)
        own.waits += waits
        if len(own.waits) % SAMPLES:
            return None
        learned = learn(known, own.waits, most=limit if is_set else MOST_UNSET)
        if learned == known:
            own.waits = own.waits[-64:]
            return None
        own.parallel, own.waits = learned, []
        self._unsaved.add(runner_key)
        return learned.slots

    def _entry(self, runner_key: str, *, new: bool) -> _Own:
        if new:
            self.has_news = True
        self._unsaved.add(runner_key)
        self._speeds = None
        return self._own.setdefault(runner_key, _Own())

    # -- what is expected ----------------------------------------------------------------------------------------

    def estimate(
        self, runner_key: str, *, size: int | None = None, service: float = SERVICE_PRIOR
    ) -> Estimate:
        """What was seen of it here and elsewhere; ``size`` is the model's on disk, in bytes, for the load that nobody saw:
        the runner takes that much, and its window. ``service``: the seconds of a job that nobody saw."""
        others, own = self._by_key.get(runner_key, ()), self._own.get(runner_key)
        if own is None and not others:
            return _guess(size, service)
        own = own or _UNKNOWN
        loads = [pace.load_seconds for pace in others if pace.load_seconds is not None]
        if own.load is not None:
            loads.append(own.load)
        services = [
            pace.service_seconds * self.speed(pace.host)
            for pace in others
            if pace.service_seconds is not None
        ]
        if own.service is not None:  # exact for this host; for the others their speed makes up the difference
            services = [own.service * self.speed(self._host)]
        return Estimate(
            load_seconds=fmean(loads) if loads else _guess(size, service).load_seconds,
            service_seconds=fmean(services) if services else service,
            memory=memory_of(
                own.memory, (pace.memory for pace in others if pace.memory is not None), size=size
            ),
            tried=bool(services),
        )

    def loads(self, host: str) -> Mapping[str, float]:
        """Runner key → seconds that a load of it takes on ``host``, where one was seen."""
        if host == self._host:
            return {key: own.load for key, own in self._own.items() if own.load is not None}
        return self._loads_of.get(host, {})

    def speed(self, host: str) -> float:
        """How many times faster than the mean of those who ran the same keys ``host`` was; 1 where that is not known.

        Geometric means of ratios: a host that runs short jobs is not a fast one.
        """
        if self._speeds is None:
            self._speeds = _speeds(self._all())
        return self._speeds.get(host, 1.0)

    def _all(self) -> list[tuple[str, str, float]]:
        own = [(self._host, key, pace.service) for key, pace in self._own.items() if pace.service]
        return own + [
            (pace.host, pace.runner_key, pace.service_seconds)
            for pace in self._elsewhere
            if pace.service_seconds
        ]

    # -- the database --------------------------------------------------------------------------------------------

    def learn(self, paces: Iterable[StoredPace]) -> None:
        """Take in what the database knows: this host's own from an earlier process, and the other hosts'."""
        self._elsewhere, self._by_key, self._loads_of = [], {}, {}
        for pace in paces:
            if pace.host != self._host:
                self._elsewhere.append(pace)
                self._by_key.setdefault(pace.runner_key, []).append(pace)
                if pace.load_seconds is not None:
                    self._loads_of.setdefault(pace.host, {})[pace.runner_key] = pace.load_seconds
            elif pace.runner_key not in self._own:
                self._own[pace.runner_key] = _Own(
                    pace.load_seconds,
                    pace.service_seconds,
                    pace.memory,
                    pace.jobs,
                    None if pace.slots is None else Parallel(pace.slots, pace.slots + 1),
                )
        self._speeds = None

    def unsaved(self) -> list[StoredPace]:
        """What changed since it was last asked for, to be written down."""
        changed, self._unsaved, self.has_news = sorted(self._unsaved), set(), False
        return [self._as_seen(key, self._own[key]) for key in changed]

    def _as_seen(self, key: str, own: _Own) -> StoredPace:
        slots = None if own.parallel is None else own.parallel.slots
        return StoredPace(self._host, key, own.load, own.service, slots, own.memory, own.jobs)


@lru_cache(maxsize=1000)
def _guess(size: int | None, service: float) -> Estimate:
    """What to expect of a key that nobody has seen."""
    seconds = LOAD_PRIOR + (UNKNOWN_SIZE if size is None else size) / BYTES_PER_SECOND
    return Estimate(seconds, service, size, tried=False)


def _speeds(services: list[tuple[str, str, float]]) -> dict[str, float]:
    by_key: dict[str, list[tuple[str, float]]] = {}
    for host, key, seconds in services:
        by_key.setdefault(key, []).append((host, seconds))
    ratios: dict[str, list[float]] = {}
    for rows in by_key.values():
        if len(rows) > 1:
            mean = fmean(math.log(seconds) for _, seconds in rows)
            for host, seconds in rows:
                ratios.setdefault(host, []).append(mean - math.log(seconds))
    return {host: math.exp(fmean(logs)) for host, logs in ratios.items()}

"""How is each piece of trouble made, and mended? It keeps a journal of when which worker and host died or slept."""

import http.client
import json
import signal
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

import redis

from benchmarks.soak.history import Presence
from benchmarks.soak.plan import Kind, Step
from benchmarks.soak.stage import Stage


class Trouble:
    """Does the steps of a plan to a stage."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.counts: Counter[str] = Counter()
        self.journal: list[tuple[float, str]] = []
        self.presence = {name: Presence() for name in stage.workers}
        self.host_deaths: dict[str, list[float]] = {name: [] for name in stage.hosts}
        self._asleep: dict[str, float] = {}
        self._storm_until = 0.0
        self._storm_at = 0.0
        self._to_revive: dict[str, float] = {}

    def do(self, step: Step) -> None:
        """Break it, or mend it."""
        kind, target = step.kind, step.target
        self._note(f"{'mend ' if step.mends else ''}{kind.part} {target}: {kind.name}")
        if not step.mends:
            self.counts[f"{kind.part} {kind.name}"] += 1
        match kind.part:
            case "postgres":
                self._postgres(kind, mends=step.mends)
            case "redis" if kind.name == "flushed":
                self._flush()
            case "redis" if kind.name == "killed" and step.mends:
                self._stage.redis.start()
            case "host" if kind.fault:
                self._fault(target, kind.fault)
            case _:
                self._process(kind, target, mends=step.mends)

    def turn(self) -> None:
        """What goes on between steps: a storm of terminated backends, and hosts that died of a fault come back."""
        now = time.time()
        if now < self._storm_until and now >= self._storm_at:
            self._storm_at = now + 1.0
            self._note(f"{self._stage.postgres.terminate_backends()} backends terminated")
        for name, at in list(self._to_revive.items()):
            if now >= at:
                del self._to_revive[name]
                self._die("host", name)
                self._stage.hosts[name].kill()
                self._stage.hosts[name].start()
                self._note(f"host {name} started again")

    def end(self) -> None:
        """Mend everything, whatever was broken."""
        self._storm_until = 0.0
        stage = self._stage
        for part in stage.everything():
            part.signal_group(signal.SIGCONT)
        for key in list(self._asleep):
            self._awake(key)
        if not stage.postgres.part.running:
            stage.postgres.start()
        if not stage.redis.part.running:
            stage.redis.start()
        for name, part in stage.hosts.items():
            self._to_revive.pop(name, None)
            if not part.running or not self._fault(name, None):
                self._die("host", name)
                part.kill()
                part.start()
        for part in (*stage.workers.values(), *stage.controls.values(), *stage.beats.values()):
            if not part.running:
                part.start()
        self._note("all trouble is over")

    def _process(self, kind: Kind, name: str, *, mends: bool) -> None:
        part, key = self._stage.of(kind.part, name), f"{kind.part} {name}"
        match kind.name:
            case "killed" | "terminated" if mends:
                part.start()
            case "killed":
                self._die(kind.part, name)
                part.kill()
            case "child killed":
                self._die(kind.part, name)
                part.kill_children()
            case "terminated":
                part.signal(signal.SIGTERM)
            case "paused" if mends:
                part.signal_group(signal.SIGCONT)
                self._awake(key)
            case "paused":
                self._asleep[key] = time.time()
                part.signal_group(signal.SIGSTOP)
            case _:
                raise KeyError(kind.name)

    def _postgres(self, kind: Kind, *, mends: bool) -> None:
        postgres, wire = self._stage.postgres, self._stage.wire
        match kind.name:
            case "restarted" | "crashed" | "gone" if mends:
                postgres.start()
            case "restarted" | "crashed" | "gone":
                postgres.stop(crash=kind.name != "restarted")
            case "backends terminated":
                self._storm_until = 0.0 if mends else time.time() + kind.seconds[1]
            case "connections cut":
                wire.cut()  # at the end of it once more
            case "frozen" if mends:
                wire.thaw()
            case "frozen":
                wire.freeze()
            case _:
                raise KeyError(kind.name)

    def _flush(self) -> None:
        try:
            self._stage.redis.flush()
        except redis.RedisError as error:
            self._note(f"not flushed: {error}")

    def _fault(self, host: str, fault: Mapping[str, Any] | None) -> bool:
        """Give a host one fault in place of all that it has; None takes them away. False where it cannot be told."""
        address = urlsplit(self._stage.urls[host]).netloc
        try:
            with closing(http.client.HTTPConnection(address, timeout=3)) as connection:
                connection.request(
                    "POST", "/simulator/faults", json.dumps([] if fault is None else [dict(fault)])
                )
                told = connection.getresponse().status == 200
        except OSError as error:
            self._note(f"host {host} takes no faults: {error}")
            return False
        if told and fault is not None and fault["kind"] == "crash":
            self._to_revive[host] = time.time() + 6.0
        return told

    def _die(self, kind: str, name: str) -> None:
        """Noted before the blow: what comes after it is nobody's."""
        if kind == "worker":
            self.presence[name].deaths.append(time.time())
        elif kind == "host":
            self.host_deaths[name].append(time.time())

    def _awake(self, key: str) -> None:
        since = self._asleep.pop(key)
        kind, _, name = key.partition(" ")
        if kind == "worker":
            self.presence[name].pauses.append((since, time.time()))

    def _note(self, what: str) -> None:
        self.journal.append((time.time(), what))

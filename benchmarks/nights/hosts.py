"""Simulated hosts for a night, in a process of their own: ``python -m benchmarks.nights.hosts FLEET.json`` until SIGTERM."""

import contextlib
import http.client
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks.nights.workloads import Fleet
from benchmarks.processes import Group, Stuck, group
from simulator.fleet import serve
from simulator.settings import HostSettings, SimulatedModel

START_SECONDS = 20.0
ANSWER_TOKENS = (20, 60)


@dataclass(frozen=True, slots=True)
class SimulatedHosts:
    """Hosts that answer."""

    urls: Sequence[str]

    def states(self) -> list[dict[str, Any]]:
        """What each has done so far, as it counts itself."""
        return [_state(url) for url in self.urls]


def _state(url: str) -> dict[str, Any]:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
    with contextlib.closing(connection):
        connection.request("GET", "/simulator/state")
        state: dict[str, Any] = json.loads(connection.getresponse().read())
    return state


@contextlib.contextmanager
def simulated(fleet: Fleet, models: Sequence[str], folder: Path) -> Iterator[SimulatedHosts]:
    """Fresh hosts with nothing loaded. Raises Stuck where they do not come up."""
    folder.mkdir(parents=True, exist_ok=True)
    spec = folder / "fleet.json"
    spec.write_text(json.dumps({"fleet": asdict(fleet), "models": list(models)}))
    with group("hosts", folder) as hosts:
        hosts.start("benchmarks.nights.hosts", str(spec))
        yield SimulatedHosts(_urls(hosts, fleet.hosts))


def _urls(hosts: Group, count: int) -> list[str]:
    until = time.monotonic() + START_SECONDS
    while True:
        lines = hosts.log(0).read_text().splitlines()
        if len(lines) >= count and all(" http://" in line for line in lines[:count]):
            return [line.split()[1] for line in lines[:count]]
        if not hosts.running() or time.monotonic() > until:
            raise Stuck(f"the simulated hosts do not answer\n{hosts.last_words()}")
        time.sleep(0.02)


def settings(fleet: Fleet, models: Sequence[str]) -> list[HostSettings]:
    """What the simulator is told."""
    known = tuple(
        SimulatedModel(
            name,
            load_seconds=fleet.load_seconds,
            tokens_per_second=fleet.tokens_per_second,
            prompt_tokens_per_second=fleet.prompt_tokens_per_second,
            answer_tokens=ANSWER_TOKENS,
        )
        for name in models
    )
    return [
        HostSettings(
            f"night-{number}",
            known,
            line="H",
            num_parallel=fleet.slots,
            max_loaded_models=fleet.models_at_once,
            slot_cost=fleet.slot_cost,
            time_scale=fleet.time_scale,
        )
        for number in range(1, fleet.hosts + 1)
    ]


def main() -> None:
    told = json.loads(Path(sys.argv[1]).read_text())
    hosts = settings(Fleet(**told["fleet"]), told["models"])
    serve(hosts)


if __name__ == "__main__":
    main()

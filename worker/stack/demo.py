"""What the demo runs on: the example file, and two simulated hosts or the smallest models of a real one."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import simulator
from worker.domain.hosts import Host, HostModel
from worker.errors import NoHost
from worker.records import record

TIME_SCALE = 0.05
REAL_MODELS = 2
REAL_JOBS = 12


@record
class DemoHosts:
    """The simulated hosts while they run."""

    running: tuple[simulator.RunningHost, ...]

    @property
    def hosts(self) -> list[Host]:
        return [Host(host.name, host.url, 2) for host in self.running]

    def loads(self) -> int:
        """Model loads as the hosts themselves counted them."""
        return sum(int(host.state()["loads"]) for host in self.running)


def demo_file() -> Path:
    """The bulk file of the demo: ``examples/`` in a checkout, beside this module in an installed wheel."""
    here = Path(__file__).resolve()
    installed = here.with_name("bulk.jsonl")
    return installed if installed.exists() else here.parents[2] / "examples" / "bulk.jsonl"


@contextmanager
def simulated_hosts() -> Iterator[DemoHosts]:
    """Two hosts that hold one model each, at twenty times real speed."""
    models = simulator.demo_models()
    lines: tuple[tuple[str, simulator.Line], ...] = (("gpu-1", "O"), ("gpu-2", "H"))
    settings = [
        simulator.HostSettings(
            name=name, models=models, max_loaded_models=1, num_parallel=2, time_scale=TIME_SCALE, line=line
        )
        for name, line in lines
    ]
    with simulator.running(*settings) as running:
        yield DemoHosts(running)


def real_lines(path: Path, models: Sequence[HostModel]) -> list[str]:
    """A few of the demo's jobs for the smallest models of a real host that answer prompts. Raises NoHost where it has none."""
    speaking = (model for model in models if not model.only_embeds)
    smallest = sorted(speaking, key=lambda model: model.size)[:REAL_MODELS]
    if not smallest:
        raise NoHost(
            "the host has no local model that answers prompts; pull one first, e.g. ollama pull llama3.2:1b"
        )
    lines = []
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file):
            if number == REAL_JOBS:
                break
            job = json.loads(line)
            job["model"] = smallest[number % len(smallest)].name
            lines.append(json.dumps(job, ensure_ascii=False) + "\n")
    return lines

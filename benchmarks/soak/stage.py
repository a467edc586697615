"""Who takes part? Two servers, three hosts, a worker for each, two controls, two beats, all as real processes."""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import clean_environ
from benchmarks.soak.parts import Part, caravan
from benchmarks.soak.servers import PostgresServer, RedisServer, Wire, cluster_folder
from tests.servers.children import accepts, free_port
from tests.waiting import wait_until

MODELS = ("alpha:3b", "beta:7b", "gamma-r1:8b")
REASONING = frozenset({"gamma-r1:8b"})
SLOTS = {"gpu-1": 2, "gpu-2": 3, "gpu-3": 4}
LEASE_SECONDS = 9.0
COMMAND_SECONDS = 120.0

_TENTH = {
    "CARAVAN_LEASE_SECONDS": f"{LEASE_SECONDS:g}",
    "CARAVAN_RENEW_SECONDS": "2",
    "CARAVAN_CANCEL_POLL_SECONDS": "0.2",
    "CARAVAN_TICK_SECONDS": "0.5",
    "CARAVAN_CHORES_SECONDS": "1.5",
    "CARAVAN_LINGER_SECONDS": "0.5",
    "CARAVAN_IDLE_POLL_SECONDS": "0.05",
    "CARAVAN_UNLOAD_SECONDS": "3",
    "CARAVAN_CONNECT_SECONDS": "2",
    "CARAVAN_FIRST_BYTE_SECONDS": "8",
    "CARAVAN_SILENCE_SECONDS": "4",
    "CARAVAN_REPLY_SECONDS": "20",
    "CARAVAN_LOAD_TIMEOUT_SECONDS": "12",
    "CARAVAN_STOP_GRACE_SECONDS": "3",
}
"""Leases, looks and deadlines at a tenth or less of what they are by default."""


@dataclass
class Stage:
    """All parts, by what they are and their name."""

    redis: RedisServer
    postgres: PostgresServer
    wire: Wire
    hosts: dict[str, Part]
    urls: dict[str, str]
    workers: dict[str, Part]
    controls: dict[str, Part]
    beats: dict[str, Part]
    environ: dict[str, str]
    folder: Path

    def parts(self) -> dict[str, list[str]]:
        """What a plan may break."""
        return {
            "worker": list(self.workers),
            "control": list(self.controls),
            "beat": list(self.beats),
            "host": list(self.hosts),
            "redis": ["redis"],
            "postgres": ["postgres"],
        }

    def of(self, kind: str, name: str) -> Part:
        match kind:
            case "worker":
                return self.workers[name]
            case "control":
                return self.controls[name]
            case "beat":
                return self.beats[name]
            case "host":
                return self.hosts[name]
            case "redis":
                return self.redis.part
            case _:
                raise KeyError(kind)

    def everything(self) -> Iterator[Part]:
        yield from (*self.workers.values(), *self.controls.values(), *self.beats.values())
        yield from (*self.hosts.values(), self.wire.part, self.redis.part, self.postgres.part)

    def run(self, *arguments: str, seconds: float = COMMAND_SECONDS) -> "subprocess.CompletedProcess[str]":
        """A command of caravan, to its end. Raises subprocess.TimeoutExpired."""
        return subprocess.run(
            caravan(*arguments),
            env={**clean_environ(), **self.environ},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )

    def must(self, *arguments: str) -> str:
        """The same; raises RuntimeError where it fails."""
        done = self.run(*arguments)
        if done.returncode:
            raise RuntimeError(
                f"caravan {' '.join(arguments)}: exit {done.returncode}\n{done.stderr[-2000:]}"
            )
        return done.stdout


@contextmanager
def staged(folder: Path, seed: int) -> Iterator[Stage]:
    """All of it, running, with the hosts made known. What is left at the end is killed."""
    logs = folder / "logs"
    diaries = folder / "diaries"
    for one in (logs, diaries):
        one.mkdir(parents=True, exist_ok=True)
    with cluster_folder() as cluster:
        redis, postgres = RedisServer(logs), PostgresServer(cluster, logs)
        wire = Wire(postgres.port, logs)
        environ = {
            **_TENTH,
            "CARAVAN_DATABASE_URL": postgres.url_at(wire.port),
            "CARAVAN_BROKER_URL": redis.url,
            "PYTHONUNBUFFERED": "1",
        }
        ports = {name: free_port() for name in SLOTS}
        stage = Stage(
            redis,
            postgres,
            wire,
            {
                name: Part(f"host {name}", _host(name, port, diaries, seed), logs)
                for name, port in ports.items()
            },
            {name: f"http://127.0.0.1:{port}" for name, port in ports.items()},
            {
                name: _part(f"worker {name}", ["worker", "--host", name], environ, folder, logs)
                for name in SLOTS
            },
            {name: _part(name, ["control"], environ, folder, logs) for name in ("control-1", "control-2")},
            {name: _part(name, ["beat"], environ, folder, logs) for name in ("beat-1", "beat-2")},
            {**environ, "CARAVAN_HOME": str(folder / "homes" / "shell")},
            folder,
        )
        try:
            _start(stage, ports)
            yield stage
        finally:
            for part in stage.everything():
                part.kill()


def _start(stage: Stage, ports: dict[str, int]) -> None:
    stage.redis.start()
    stage.postgres.start()
    stage.wire.start()
    for part in stage.hosts.values():
        part.start()
    for name, port in ports.items():
        wait_until(lambda port=port: accepts(port), description=f"host {name} answers")  # type: ignore[misc]
    stage.must("db", "upgrade")
    for name, url in stage.urls.items():
        stage.must("hosts", "add", name, url, "--slots", str(SLOTS[name]))
    for part in (*stage.controls.values(), *stage.beats.values(), *stage.workers.values()):
        part.start()


def _part(name: str, arguments: Sequence[str], environ: dict[str, str], folder: Path, logs: Path) -> Part:
    """A process of Caravan with a home of its own, as on a machine of its own."""
    home = folder / "homes" / name.replace(" ", "-")
    return Part(name, caravan(*arguments), logs, {**environ, "CARAVAN_HOME": str(home)})


def _host(name: str, port: int, diaries: Path, seed: int) -> list[str]:
    command = [sys.executable, "-m", "simulator", "--host", f"{name}:{port}", "--slots", str(SLOTS[name])]
    command += ["--models", ",".join(MODELS), "--time-scale", "0.14", "--load-seconds", "4"]
    return [
        *command,
        "--seed",
        str(seed),
        "--diary",
        str(diaries),
        "--ollama",
        "0.33" if name == "gpu-2" else "0.24",
    ]


def write_jobs(path: Path, numbers: Sequence[int]) -> Path:
    """Jobs over all models in turn; each prompt names its job, for the diaries."""
    with path.open("w", encoding="utf-8") as file:
        for n in numbers:
            name = f"job-{n:05d}"
            job = {
                "custom_id": name,
                "model": MODELS[n % len(MODELS)],
                "prompt": f"{name}: tell me of the sea.",
            }
            file.write(json.dumps(job) + "\n")
    return path

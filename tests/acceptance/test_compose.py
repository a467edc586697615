"""The nightly use of ``compose.yaml`` as shipped: its commands with its environment, each container a folder and a process."""

import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import text

import simulator
from tests.acceptance.conftest import MODELS, caravan, keeps_its_promises
from tests.acceptance.test_schedules import counts
from tests.processes import CARAVAN, Processes, Started
from tests.repo.docs.pages import ROOT
from tests.waiting import wait_until
from worker.storage.engine import Database, open_database
from worker.storage.firings import list_firings
from worker.storage.schedules import get_schedule

PROCESSES = ("control", "beat", "worker-gpu-1", "worker-gpu-2")
_VARIABLE = re.compile(r"\$\{(\w+):-([^}]*)\}")


class Compose:
    """Services of ``compose.yaml``, started by hand on this machine."""

    def __init__(self, place: Path, folder: Path, variables: Mapping[str, str], processes: Processes) -> None:
        self._services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
        self._place, self._folder, self._variables = place, folder, variables
        self._processes = processes

    def environment(self, service: str) -> dict[str, str]:
        """What a container of this service has: nothing of this machine's but how to run a program."""
        own = {
            name: self._filled(str(value)) for name, value in self._services[service]["environment"].items()
        }
        own |= {name: value for name, value in self._variables.items() if name in own}
        home = self._place / service
        home.mkdir(parents=True, exist_ok=True)
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return {"PATH": path, "CARAVAN_HOME": str(home), "PYTHONUNBUFFERED": "1", "HOME": str(home), **own}

    def run(self, service: str, *arguments: str, check: bool = True) -> Any:
        """``docker compose run --rm SERVICE ARGUMENTS``, in the working folder of its container."""
        given = arguments or tuple(map(self._filled, self._services[service]["command"]))
        environment = self.environment(service)
        if "entrypoint" in self._services[service]:
            process = self._processes.start(
                [*self._services[service]["entrypoint"], *given], name=service, env=environment
            )
            assert process.wait() == 0, process.output()
            return process
        return caravan(*given, env=environment, check=check, cwd=self._working_folder(service))

    def start(self, service: str) -> Started:
        """The service as ``docker compose up`` starts it."""
        command = [*CARAVAN, *map(self._filled, self._services[service]["command"])]
        return self._processes.start(
            command, name=service, env=self.environment(service), cwd=self._working_folder(service)
        )

    def _working_folder(self, service: str) -> Path:
        """``/work``: the folder where it is mounted, else the image's own, which is empty."""
        if any(volume.endswith(":/work") for volume in self._services[service].get("volumes", ())):
            return self._folder
        return self._place / service

    def _filled(self, written: str) -> str:
        filled = _VARIABLE.sub(lambda one: self._variables.get(one[1], one[2]), written)
        return filled.replace("$$", "$")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of ``compose.yaml``, with documents in it."""
    folder = tmp_path / "folder"
    (folder / "inbox").mkdir(parents=True)
    (folder / "answers").mkdir()
    for name in ("a", "b", "c"):
        (folder / "inbox" / f"{name}.txt").write_text(f"This is document {name}.")
    (folder / "inbox" / "rows.csv").write_text("id,text\n1,A row.\n2,Another row.\n")
    (folder / "summary.j2").write_text("Sum up: {{ document.text }}")
    return folder


@pytest.fixture
def database(postgres_url: str) -> Iterator[Database]:
    """The database of the services, which ``migrate`` sets up."""
    with closing(open_database(postgres_url)) as database:
        yield database


@pytest.mark.thorough
def test_a_schedule_works_night_for_night_in_compose_as_shipped(
    tmp_path: Path,
    folder: Path,
    hosts: tuple[simulator.RunningHost, ...],
    processes: Processes,
    redis_url: str,
    postgres_url: str,
    database: Database,
) -> None:
    addresses = {
        "CARAVAN_DATABASE_URL": postgres_url,
        "CARAVAN_BROKER_URL": redis_url,
        "GPU_1_URL": hosts[0].url,
        "GPU_2_URL": hosts[1].url,
    }
    compose = Compose(tmp_path / "containers", folder, addresses, processes)
    compose.run("migrate")
    compose.run("hosts")
    for service in PROCESSES:
        compose.start(service)
    compose.run("caravan", "hosts", "set", "gpu-1", "--slots", "2")
    restarted = compose.run("hosts")  # every `docker compose up` runs it again
    added = compose.run(
        "caravan",
        *["schedule", "add", "nightly", "--cron", "0 2 * * *", "--documents", "inbox/**"],
        *["--template", "summary.j2", "--model", MODELS[0], "--output", "answers", "--min-age", "0"],
    )
    first = night(compose, database, 1)
    (folder / "inbox" / "a.txt").write_text("Now it says something else.")
    (folder / "inbox" / "d.txt").write_text("This one is new.")
    (folder / "inbox" / "rows.csv").write_text("id,text\n1,A row.\n2,A changed row.\n")
    second = night(compose, database, 2)
    listed = json.loads(compose.run("caravan", "hosts", "list", "--json").stdout)
    health = compose.run("caravan", "health", "--only", "database", "--only", "beat", "--only", "control")
    keeps_its_promises(database)

    assert "does caravan control run?" not in added.stderr
    assert {one["name"]: one["slots"] for one in listed} == {"gpu-1": 2, "gpu-2": 1}, restarted.output()
    assert first == {"new": 5, "answered": 5}
    assert second == {"new": 2, "changed": 1, "gone": 1, "reused": 3, "answered": 3}
    assert health.returncode == 0
    assert sum(int(host.state()["completed"]) for host in hosts) == 8
    written = sorted(str(path.relative_to(folder / "answers")) for path in folder.glob("answers/[!_]*.md"))
    assert [name for name in written if "#" not in name] == [f"{name}.txt.answer.md" for name in "abcd"]
    assert len(written) == 7, "without --id an edited row is another, and the answer of the earlier one stays"


def night(compose: Compose, database: Database, number: int) -> dict[str, int]:
    """Have the schedule's time come, and wait for the end of the firing; what it counted."""
    with database.write() as conn:
        conn.execute(text("UPDATE schedules SET next_at = now() - interval '5 seconds'"))

    def ended() -> bool:
        with database.read() as conn:
            firings = list_firings(conn, get_schedule(conn, "nightly").id)
        return len(firings) == number and all(one.ended_at is not None for one in firings)

    wait_until(ended, description=f"firing {number} has ended", timeout=90, interval=0.2)
    history = json.loads(compose.run("caravan", "schedule", "history", "nightly", "--json").stdout)
    return counts(history[0])

"""Do hosts whose answers take minutes stay busy? ``python -m benchmarks.long_answers --beside PYTHON``.

Two fleets, each with its own PostgreSQL database, Redis database and simulated hosts in real time, work at the same time: this
version, and the older one whose Python is named. The older one ends each pass over a host when a budget of seconds is
spent, and lets the slots run dry for that; here the budget is switched off. Each answer takes some 200 seconds, so a run
of 20 minutes costs little CPU. It prints which share of the slots' time was busy, and with ``--check`` exits 1 where this
version reaches less than 98 % of the other.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.nights.hosts import SimulatedHosts, simulated
from benchmarks.nights.workloads import Fleet
from benchmarks.places import Place, Servers, fresh_place, open_servers
from benchmarks.processes import Group, Stuck, group

HOSTS = 2
SLOTS = 2
MODEL = "alpha:3b"
TOKENS = 40
"""Of an answer, in the middle: ``benchmarks/nights/hosts.py`` gives between 20 and 60."""
LOOK_SECONDS = 0.5
START_SECONDS = 120.0
TARGET = 0.98


class Contender:
    """One version's fleet. ``python`` is that of its environment."""

    def __init__(
        self, name: str, python: str, place: Place, hosts: SimulatedHosts, exits: ExitStack, **settings: str
    ) -> None:
        self.name, self.hosts = name, hosts
        self.busy = 0.0
        """Seconds of slots, so far."""
        self.began: float | None = None
        self._python = python
        self._environ = {
            "CARAVAN_HOME": str(place.folder),
            "CARAVAN_DATABASE_URL": place.url,
            "CARAVAN_BROKER_URL": place.broker,
            "PYTHONSAFEPATH": "1",  # the older version must not take its modules from the folder that this runs in
            **settings,
        }
        self._groups = [exits.enter_context(group(part, place.folder)) for part in ("command", "fleet")]

    def begin(self, file: Path) -> None:
        """Set the database up, submit and start the processes. Raises Stuck where a command fails."""
        self._must("db", "upgrade")
        for number, url in enumerate(self.hosts.urls, start=1):
            self._must("hosts", "add", f"{self.name}-{number}", url, "--slots", str(SLOTS))
        self._must("submit", str(file))
        for number in range(1, len(self.hosts.urls) + 1):
            self._start("worker", "--host", f"{self.name}-{number}")
        self._start("control")
        self._start("beat")

    def look(self, seconds: float, now: float) -> None:
        """Count the slots that are busy now for the ``seconds`` since the last look. Raises Stuck where a process ended."""
        if not self._groups[1].running():
            raise Stuck(self._groups[1].last_words())
        at_work = [min(int(state["concurrent"]), SLOTS) for state in self.hosts.states()]
        if self.began is not None:
            self.busy += seconds * sum(at_work)
        elif any(at_work):
            self.began = now

    def share(self, now: float) -> float:
        """Of the slots' time since its first request."""
        return self.busy / ((now - (self.began or now)) * HOSTS * SLOTS)

    def _start(self, *arguments: str) -> None:
        self._groups[1].start("worker", *arguments, environ=self._environ, python=self._python)

    def _must(self, *arguments: str) -> None:
        commands: Group = self._groups[0]
        process = commands.start("worker", *arguments, environ=self._environ, python=self._python)
        if process.wait(timeout=300):
            raise Stuck(f"caravan {' '.join(arguments)}\n{commands.last_words()}")


def measure(
    servers: Servers, scratch: Path, old: str, *, seconds: float, answer_seconds: float
) -> dict[str, float]:
    """The busy share of each version, by its name."""
    fleet = Fleet(
        hosts=HOSTS,
        slots=SLOTS,
        models_at_once=1,
        tokens_per_second=TOKENS / answer_seconds,
        prompt_tokens_per_second=1_500.0,
        load_seconds=3.0,
        slot_cost=0.0,
        time_scale=1.0,
    )
    file = _jobs(scratch / "jobs.jsonl", count=int(HOSTS * SLOTS * (3 * seconds / answer_seconds + 8)))
    versions: tuple[tuple[str, str, dict[str, str]], ...] = (
        ("new", sys.executable, {}),
        ("old", old, {"CARAVAN_BUDGET_SECONDS": "1000000"}),
    )
    with ExitStack() as exits:
        contenders = []
        for number, (name, python, settings) in enumerate(versions):
            place = exits.enter_context(fresh_place("postgresql", servers, scratch))
            place = Place(place.database, place.url, _broker(place.broker, number), place.folder)
            hosts = exits.enter_context(simulated(fleet, [MODEL], place.folder / "hosts"))
            contenders.append(Contender(name, python, place, hosts, exits, **settings))
        for contender in contenders:
            contender.begin(file)
        _watch(contenders, seconds)
        now = time.monotonic()
        return {contender.name: contender.share(now) for contender in contenders}


def _watch(contenders: Sequence[Contender], seconds: float) -> None:
    """Until all have worked for so long. Raises Stuck where one of them does not begin."""
    before = began = time.monotonic()
    while True:
        now = time.monotonic()
        for contender in contenders:
            contender.look(now - before, now)
        before = now
        if all(contender.began is not None and now - contender.began >= seconds for contender in contenders):
            return
        if now - began > START_SECONDS and any(contender.began is None for contender in contenders):
            raise Stuck("a fleet did not ask anything within two minutes")
        time.sleep(LOOK_SECONDS)


def _broker(url: str, number: int) -> str:
    """Another database of the same Redis."""
    return f"{url.rsplit('/', 1)[0]}/{number}"


def _jobs(path: Path, *, count: int) -> Path:
    with path.open("w", encoding="utf-8") as file:
        for n in range(count):
            job = {"custom_id": f"long-{n}", "model": MODEL, "prompt": f"Letter {n}: tell me of the sea."}
            file.write(json.dumps(job) + "\n")
    return path


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.long_answers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--beside", required=True, metavar="PYTHON", help="of the older version's environment"
    )
    parser.add_argument("--seconds", type=float, default=1_200.0, help="how long both work (default 1,200)")
    parser.add_argument("--answer-seconds", type=float, default=200.0, help="of an answer (default 200)")
    parser.add_argument("--check", action="store_true", help="exit 1 where the target is missed")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="caravan-long-") as scratch,
        open_servers(postgres=True) as servers,
    ):
        shares = measure(
            servers,
            Path(scratch),
            options.beside,
            seconds=options.seconds,
            answer_seconds=options.answer_seconds,
        )
    ratio = shares["new"] / shares["old"]
    print(
        f"busy share of the slots: {shares['new']:.1%}, the older version {shares['old']:.1%}: {ratio:.3f} times"
    )
    return int(options.check and ratio < TARGET)


if __name__ == "__main__":
    sys.exit(main())

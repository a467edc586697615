"""``python -m benchmarks.upgrading --old PYTHON``: a fleet of an older version is upgraded while it works.

An older Caravan, named by the Python of its environment, serves two hosts on a real PostgreSQL and Redis: a large batch waits, a
smaller one runs, a firing of a schedule is half done. The worker of one host is cut off from the database until its
answers lie in its spool, and is killed. Then this version upgrades the schema while everything else still runs, takes over,
and does the rest. It says how long other writers waited, and whether a job was lost or has two results.
"""

import argparse
import contextlib
import json
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from benchmarks.soak.parts import Part
from benchmarks.soak.servers import PostgresServer, RedisServer, Wire, cluster_folder
from tests.servers.children import accepts, free_port
from tests.waiting import wait_until

HOSTS = ("gpu-1", "gpu-2")
MODEL = "alpha:3b"
DOCUMENTS = 60
SPOOLED = 4
"""Answers that have to lie in the spool before its worker is killed."""
PATIENCE = 600.0
SIMULATED = ["--slots", "4", "--models", MODEL, "--time-scale", "0.2", "--load-seconds", "2", "--diary"]
LEFT = "state NOT IN ('succeeded', 'failed', 'cancelled', 'expired')"
ENVIRON = {
    "CARAVAN_LEASE_SECONDS": "20",
    "CARAVAN_RENEW_SECONDS": "4",
    "CARAVAN_TICK_SECONDS": "0.5",
    "CARAVAN_CHORES_SECONDS": "1",
    "CARAVAN_LINGER_SECONDS": "1",
    "CARAVAN_IDLE_POLL_SECONDS": "0.2",
    "PYTHONUNBUFFERED": "1",
    # The older version must not take its modules, nor those of its child processes, from the folder that this runs in.
    "PYTHONSAFEPATH": "1",
}


@dataclass
class Waits:
    """Seconds that a small write of somebody else took, each, while the schema was upgraded."""

    seconds: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


SMALL_CHANGE = (
    "UPDATE jobs SET priority = priority WHERE id = (SELECT max(id) FROM jobs WHERE state = 'queued')"
)


@contextlib.contextmanager
def writing(change: Callable[[], object], failure: type[Exception], waits: Waits) -> Iterator[None]:
    """Change one queued job again and again, as claims and finishes do, and note how long each change takes."""
    ended = threading.Event()

    def write() -> None:
        while not ended.wait(0.02):
            begun = time.monotonic()
            try:
                change()
            except failure as error:
                waits.errors.append(str(error).splitlines()[0])
            waits.seconds.append(time.monotonic() - begun)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def main() -> int:
    return measured("benchmarks.upgrading", __doc__, upgrade)


def measured(module: str, text: str | None, upgrade: Callable[[Path, str, int, int], list[str]]) -> int:
    """Read the command line, upgrade, print what is wrong, and return the exit code."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=text)
    parser.add_argument(
        "--old", required=True, metavar="PYTHON", help="of the environment of the older version"
    )
    parser.add_argument("--jobs", type=int, default=200_000, help="that wait while it is upgraded")
    parser.add_argument("--serve", type=int, default=1_500, help="that are to be answered by both versions")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="caravan-upgrading-"))
    print(f"logs: {folder}", flush=True)
    problems = upgrade(folder, options.old, options.jobs, options.serve)
    for problem in problems:
        print(f"  WRONG: {problem}", flush=True)
    return int(bool(problems))


def upgrade(folder: Path, old: str, jobs: int, serve: int) -> list[str]:
    logs = folder / "logs"
    logs.mkdir()
    with cluster_folder() as cluster:
        redis, postgres = RedisServer(logs), PostgresServer(cluster, logs)
        wire = Wire(postgres.port, logs)
        redis.start()
        postgres.start()
        wire.start()
        parts = [redis.part, postgres.part, wire.part]
        try:
            fleet = _Fleet(folder, logs, old, redis.url, postgres, wire, parts)
            return fleet.run(jobs, serve)
        finally:
            for part in reversed(parts):
                part.kill()


class _Fleet:
    """Both versions, on one database, one broker and two simulated hosts."""

    def __init__(
        self,
        folder: Path,
        logs: Path,
        old: str,
        broker: str,
        postgres: PostgresServer,
        wire: Wire,
        parts: list[Part],
    ) -> None:
        self.folder, self.logs, self.old, self.postgres, self.wire, self.parts = (
            folder,
            logs,
            old,
            postgres,
            wire,
            parts,
        )
        self.environ = {**ENVIRON, "CARAVAN_BROKER_URL": broker}
        self.calls = 0

    def run(self, jobs: int, serve: int) -> list[str]:
        hosts = simulated_hosts(self.folder, self.logs)
        self.parts += [part for _, part in hosts.values()]
        self._must(self.old, "db", "upgrade")
        for name, (url, _) in hosts.items():
            self._must(self.old, "hosts", "add", name, url, "--slots", "4")
        begun = time.monotonic()
        for arguments in submissions(self.folder, jobs, serve):
            self._must(self.old, *arguments)
        print(
            f"{jobs:,} jobs wait, {serve:,} are to be answered (taken in within {time.monotonic() - begun:.0f} s)"
        )
        self._must(self.old, *nightly(self.folder))

        others = [self._serve(self.old, name, "old") for name in ("control", "beat")]
        workers = {name: self._serve(self.old, name, "old") for name in HOSTS}
        self._until("the batch is under way", lambda: self._succeeded() >= 20)
        self._must(self.old, "schedule", "run", "nightly")
        self._until("the firing is half done", lambda: self._documents() >= DOCUMENTS // 4)

        self.wire.part.kill()
        spool = self.folder / "homes" / "gpu-2"
        self._until("the spool is full", lambda: spooled(spool) >= SPOOLED, seconds=120)
        workers["gpu-2"].kill()
        self.wire.start()
        in_spool = spooled(spool)
        with_spool = self._succeeded()
        print(
            f"{in_spool} answers lie in the spool of the killed worker; {with_spool:,} of {serve:,} are stored"
        )

        waits = Waits()
        begun = time.monotonic()
        with writing(self._change_a_job, psycopg.Error, waits):
            time.sleep(1.0)
            before = max(waits.seconds)
            upgrading = time.monotonic()
            self._must(sys.executable, "db", "upgrade")
            took = time.monotonic() - upgrading
            time.sleep(1.0)
        print(f"upgraded within {took:.1f} s beside an old worker at work")
        print(f"another writer waited {max(waits.seconds):.2f} s at most, {before:.2f} s before")
        after = self._succeeded()
        time.sleep(10.0)
        print(f"the old worker stored {self._succeeded() - after} more answers within 10 s after it")
        for part in (workers["gpu-1"], *others):
            part.signal(signal.SIGTERM)
        for part in (workers["gpu-1"], *others):
            if not part.wait(60):
                print(f"{part.name} did not end within 60 s and was killed")
                part.kill()

        for name in ("control", "beat", *HOSTS):
            self._serve(sys.executable, name, "new")
        self._until("all is answered", lambda: self._count(LEFT) == 0)
        self._until("the firing has ended", lambda: self._ended_firings() >= 1, seconds=60)
        return list(self._problems(jobs, serve, waits))

    # -- what is checked ----------------------------------------------------------------------------------------------

    def _change_a_job(self) -> None:
        with psycopg.connect(self.postgres.url, connect_timeout=5) as conn:
            conn.execute(SMALL_CHANGE)

    def _problems(self, jobs: int, serve: int, waits: Waits) -> Iterator[str]:
        with psycopg.connect(self.postgres.url) as conn:
            states: dict[str, int] = dict(
                conn.execute(
                    "SELECT b.name || ' ' || j.state, count(*) FROM jobs j JOIN batches b ON b.id = j.batch_id GROUP BY 1"
                ).fetchall()
            )
            doubled = conn.execute("SELECT count(*) - count(DISTINCT job_id) FROM results").fetchone()
            answered = conn.execute(
                "SELECT count(*) FROM results r JOIN jobs j ON j.id = r.job_id JOIN batches b ON b.id = j.batch_id "
                "WHERE b.name = 'works' AND r.answer <> ''"
            ).fetchone()
        print(f"in the end: {', '.join(f'{count:,} {state}' for state, count in sorted(states.items()))}")
        waiting = sum(count for state, count in states.items() if state.startswith("waits "))
        if waiting != jobs:
            yield f"{waiting:,} of {jobs:,} waiting jobs are there"
        if answered is None or answered[0] != serve:
            yield f"{answered} of {serve:,} jobs have an answer"
        if doubled is None or doubled[0]:
            yield f"{doubled} results too many"
        if waits.errors:
            yield f"writes failed: {sorted(set(waits.errors))}"
        succeeded = sum(count for state, count in states.items() if state.endswith(" succeeded"))
        generated = whole_answers(self.folder)
        print(
            f"the hosts gave {generated:,} whole answers for {succeeded:,} jobs: {generated - succeeded} again"
        )
        check = self._caravan(sys.executable, "db", "check")
        print(check.said().splitlines()[-1] if check.said() else "db check said nothing")
        if check.code:
            yield f"caravan db check: exit {check.code}"

    # -- what the database says ---------------------------------------------------------------------------------------

    def _succeeded(self) -> int:
        return self._count("state = 'succeeded'")

    def _count(self, condition: str) -> int:
        """Jobs of the batch that is answered and of the firing."""
        return self._number(
            "SELECT count(*) FROM jobs j JOIN batches b ON b.id = j.batch_id "
            f"WHERE coalesce(b.name, '') <> 'waits' AND j.{condition}"
        )

    def _documents(self) -> int:
        return self._number(
            "SELECT count(*) FROM jobs j JOIN batches b ON b.id = j.batch_id "
            "WHERE coalesce(b.name, '') NOT IN ('waits', 'works') AND j.state = 'succeeded'"
        )

    def _ended_firings(self) -> int:
        return self._number("SELECT count(*) FROM firings WHERE state = 'finished'")

    def _number(self, query: str) -> int:
        with psycopg.connect(self.postgres.url) as conn:
            row = conn.execute(query).fetchone()
        return 0 if row is None else int(row[0])

    # -- processes ----------------------------------------------------------------------------------------------------

    def _serve(self, python: str, name: str, version: str) -> Part:
        arguments = ["worker", "--host", name] if name in HOSTS else [name]
        return self._start(self._part(python, name, version, arguments))

    def _part(self, python: str, name: str, version: str, arguments: list[str]) -> Part:
        url = self.postgres.url_at(self.wire.port) if name == "gpu-2" else self.postgres.url
        environ = {
            **self.environ,
            "CARAVAN_DATABASE_URL": url,
            "CARAVAN_HOME": str(self.folder / "homes" / name),
        }
        return Part(f"{version} {name}", [python, "-m", "worker", *arguments], self.logs, environ)

    def _start(self, part: Part) -> Part:
        self.parts.append(part)
        part.start()
        return part

    def _must(self, python: str, *arguments: str) -> None:
        done = self._caravan(python, *arguments)
        if done.code:
            raise RuntimeError(f"caravan {' '.join(arguments)}: exit {done.code}\n{done.said()[-2000:]}")

    def _caravan(self, python: str, *arguments: str) -> "_Ended":
        self.calls += 1
        part = self._part(python, f"command {self.calls}", "one", list(arguments))
        part.start()
        process = part._running[0]
        return _Ended(process.wait(timeout=PATIENCE), part)

    def _until(self, description: str, predicate: Callable[[], bool], seconds: float = PATIENCE) -> None:
        wait_until(predicate, description=f"{description}; logs: {self.logs}", timeout=seconds, interval=0.1)


# -- input ------------------------------------------------------------------------------------------------------------


def submissions(folder: Path, jobs: int, serve: int) -> list[list[str]]:
    """The commands that submit ``jobs`` jobs that wait, and ``serve`` that are to be answered."""
    return [
        ["submit", str(_jobs(folder, name, count)), "--priority", priority, "--name", name]
        for name, count, priority in (("waits", jobs, "bulk"), ("works", serve, "high"))
    ]


def nightly(folder: Path) -> list[str]:
    """The command that adds a schedule of ``DOCUMENTS`` documents."""
    inbox = folder / "inbox"
    inbox.mkdir()
    for n in range(DOCUMENTS):
        (inbox / f"letter-{n:02d}.txt").write_text(
            f"Letter {n}: nothing new under the sun.\n", encoding="utf-8"
        )
    when_and_what = ["--cron", "0 2 1 1 *", "--documents", str(inbox / "*.txt")]
    request = ["--model", MODEL, "--prompt", "Sum up: {{ document.text }}", "--priority", "interactive"]
    return ["schedule", "add", "nightly", *when_and_what, *request]


def _jobs(folder: Path, name: str, count: int) -> Path:
    path = folder / f"{name}.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for n in range(count):
            job = {
                "custom_id": f"{name}-{n:06d}",
                "model": MODEL,
                "prompt": f"{name} {n}: tell me of the sea.",
            }
            file.write(json.dumps(job) + "\n")
    return path


def whole_answers(folder: Path) -> int:
    """Answers that the hosts gave to their end."""
    lines = [line for path in folder.glob("gpu-*.jsonl") for line in path.read_text().splitlines()]
    return sum(bool(json.loads(line).get("whole")) for line in lines)


def simulated_hosts(folder: Path, logs: Path) -> dict[str, tuple[str, Part]]:
    """Name of a host → its address, and its process, which answers."""
    hosts = {}
    for name in HOSTS:
        port = free_port()
        command = [sys.executable, "-m", "simulator", "--host", f"{name}:{port}", *SIMULATED, str(folder)]
        part = Part(f"host {name}", command, logs)
        part.start()
        wait_until(lambda port=port: accepts(port), description=f"host {name} answers")  # type: ignore[misc]
        hosts[name] = f"http://127.0.0.1:{port}", part
    return hosts


@dataclass(frozen=True)
class _Ended:
    code: int
    part: Part

    def said(self) -> str:
        return self.part.said()


def spooled(home: Path) -> int:
    """Answers in the spools of this home."""
    return sum(len(path.read_bytes().splitlines()) for path in home.rglob("*.jsonl"))


if __name__ == "__main__":
    sys.exit(main())

"""Who is measured, and how each is driven: Caravan on a fleet and in one process, and the two baselines.

Each contender is opened once and serves one file of jobs after the other, so that its processes, connections and
caches are warm when they count. Those that wait for their turn are idle.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import Figures
from benchmarks.places import Place
from benchmarks.processes import Stuck, clean_environ, group, measure
from tests.servers.children import dies_with_parent
from worker.domain.hosts import Host
from worker.hosts.registry import register
from worker.ollama.client import OllamaHost
from worker.storage.engine import open_database
from worker.storage.migrate import upgrade

QUEUE = "generate"
PARKED = "parked"
SUBMIT_SECONDS = 900.0
OF_ANOTHER_VERSION = {"PYTHONSAFEPATH": "1"}
"""It must not take its modules from the folder that this runs in."""
LIMIT_SECONDS = 60.0
LIMIT_SECONDS_PER_JOB = 0.05
"""A run that takes longer than a minute and this for each job is given up."""


@dataclass(frozen=True, slots=True)
class Hosts:
    """The hosts that answer, and how many requests each is sent at a time."""

    urls: Sequence[str]
    slots: int

    @property
    def at_a_time(self) -> int:
        return len(self.urls) * self.slots


@dataclass(frozen=True, slots=True)
class Submission:
    """How fast jobs went in."""

    jobs: int
    seconds: float
    cpu_seconds: float
    peak_rss: int = 0
    """Bytes of the producer's process."""

    @property
    def rate(self) -> float:
        return self.jobs / self.seconds


Serve = Callable[[Path, int], Figures]
"""A file of jobs, and how many they are → what serving them took."""
Contender = Callable[[Place, Hosts], AbstractContextManager[Serve]]


@contextmanager
def caravan_fleet(place: Place, hosts: Hosts, *, python: str = sys.executable) -> Iterator[Serve]:
    """``caravan worker`` for each host, with control and beat as on any fleet. ``python``: that of another version."""
    variables = caravan_environ(place)
    if python == sys.executable:
        add_hosts(place, hosts)
    else:
        variables |= OF_ANOTHER_VERSION
        _command(python, variables, "db", "upgrade")
        for number, url in enumerate(hosts.urls, start=1):
            slots = ["--slots", str(hosts.slots)]
            _command(python, variables, "hosts", "add", f"bench-{number}", url, *slots)
    with (
        group("worker", place.folder) as workers,
        group("control", place.folder) as control,
        group("beat", place.folder) as beat,
        place.counter("results") as stored,
    ):
        for number in range(1, len(hosts.urls) + 1):
            workers.start("worker", "worker", "--host", f"bench-{number}", environ=variables, python=python)
        control.start("worker", "control", environ=variables, python=python)
        beat.start("worker", "beat", environ=variables, python=python)

        def serve(file: Path, jobs: int) -> Figures:
            before = stored()
            with submitting(
                "caravan", file, variables, python=python
            ):  # watched from the start: the workers do not wait for its end
                found = measure(
                    [workers, control, beat], lambda: stored() - before, jobs=jobs, limit=limit(jobs)
                )
            check_all_succeeded(place)
            return found

        yield serve


@contextmanager
def caravan_embedded(place: Place, hosts: Hosts, *, python: str = sys.executable) -> Iterator[Serve]:
    """``caravan run``: one process that submits, serves, stores and ends, for each file anew. ``python``: that of another
    version."""
    variables = caravan_environ(place)
    if python == sys.executable:
        upgrade(place.url)
    else:
        variables |= OF_ANOTHER_VERSION
        _command(python, variables, "db", "upgrade")
    urls = [word for url in hosts.urls for word in ("--host", url)]

    def serve(file: Path, jobs: int) -> Figures:
        with group("worker", place.folder) as worker, place.counter("results") as stored:
            before = stored()
            arguments = ["run", str(file), *urls, "--slots", str(hosts.slots), "--json"]
            worker.start("worker", *arguments, environ=variables, python=python)
            found = measure([worker], lambda: stored() - before, jobs=jobs, limit=limit(jobs))
        check_all_succeeded(place)
        return found

    yield serve


@contextmanager
def celery_per_job(place: Place, hosts: Hosts) -> Iterator[Serve]:
    """One prefork worker with a process per request under way. Jobs are parked, and given to it all at once."""
    queue = f"{QUEUE}-{place.database}"
    variables = baseline_environ(place, hosts.urls, queue=queue)
    place.make_baseline_tables()
    arguments = ["-A", "benchmarks.baselines.celery_per_job", "worker", "--pool", "prefork"]
    arguments += ["-c", str(hosts.at_a_time), "-Q", queue, "--loglevel", "WARNING"]
    arguments += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    with group("worker", place.folder) as worker, place.counter("answers") as stored:
        worker.start("celery", *arguments, environ=variables)

        def serve(file: Path, jobs: int) -> Figures:
            before = stored()
            submit("celery", file, {**variables, "BASELINE_QUEUE": PARKED})
            place.release(PARKED, queue)
            return measure([worker], lambda: stored() - before, jobs=jobs, limit=limit(jobs))

        yield serve


@contextmanager
def requests_loop(place: Place, hosts: Hosts) -> Iterator[Serve]:
    """Threads and a file; no queue and no database."""
    answers = place.folder / "answers.jsonl"
    urls = [word for url in hosts.urls for word in ("--host", url)]

    def serve(file: Path, jobs: int) -> Figures:
        answers.write_bytes(b"")
        counted = 0
        with group("worker", place.folder) as worker, answers.open("rb") as reader:

            def stored() -> int:
                nonlocal counted
                while block := reader.read(1 << 20):
                    counted += block.count(b"\n")
                return counted

            arguments = [str(file), str(answers), *urls, "--threads", str(hosts.at_a_time)]
            worker.start("benchmarks.baselines.requests_loop", *arguments)
            return measure([worker], stored, jobs=jobs, limit=limit(jobs))

    yield serve


def check_all_succeeded(place: Place) -> None:
    """Raises Stuck where a stored result of Caravan is a failure: a benchmark of failures shows nothing."""
    with place.counter("results WHERE state <> 'succeeded'") as failed:
        if failed():
            raise Stuck(f"{failed():,} jobs failed")


def limit(jobs: int) -> float:
    return LIMIT_SECONDS + jobs * LIMIT_SECONDS_PER_JOB


def add_hosts(place: Place, hosts: Hosts) -> None:
    """Set the empty database up and register the hosts as ``bench-1``, ``bench-2`` …"""
    upgrade(place.url)
    database = open_database(place.url)
    try:
        for number, url in enumerate(hosts.urls, start=1):
            host = Host(f"bench-{number}", url, hosts.slots)
            register(database, host, open_host=lambda host: OllamaHost(host.url), clock=database.clock())
    finally:
        database.close()


def caravan_environ(place: Place) -> dict[str, str]:
    """A Caravan of its own: its home, its database, and the broker where the database is a server."""
    variables = {"CARAVAN_HOME": str(place.folder), "CARAVAN_LOG_LEVEL": "warning"}
    variables["CARAVAN_DATABASE_URL"] = place.url
    if place.database == "postgresql":
        variables["CARAVAN_BROKER_URL"] = place.broker
    return variables


def baseline_environ(place: Place, urls: Sequence[str], *, queue: str) -> dict[str, str]:
    return {
        "BASELINE_BROKER_URL": place.broker,
        "BASELINE_DATABASE_URL": place.sqlalchemy_url,
        "BASELINE_HOSTS": ",".join(urls),
        "BASELINE_QUEUE": queue,
    }


def submit(into: str, file: Path | int, variables: Mapping[str, str]) -> Submission:
    """Submit ``file``, or so many rows of a generator, from a process of its own, timed in there. Raises RuntimeError when
    that fails."""
    with submitting(into, file, variables) as process:
        told, _ = process.communicate(timeout=SUBMIT_SECONDS)
    return Submission(**json.loads(told.splitlines()[-1]))


def _command(python: str, variables: Mapping[str, str], *arguments: str) -> None:
    """A command of another version. Raises CalledProcessError where it fails."""
    environ = {**clean_environ(), **variables}
    subprocess.run([python, "-m", "worker", *arguments], env=environ, check=True, stdout=subprocess.DEVNULL)


@contextmanager
def submitting(
    into: str, file: Path | int, variables: Mapping[str, str], *, python: str = sys.executable
) -> Iterator["subprocess.Popen[str]"]:
    """A process that submits ``file``. Waits for its end, and raises RuntimeError when that was a failure."""
    with tempfile.TemporaryFile("w+", encoding="utf-8") as errors:
        process = subprocess.Popen(
            [python, "-m", "benchmarks.submitting", into, str(file)],
            env={**clean_environ(), **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            preexec_fn=dies_with_parent,
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.communicate(timeout=SUBMIT_SECONDS)
            if process.returncode:
                errors.seek(0)
                raise RuntimeError(
                    f"submitting to {into}: exit {process.returncode}\n{errors.read()[-2000:]}"
                )

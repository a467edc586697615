"""Who works through a night: Caravan as it is used on a fleet, and a plain Celery task per job.

Both start with idle processes and empty hosts. The clock starts when the first job may be taken: all messages are given
to the plain worker's queue at once, and a batch of Caravan may be taken when it is sealed.
"""

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

import psycopg
import redis
from celery import Celery
from sqlalchemy import make_url

from benchmarks.contenders import PARKED, QUEUE, baseline_environ, caravan_environ, submit
from benchmarks.nights.hosts import SimulatedHosts
from benchmarks.nights.workloads import Workload
from benchmarks.places import Place
from benchmarks.processes import Group, Stuck, clean_environ, group

LOOK_SECONDS = 0.05
READY_SECONDS = 60.0
COMMAND_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What a host said of one answer. ``reading_seconds`` is how long it read the prompt."""

    custom_id: str
    output_tokens: int
    reading_seconds: float


@dataclass(frozen=True, slots=True)
class Night:
    """One contender's night. ``stored`` is when each look saw how many answers, from the start of the clock."""

    jobs: int
    seconds: float
    stored: Sequence[tuple[float, int]]
    answers: Sequence[Answer]
    loads: int
    before: float = 0.0
    """Seconds from the command that gave the jobs to the start of the clock."""

    def rate_until(self, share: float) -> float:
        """Answers a second from the start of the clock until that share of the jobs was stored."""
        return next(count / at for at, count in self.stored if count >= share * self.jobs)

    def read_whole(self, seconds: float) -> int:
        """How many prompts took longer to read than that."""
        return sum(answer.reading_seconds > seconds for answer in self.answers)


Contender = Callable[[Place, Workload, SimulatedHosts, float], Night]
"""A fresh place, what is asked, fresh hosts, and after how many seconds it is given up → the night."""


def caravan(place: Place, workload: Workload, hosts: SimulatedHosts, limit: float) -> Night:
    """``caravan worker`` for each host, ``control`` and ``beat``; the jobs come by ``caravan submit``."""
    variables = {**caravan_environ(place), "CARAVAN_LOG_LEVEL": "info"}
    fleet = workload.fleet
    _caravan(variables, "db", "upgrade")
    for number, url in enumerate(hosts.urls, start=1):
        sizes = ["--slots", str(fleet.slots), "--models", str(fleet.models_at_once)]
        _caravan(variables, "hosts", "add", f"night-{number}", url, *sizes)
    file = workload.write(place.folder / "jobs.jsonl")
    with ExitStack() as exits:
        workers, control, beat = (
            exits.enter_context(group(name, place.folder)) for name in ("worker", "control", "beat")
        )
        for number in range(1, len(hosts.urls) + 1):
            workers.start("worker", "worker", "--host", f"night-{number}", environ=variables)
        control.start("worker", "control", environ=variables)
        beat.start("worker", "beat", environ=variables)
        groups = [workers, control, beat]
        _wait_for_caravan(place, len(hosts.urls) + 1, groups)
        stored = exits.enter_context(place.counter("results"))
        taken = exits.enter_context(place.counter("batches WHERE sealed_at IS NOT NULL"))
        began = time.monotonic()
        with _background(variables, "submit", str(file)) as submitting:
            _until(lambda: taken() > 0, groups, "the batch was not sealed")
            opened = time.monotonic()
            looks = _watch(stored, len(workload.jobs), opened, limit, groups)
            if submitting.wait(timeout=COMMAND_SECONDS):
                raise Stuck(f"caravan submit: exit {submitting.returncode}")
        with ThreadPoolExecutor(len(groups)) as pool:  # each takes some seconds to end
            list(pool.map(Group.stop, groups))
        lines = _caravan(variables, "results", "@last", "--as", "jsonl").splitlines()
    answers = [_answer(json.loads(line)) for line in lines]
    return Night(len(workload.jobs), looks[-1][0], looks, answers, loads=_loads(hosts), before=opened - began)


def plain_celery(place: Place, workload: Workload, hosts: SimulatedHosts, limit: float) -> Night:
    """A prefork worker for each host, with a process for each of its slots; they take the jobs in order."""
    queue, parked = f"{QUEUE}-{place.folder.name}", f"{PARKED}-{place.folder.name}"
    names = [f"{place.folder.name}-{number}@bench" for number in range(1, len(hosts.urls) + 1)]
    place.make_baseline_tables()
    file = workload.write(place.folder / "jobs.jsonl")
    with ExitStack() as exits:
        workers = exits.enter_context(group("worker", place.folder))
        for name, url in zip(names, hosts.urls, strict=True):
            arguments = ["-A", "benchmarks.baselines.celery_per_job", "worker", "--pool", "prefork"]
            arguments += ["-c", str(workload.fleet.slots), "-Q", queue, "-n", name, "--loglevel", "WARNING"]
            arguments += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
            workers.start("celery", *arguments, environ=baseline_environ(place, [url], queue=queue))
        _wait_for_celery(place, names, workers)
        submit("celery", file, {**baseline_environ(place, hosts.urls, queue=queue), "BASELINE_QUEUE": parked})
        stored = exits.enter_context(place.counter("answers"))
        opened = time.monotonic()
        place.release(parked, queue)
        looks = _watch(stored, len(workload.jobs), opened, limit, [workers])
        answers = _baseline_answers(place)
    return Night(len(workload.jobs), looks[-1][0], looks, answers, loads=_loads(hosts))


def _watch(
    stored: Callable[[], int], jobs: int, opened: float, limit: float, groups: Sequence[Group]
) -> list[tuple[float, int]]:
    """Look until all is stored. Raises Stuck after ``limit`` seconds, or when a process ended."""
    looks: list[tuple[float, int]] = []
    while True:
        alive = all(one.running() for one in groups)
        count = stored()
        looks.append((time.monotonic() - opened, count))
        if count >= jobs:
            return looks
        if not alive or looks[-1][0] > limit:
            raise _stuck(f"{count:,} of {jobs:,} answers after {looks[-1][0]:.0f} s", groups)
        time.sleep(LOOK_SECONDS)


def _until(true: Callable[[], bool], groups: Sequence[Group], otherwise: str) -> None:
    until = time.monotonic() + READY_SECONDS
    while not true():
        if time.monotonic() > until or not all(one.running() for one in groups):
            raise _stuck(otherwise, groups)
        time.sleep(LOOK_SECONDS / 5)


def _wait_for_caravan(place: Place, count: int, groups: Sequence[Group]) -> None:
    """Until so many workers wait for a message; Caravan's answer no pings."""
    with redis.Redis.from_url(place.broker) as broker:

        def waiting() -> bool:
            asking = [client["cmd"] for client in broker.client_list()]
            return asking.count("brpop") >= count

        _until(waiting, groups, f"{count} workers did not come up")


def _wait_for_celery(place: Place, names: Sequence[str], workers: Group) -> None:
    """Until the workers of these names answer a ping."""
    app = Celery(broker=place.broker, set_as_current=False)

    def answer() -> bool:
        answers = app.control.ping(destination=list(names), timeout=1.0) or []
        return len(answers) == len(names)

    with contextlib.closing(app):
        _until(answer, [workers], f"{len(names)} workers did not come up")


def _stuck(what: str, groups: Sequence[Group]) -> Stuck:
    return Stuck("\n".join([what, *(one.last_words() for one in groups)]))


def _loads(hosts: SimulatedHosts) -> int:
    return sum(int(state["loads"]) for state in hosts.states())


def _answer(line: Mapping[str, object]) -> Answer:
    """Of a line of ``caravan results``. Raises Stuck for a job that did not succeed."""
    if line["state"] != "succeeded":
        raise Stuck(f"{line['custom_id']}: {line['state']}, {line.get('error')}")
    tokens, reading = line["output_tokens"], line["prompt_eval_seconds"]
    assert isinstance(tokens, int)
    assert isinstance(reading, float | int)
    return Answer(str(line["custom_id"]), tokens, reading)


def _baseline_answers(place: Place) -> list[Answer]:
    url = make_url(place.url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url) as server:
        rows = server.execute("SELECT custom_id, output_tokens, prompt_eval_duration FROM answers").fetchall()
    return [Answer(custom_id, tokens, nanoseconds / 1e9) for custom_id, tokens, nanoseconds in rows]


def _caravan(variables: Mapping[str, str], *arguments: str) -> str:
    """Standard output of a command. Raises Stuck where it fails."""
    done = subprocess.run(
        [sys.executable, "-m", "worker", *arguments],
        env={**clean_environ(), **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
        check=False,
    )
    if done.returncode:
        raise Stuck(f"caravan {' '.join(arguments)}: exit {done.returncode}\n{done.stderr}")
    return done.stdout


@contextlib.contextmanager
def _background(variables: Mapping[str, str], *arguments: str) -> Iterator["subprocess.Popen[bytes]"]:
    with subprocess.Popen(
        [sys.executable, "-m", "worker", *arguments],
        env={**clean_environ(), **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()

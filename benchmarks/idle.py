"""What does Caravan cost when nothing happens, and how soon does it start when something does?

``python -m benchmarks.idle`` measures three things, on SQLite and on PostgreSQL: the CPU and the log lines of an idle ``caravan
up`` with two hosts; the CPU of an idle fleet worker beside an idle Celery worker, in the same minutes; and the seconds until an
interactive job starts that another process submits to an idle ``up``, and behind ``--jobs`` scheduled ones. With ``--check`` it
exits 1 where a target is missed. Other work on the machine makes the starts slower and leaves the CPU as it is.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from sqlalchemy import bindparam, text

from benchmarks.answerer import MODELS
from benchmarks.contenders import Hosts, add_hosts, baseline_environ
from benchmarks.places import Place, Servers, answering, fresh_place, open_servers
from benchmarks.processes import Group, Stuck, group
from worker.client import Client
from worker.domain.jobs import Priority
from worker.storage.deltas import add_changes
from worker.storage.ids import id_range
from worker.storage.types import UtcTime

SETTLE_SECONDS = 20.0
"""After a start, and after the last job: until hosts and runners are left as they stay."""
CPU_TARGET = 0.003
WORKER_TARGET = 1.5
START_TARGET = 1.0
LOOK_SECONDS = 0.2
"""Between two looks at what was written."""
STARTS = 5
"""Interactive jobs that are submitted one after the other."""
CELERY = "benchmarks.baselines.celery_per_job"


@dataclass(frozen=True, slots=True)
class Rest:
    """What processes used while nothing happened."""

    share: float
    """Of one core."""
    lines: int
    """Of their logs."""
    writes: float
    """Into the database, a minute: commits of SQLite, rows of PostgreSQL; of all processes that were there."""


@dataclass(frozen=True, slots=True)
class Figures:
    """All that was measured on one database."""

    database: str
    up: Rest
    worker: Rest | None
    """An idle worker of a fleet; on PostgreSQL only."""
    celery: Rest | None
    starts: Sequence[float]
    """Seconds from the return of ``submit`` to the start of the job, ``up`` being idle."""
    starts_behind: Sequence[float]
    """The same behind many scheduled jobs."""

    def missed(self) -> Iterator[str]:
        """Targets that are not met, in words."""
        if self.up.share > CPU_TARGET:
            yield f"{self.database}: up uses {self.up.share:.2%} of a core at rest, not {CPU_TARGET:.1%}"
        if self.up.lines:
            yield f"{self.database}: up wrote {self.up.lines} log lines at rest"
        if self.worker is not None and self.celery is not None:
            ratio = self.worker.share / self.celery.share
            if ratio > WORKER_TARGET:
                yield f"{self.database}: an idle worker uses {ratio:.2f} times the CPU of an idle Celery worker"
        for name, starts in (("to an idle up", self.starts), ("behind others", self.starts_behind)):
            if starts and median(starts) > START_TARGET:
                yield f"{self.database}: an interactive job {name} starts after {median(starts):.2f} s"


def main() -> int:
    given = _arguments()
    databases = ("sqlite", "postgresql") if given.database == "both" else (given.database,)
    misses: list[str] = []
    with (
        tempfile.TemporaryDirectory(prefix="caravan-idle-") as scratch,
        open_servers(postgres="postgresql" in databases) as servers,
    ):
        for database in databases:
            figures = measure(database, servers, Path(scratch), seconds=given.seconds, jobs=given.jobs)
            print(json.dumps(asdict(figures), indent=1))
            misses += figures.missed()
    for miss in misses:
        print(f"missed: {miss}")
    return 1 if misses and given.check else 0


def measure(database: str, servers: Servers, scratch: Path, *, seconds: float, jobs: int) -> Figures:
    """Everything on one database."""
    with fresh_place(database, servers, scratch) as place, answering(2, place.folder) as urls:
        hosts = Hosts(urls, slots=1)
        add_hosts(place, hosts)
        worker, celery = (None, None) if database == "sqlite" else idle_workers(place, hosts, seconds)
        with serving(place) as up, Client(**_client(place)) as client:
            at_rest = rest_of(place, [up], seconds)[0]
            starts = [start_of(client) for _ in range(STARTS)]
            pile_up(client, jobs)
            behind = [start_of(client) for _ in range(STARTS)]
        return Figures(database, at_rest, worker, celery, starts, behind)


@contextmanager
def serving(place: Place) -> Iterator[Group]:
    """An ``up`` that has come to rest."""
    with group("up", place.folder) as up:
        up.start("worker", "up", environ=_environ(place))
        time.sleep(SETTLE_SECONDS)
        if not up.running():
            raise Stuck(up.last_words())
        yield up


def idle_workers(place: Place, hosts: Hosts, seconds: float) -> tuple[Rest, Rest]:
    """A worker of a fleet whose control and beat work, and a plain Celery worker beside it."""
    variables = {**_environ(place), "CARAVAN_BROKER_URL": place.broker}
    baseline = baseline_environ(place, hosts.urls, queue="idle")
    place.make_baseline_tables()
    with (
        group("worker", place.folder) as worker,
        group("others", place.folder) as others,
        group("celery", place.folder) as celery,
    ):
        others.start("worker", "control", environ=variables)
        others.start("worker", "beat", environ=variables)
        worker.start("worker", "worker", "--host", "bench-1", environ=variables)
        celery.start("celery", "-A", CELERY, "worker", "-c", "1", "-Q", "idle", environ=baseline)
        time.sleep(SETTLE_SECONDS)
        ours, theirs = rest_of(place, [worker, celery], seconds)
        for one in (worker, others, celery):
            if not one.running():
                raise Stuck(one.last_words())
    return ours, theirs


def rest_of(place: Place, groups: Sequence[Group], seconds: float) -> list[Rest]:
    """What each group uses in the same ``seconds``, in which nothing happens."""
    with place.writes() as writes:
        written = writes()
        before = [(one.cpu_seconds(), _lines(one)) for one in groups]
        began = time.monotonic()
        while (left := began + seconds - time.monotonic()) > 0:
            time.sleep(min(left, LOOK_SECONDS))
            written_now = writes()
        after = [(one.cpu_seconds(), _lines(one)) for one in groups]
        took = time.monotonic() - began
        written = written_now - written
    return [
        Rest((cpu - cpu_before) / took, lines - lines_before, 60 * written / took)
        for (cpu, lines), (cpu_before, lines_before) in zip(after, before, strict=True)
    ]


def start_of(client: Client) -> float:
    """Submit an interactive job; seconds from the return until it was started, once it has ended and all rests again."""
    batch = client.submit([{"prompt": "Now?"}], model=MODELS[0], priority="interactive", new=True)
    stored = client.clock.now()
    until = time.monotonic() + 60
    while True:
        with client.database.read() as conn:
            row = conn.execute(
                text("SELECT started_at, finished_at FROM jobs WHERE batch_id = :id").columns(
                    started_at=UtcTime, finished_at=UtcTime
                ),
                {"id": batch.id},
            ).one()
        if row.finished_at is not None:
            break
        if time.monotonic() > until:
            raise Stuck("an interactive job did not end within a minute")
        time.sleep(0.05)
    time.sleep(8)  # the linger of the hosts is over
    return max(0.0, float((row.started_at - stored).total_seconds()))


def pile_up(client: Client, jobs: int) -> None:
    """Add a batch of so many scheduled jobs, as a producer leaves it that was ended right behind its last chunk."""
    now = client.clock.now()
    with client.database.write() as conn:
        runner_key = conn.scalar(text("SELECT runner_key FROM jobs ORDER BY id DESC LIMIT 1"))
        batch = conn.scalar(
            text(
                "INSERT INTO batches (key, name, state, jobs, created_at, sealed_at) "
                "VALUES ('pile', 'pile', 'open', :jobs, :at, :at) RETURNING id"
            ).bindparams(bindparam("at", type_=UtcTime)),
            {"jobs": jobs, "at": now},
        )
        values = {"jobs": jobs, "at": now, "batch": batch, "key": runner_key, "model": MODELS[0]}
        values |= {"low": id_range(batch)["low"], "priority": int(Priority.BULK)}
        conn.execute(_PILE.bindparams(bindparam("at", type_=UtcTime)), values)
        conn.execute(_PAYLOADS, {"batch": batch})
        add_changes(conn, {(batch, runner_key, int(Priority.BULK), "scheduled"): jobs})


_PILE = text(
    "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < :jobs) "
    "INSERT INTO jobs (id, batch_id, custom_id, model, state, priority, runner_key, prefix_group, estimate, "
    "submitted_at, attempt, max_attempts) "
    "SELECT :low + n, :batch, 'c' || n, :model, 'scheduled', :priority, :key, 0, 100, :at, 0, 3 FROM n"
)
_PAYLOADS = text(
    "INSERT INTO payloads (job_id, prompt, request) SELECT id, 'Say this.', '{}' FROM jobs WHERE batch_id = :batch"
)


def _environ(place: Place) -> dict[str, str]:
    return {"CARAVAN_HOME": str(place.folder), "CARAVAN_DATABASE_URL": place.url}


def _client(place: Place) -> Mapping[str, str]:
    return {"home": str(place.folder), "database_url": place.url}


def _lines(one: Group) -> int:
    return one.log(0).read_bytes().count(b"\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--database", choices=("sqlite", "postgresql", "both"), default="both")
    parser.add_argument("--seconds", type=float, default=120.0, help="how long nothing happens (default 120)")
    parser.add_argument("--jobs", type=int, default=100_000, help="scheduled jobs (default 100,000)")
    parser.add_argument("--check", action="store_true", help="exit 1 where a target is missed")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

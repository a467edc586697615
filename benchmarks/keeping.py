"""What do answers cost that are taken again, and what does a prune cost those who claim beside it?

``python -m benchmarks.keeping sqlite --jobs 100000``, or ``postgres``: a batch is answered through the storage's own
functions, submitted again with ``--reuse`` and served by a worker beside a simulated host, then pruned while two workers
claim and finish another batch. Prints one line of JSON. Exit code 1 where a host was asked.
"""

import argparse
import json
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import simulator
from api_schemas.submissions import Submission
from tests.maintenance import tidy
from tests.servers import postgres_server
from worker.domain.attempts import Finish, Succeeded
from worker.domain.batches import Batch
from worker.domain.hosts import Host
from worker.domain.jobs import ClaimedJob
from worker.domain.replies import Result
from worker.domain.timings import Timings
from worker.door.rows import RowStream
from worker.door.submit import submit as submit_rows
from worker.hosts.registry import register
from worker.maintenance.keeping import give_room_back, prune
from worker.maintenance.number import number_all
from worker.ollama.client import Deadlines, OllamaHost
from worker.serving.loop import serve_host
from worker.serving.session import ServingContext
from worker.storage.claims import claim_jobs
from worker.storage.engine import Database, open_database
from worker.storage.finishes import finish_jobs
from worker.storage.keeping import room
from worker.storage.migrate import upgrade

PROMPT, ANSWER = 1_000, 800
"""Characters."""
GROUP = 200
BETWEEN = 0.02
"""Seconds from the outcomes of four jobs to the next claim: a host with four slots and answers of a second claims less often."""
MODEL = simulator.demo_models()[0].name
TIMINGS = Timings(lease=90, renew=20, cancel_poll=2, tick=5, linger=0.0, idle_poll=0.05, group=0.05, unload=3)


def measure(database: Database, jobs: int) -> dict[str, Any]:
    """All figures, in seconds and bytes."""
    clock = database.clock()
    figures: dict[str, Any] = {"database": database.dialect, "jobs": jobs}

    def submit(name: str, count: int, *, reuse: bool = False, other: str = "") -> tuple[Batch, float]:
        began = time.perf_counter()
        lines = (
            json.dumps({"prompt": f"{other}{n} ".ljust(PROMPT, "x"), "model": MODEL}) for n in range(count)
        )
        submission = Submission(key=name, name=name, options={"seed": 1}, reuse=reuse or None)
        submitted = submit_rows(database, submission, RowStream(lines, "benchmark"), clock=clock)
        return submitted.batch, time.perf_counter() - began

    def finish(claimed: Sequence[ClaimedJob], digest: str) -> None:
        now = clock.now()
        ends = [
            Finish(
                job.id, job.batch_id, job.token, job.attempt, "gpu-1", now, now, Succeeded(_result()), digest
            )
            for job in claimed
        ]
        with database.write() as conn:
            finish_jobs(conn, ends, now=now)

    def claim(key: str, limit: int, token: str) -> list[ClaimedJob]:
        now = clock.now()
        with database.write() as conn:
            return claim_jobs(
                conn,
                host="gpu-1",
                runner_keys=[key],
                limit=limit,
                token=token,
                now=now,
                lease_until=now + timedelta(seconds=600),
            )

    def work(key: str, token: str, until: threading.Event) -> list[float]:
        """Claim and finish small groups; seconds of each claim."""
        took = []
        while not until.is_set():
            began = time.perf_counter()
            claimed = claim(key, 4, token)
            took.append(time.perf_counter() - began)
            if not claimed:
                break
            finish(claimed, "")
            time_passes(BETWEEN)
        return took

    def at_work(key: str, beside: Any) -> list[float]:
        """Seconds of the claims of two workers, while ``beside`` runs."""
        until = threading.Event()
        with ThreadPoolExecutor(2) as pool:
            workers = [pool.submit(work, key, f"w{n}", until) for n in range(2)]
            beside()
            until.set()
            return [seconds for worker in workers for seconds in worker.result()]

    with _simulated() as url:
        host = Host("gpu-1", url)
        seen = register(database, host, open_host=_opened, clock=clock)
        digest = next(model.digest for model in seen.models if model.name == MODEL)
        first, figures["submit_seconds"] = submit("first", jobs)
        key = _key(database, first)
        began = time.perf_counter()
        while claimed := claim(key, GROUP, "t"):
            finish(claimed, digest)
        figures["answer_seconds"] = time.perf_counter() - began
        began = time.perf_counter()
        number_all(database)
        figures["number_seconds"] = time.perf_counter() - began
        tidy(database, clock=clock)
        second, figures["submit_reuse_seconds"] = submit("second", jobs, reuse=True)
        began = time.perf_counter()
        gpu = _opened(host)
        served = serve_host(ServingContext(database, host, gpu, clock, TIMINGS, batch_id=second.id))
        gpu.close()
        figures |= {"reuse_seconds": time.perf_counter() - began, "asked": served.jobs, "loads": served.loads}
        number_all(database)
        tidy(database, clock=clock)

    submit("third", max(4000, jobs // 2), other="other ")
    alone = at_work(key, lambda: time_passes(min(20.0, jobs / 2_000)))
    before = room(database)
    began = time.perf_counter()
    beside = at_work(key, lambda: prune(database, [first.id], clock=clock))
    figures["prune_seconds"] = time.perf_counter() - began
    figures["claim_ms_alone"], figures["claim_ms_beside"] = _spread(alone), _spread(beside)
    if before is not None:
        began = time.perf_counter()
        figures["file_bytes"] = before.whole
        figures["given_back_bytes"] = give_room_back(database, clock=clock)
        figures["give_back_seconds"] = time.perf_counter() - began
    return figures


def time_passes(seconds: float) -> None:
    threading.Event().wait(seconds)


def _key(database: Database, batch: Batch) -> str:
    from sqlalchemy import text

    with database.read() as conn:
        return str(
            conn.scalar(text("SELECT runner_key FROM jobs WHERE batch_id = :id LIMIT 1"), {"id": batch.id})
        )


def _spread(took: Sequence[float]) -> dict[str, float]:
    ordered = sorted(took)
    return {
        "claims": len(ordered),
        "median": round(1000 * statistics.median(ordered), 2),
        "p99": round(1000 * ordered[int(0.99 * (len(ordered) - 1))], 2),
        "worst": round(1000 * ordered[-1], 2),
    }


def _result() -> Result:
    return Result(
        answer="a" * ANSWER,
        reasoning=None,
        reasoning_open=False,
        done_reason="stop",
        cut=False,
        prompt_fit="yes",
        prompt_tokens=250,
        output_tokens=200,
        tokens_per_second=50.0,
        prompt_tokens_per_second=None,
        total_seconds=4.5,
        load_seconds=0.0,
        prompt_eval_seconds=0.5,
        eval_seconds=4.0,
        total_duration=4_500_000_000,
        load_duration=0,
        prompt_eval_duration=500_000_000,
        eval_duration=4_000_000_000,
        context=tuple(range(450)),
    )


@contextmanager
def _simulated() -> Iterator[str]:
    settings = simulator.HostSettings(name="gpu-1", models=simulator.demo_models(), time_scale=0.0)
    with simulator.running(settings) as (running,):
        yield running.url


def _opened(host: Host) -> OllamaHost:
    return OllamaHost(host.url, deadlines=Deadlines())


@contextmanager
def _database(kind: str) -> Iterator[Database]:
    with tempfile.TemporaryDirectory(prefix="caravan-keeping-") as folder:
        if kind == "sqlite":
            url = f"sqlite:///{Path(folder) / 'caravan.db'}"
            upgrade(url)
            opened = open_database(url)
            yield opened
            opened.close()
            return
        with postgres_server() as url:
            upgrade(url)
            opened = open_database(url)
            yield opened
            opened.close()


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("database", choices=("sqlite", "postgres"))
    parser.add_argument("--jobs", type=int, default=100_000)
    given = parser.parse_args()
    with _database(given.database) as database:
        figures = measure(database, given.jobs)
    print(
        json.dumps(
            {name: round(value, 2) if isinstance(value, float) else value for name, value in figures.items()}
        )
    )
    return 1 if figures["asked"] or figures["loads"] else 0


if __name__ == "__main__":
    raise SystemExit(main())

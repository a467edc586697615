"""How fast do jobs go in? One producer process: hands over every job, prints what it took.

``python -m benchmarks.submitting caravan jobs.jsonl``: validated and stored in the database of ``CARAVAN_*``.
``python -m benchmarks.submitting celery jobs.jsonl``: ``delay`` per job to ``BASELINE_QUEUE``.
``python -m benchmarks.submitting python 1000000``: that many rows of a generator, through the Python client.
``python -m benchmarks.submitting delay 10000``: the same rows with ``delay``.
"""

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.workload import job_values


def submit_to_caravan(path: Path) -> int:
    """Submit and wake as ``caravan submit`` does; the jobs that were taken in."""
    from api_schemas.submissions import Submission
    from worker.dispatch.app import make_app
    from worker.dispatch.wake import wake_hosts
    from worker.door.rows import RowFile
    from worker.door.submit import submit as submit_rows
    from worker.maintenance.hold import hosts_to_wake
    from worker.settings import load_settings
    from worker.storage.engine import open_database

    settings = load_settings()
    database = open_database(settings.database)
    clock = database.clock()
    app = make_app(settings) if settings.broker_url else None

    def submit() -> int:
        submission = Submission(name=path.name, max_attempts=settings.max_attempts)
        receipt = submit_rows(database, submission, RowFile(path), clock=clock)
        if app is not None:
            wake_hosts(app, hosts_to_wake(database, clock=clock))
        return receipt.batch.jobs

    try:
        return _timed(submit)
    finally:
        database.close()


def submit_to_celery(path: Path) -> int:
    """Send a task per line."""
    from benchmarks.baselines.celery_per_job import generate

    def submit() -> int:
        sent = 0
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                generate.delay(json.loads(line))
                sent += 1
        return sent

    return _timed(submit)


def submit_from_python(jobs: int) -> int:
    """Rows of a generator through ``Caravan.submit``, into the database of ``CARAVAN_*``."""
    from caravan import Caravan

    with Caravan() as caravan:
        return _timed(lambda: caravan.submit(job_values(jobs, "python"), name="python").progress().total)


def delay_from_python(jobs: int) -> int:
    """Send a task per row of a generator."""
    from benchmarks.baselines.celery_per_job import generate

    def submit() -> int:
        for values in job_values(jobs, "delay"):
            generate.delay(values)
        return jobs

    return _timed(submit)


def _timed(submit: Callable[[], int]) -> int:
    began = time.perf_counter()
    cpu_began = time.process_time()
    jobs = submit()
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu_began
    told = {"jobs": jobs, "seconds": seconds, "cpu_seconds": cpu, "peak_rss": _peak_rss()}
    print(json.dumps(told), flush=True)
    return jobs


def _peak_rss() -> int:
    """Bytes of memory that this process had at most."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("into", choices=("caravan", "celery", "python", "delay"))
    parser.add_argument("jobs", help="a file, or how many rows of a generator")
    given = parser.parse_args()
    match given.into:
        case "caravan":
            submit_to_caravan(Path(given.jobs))
        case "celery":
            submit_to_celery(Path(given.jobs))
        case "python":
            submit_from_python(int(given.jobs))
        case _:
            delay_from_python(int(given.jobs))


if __name__ == "__main__":
    main()

"""How fast do jobs go in? One producer process: reads a JSONL file, hands over every line, prints what it took.

``python -m benchmarks.submitting caravan jobs.jsonl``: validated and stored in the database of ``CARAVAN_*``.
``python -m benchmarks.submitting celery jobs.jsonl``: ``delay`` per job to ``BASELINE_QUEUE``.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path


def submit_to_caravan(path: Path) -> int:
    """Submit and wake as ``caravan submit`` does; the jobs that were taken in."""
    from worker.dispatch.app import make_app
    from worker.dispatch.wake import wake_hosts
    from worker.door.arrival import arrive
    from worker.door.recipe import Recipe
    from worker.maintenance.hold import hosts_to_wake
    from worker.settings import load_settings
    from worker.storage.engine import open_database

    settings = load_settings()
    database = open_database(settings.database)
    clock = database.clock()
    app = make_app(settings) if settings.broker_url else None

    def submit() -> int:
        arrived = arrive(
            database,
            path,
            Recipe(),
            name=path.name,
            clock=clock,
            ask=lambda batch, difference: None,
            max_attempts=settings.max_attempts,
        )
        if app is not None:
            wake_hosts(app, hosts_to_wake(database, clock=clock))
        return arrived.batch.jobs

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


def _timed(submit: Callable[[], int]) -> int:
    began = time.perf_counter()
    cpu_began = time.process_time()
    jobs = submit()
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu_began
    print(json.dumps({"jobs": jobs, "seconds": seconds, "cpu_seconds": cpu}), flush=True)
    return jobs


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("into", choices=("caravan", "celery"))
    parser.add_argument("jobs", type=Path)
    given = parser.parse_args()
    match given.into:
        case "caravan":
            submit_to_caravan(given.jobs)
        case _:
            submit_to_celery(given.jobs)


if __name__ == "__main__":
    main()

"""The least one can write: threads that post prompts and append what comes back to a file.

``python -m benchmarks.baselines.requests_loop jobs.jsonl answers.jsonl --host URL --threads 4``. No database, no retry,
no going on after a stop: the floor that any queue in Python stands on.
"""

import argparse
import itertools
import json
import queue
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

import requests


def run(jobs: Path, answers: Path, *, hosts: Sequence[str], threads: int) -> None:
    """Ask ``hosts`` in turn, ``threads`` requests at a time, and append an answer a line."""
    with jobs.open(encoding="utf-8") as lines, answers.open("a", encoding="utf-8") as out:
        todo: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        for line in lines:
            todo.put(json.loads(line))
        for _ in range(threads):
            todo.put(None)
        lock = threading.Lock()
        workers = [
            threading.Thread(target=_work, args=(todo, itertools.cycle(hosts), out, lock))
            for _ in range(threads)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()


def _work(
    todo: "queue.SimpleQueue[dict[str, Any] | None]", hosts: Iterator[str], out: TextIO, lock: threading.Lock
) -> None:
    session = requests.Session()
    while (job := todo.get()) is not None:
        custom_id = job.pop("custom_id")
        host = next(hosts)
        response = session.post(f"{host}/api/generate", json={**job, "stream": False}, timeout=(5, 600))
        response.raise_for_status()
        line = json.dumps({"custom_id": custom_id, **response.json()}, ensure_ascii=False)
        with lock:
            out.write(line + "\n")
            out.flush()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("jobs", type=Path)
    parser.add_argument("answers", type=Path)
    parser.add_argument("--host", action="append", required=True, help="URL; repeat for more")
    parser.add_argument("--threads", type=int, default=4)
    given = parser.parse_args()
    run(given.jobs, given.answers, hosts=given.host, threads=given.threads)


if __name__ == "__main__":
    main()

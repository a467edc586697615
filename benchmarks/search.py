"""What does it cost to make results searchable, and how long does a search take?

``python -m benchmarks.search sqlite --jobs 100000``, or ``postgres``: results with made-up English and Chinese texts are
put into the tables, taken in as the chores do it, and searched. Prints one line of JSON: seconds, bytes, and for each
search the middle of five in milliseconds.
"""

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import insert, text

from tests.servers import postgres_server
from worker.domain.jobs import NewJob, Priority
from worker.search.search import index_texts, search
from worker.storage.batches import create_batch
from worker.storage.engine import Database, open_database
from worker.storage.ids import SEQ_BITS
from worker.storage.jobs import insert_jobs
from worker.storage.migrate import upgrade
from worker.storage.tables import numbered_results, results

PROMPT, ANSWER = 1_000, 800
"""Characters, about."""
AT_ONCE = 5_000
NOW = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)


class Author:
    """Writes texts in which few words are frequent and most are rare, one text in Chinese for each in English."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        letters = "etaoinshrdlcumwfgypbvk"
        self.words = ["".join(self.dice.choices(letters, k=self.dice.randint(3, 9))) for _ in range(30_000)]
        self.signs = [chr(0x4E00 + n) for n in self.dice.sample(range(20_000), 3_500)]

    def write(self, number: int, characters: int) -> str:
        if number % 2:
            return " ".join(self._some(self.words, characters // 7))
        signs = self._some(self.signs, characters // 2)  # a Chinese text says the same in fewer characters
        return "。".join("".join(signs[at : at + 20]) for at in range(0, len(signs), 20))

    def _some(self, of: list[str], count: int) -> list[str]:
        return [of[int(len(of) * self.dice.random() ** 3)] for _ in range(count)]


def fill(database: Database, jobs: int, author: Author) -> None:
    """``jobs`` results with their numbers, the last of them about a needle."""
    with database.write() as conn:
        batch, _ = create_batch(conn, key="b", name="b", source=None, now=NOW)
    for start in range(0, jobs, AT_ONCE):
        numbers = range(start + 1, min(start + AT_ONCE, jobs) + 1)
        with database.write() as conn:
            insert_jobs(
                conn,
                batch.id,
                [
                    NewJob(
                        n,
                        f"c{n}",
                        "m",
                        "m",
                        Priority.NORMAL,
                        author.write(n, PROMPT) + (" needle 海针" if n == jobs // 2 else ""),
                        {},
                    )
                    for n in numbers
                ],
                now=NOW,
            )
            base = batch.id << SEQ_BITS
            conn.execute(
                insert(results),
                [
                    {
                        "job_id": base + n,
                        "batch_id": batch.id,
                        "custom_id": f"c{n}",
                        "model": "m",
                        "state": "succeeded",
                        "host": "gpu-1",
                        "answer": author.write(n, ANSWER),
                        "attempts": 1,
                        "finished_at": NOW,
                        "day": NOW.date(),
                    }
                    for n in numbers
                ],
            )
            conn.execute(
                insert(numbered_results),
                [{"number": n, "job_id": base + n, "batch_id": batch.id} for n in numbers],
            )
            conn.execute(text("UPDATE numbering SET last = :last"), {"last": numbers[-1]})


def size(database: Database) -> dict[str, int]:
    """Bytes of all, and of the tokens with their index where the database tells."""
    with database.read() as conn:
        if database.dialect == "postgresql":
            return {
                "all": conn.scalar(text("SELECT pg_database_size(current_database())")) or 0,
                "tokens": conn.scalar(text("SELECT pg_table_size('searchable')")) or 0,
                "index": conn.scalar(text("SELECT pg_indexes_size('searchable')")) or 0,
            }
        pages = conn.exec_driver_sql("PRAGMA page_count").scalar() or 0
        entries = conn.scalar(text("SELECT sum(length(block)) FROM search_index_data")) or 0
        tokens = conn.scalar(text("SELECT sum(length(CAST(tokens AS BLOB))) FROM searchable")) or 0
        return {"all": pages * 4096, "tokens": tokens, "index": entries}


def measure(database: Database, jobs: int) -> dict[str, Any]:
    author = Author(7)
    fill(database, jobs, author)
    before = size(database)
    began, cpu = time.perf_counter(), time.process_time()
    index_texts(database, clock=database.clock(), most_seconds=None)
    took, cpu = time.perf_counter() - began, time.process_time() - cpu
    if database.dialect == "postgresql":
        with database.outside() as conn:
            conn.execute(text("VACUUM ANALYZE searchable"))
    words, signs = author.words, author.signs
    asked = {
        "one hit": "needle",
        "one hit, Chinese": "海针",
        "a frequent word": words[1],
        "two frequent words": f"{words[1]} {words[2]}",
        "two rare words": f"{words[-1]} {words[-2]}",
        "a frequent pair": signs[0] + signs[1],
        "three frequent pairs, rarely together": "".join(signs[:4]),
        "one character": signs[0],
        "the beginning of a word": f"{words[1][:3]}*",
        "a phrase": f'"{words[3]} {words[5]} {words[7]}"',
        "frequent, excluding frequent": f"{words[1]} -{words[2]}",
        "nothing": "zebra",
    }
    return {
        "database": database.dialect,
        "jobs": jobs,
        "bytes_before": before["all"],
        "bytes_added": size(database)["all"] - before["all"],
        **{f"bytes_of_{name}": found for name, found in size(database).items() if name != "all"},
        "index_seconds": round(took, 1),
        "index_cpu_seconds": round(cpu, 1),
        "milliseconds": {name: _searched(database, words) for name, words in asked.items()},
    }


def _searched(database: Database, words: str) -> dict[str, Any]:
    times = []
    for _ in range(5):
        began = time.perf_counter()
        found = search(database, words)
        times.append(time.perf_counter() - began)
    return {"hits": len(found.hits), "more": found.more, "ms": round(1000 * statistics.median(times), 1)}


@contextmanager
def opened(kind: str) -> Iterator[Database]:
    with tempfile.TemporaryDirectory() as folder:
        if kind == "sqlite":
            yield from _upgraded(f"sqlite:///{Path(folder) / 'caravan.db'}")
            return
        with postgres_server() as url:
            yield from _upgraded(url)


def _upgraded(url: str) -> Iterator[Database]:
    upgrade(url)
    database = open_database(url)
    try:
        yield database
    finally:
        database.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("database", choices=["sqlite", "postgres"])
    parser.add_argument("--jobs", type=int, default=100_000)
    given = parser.parse_args()
    with opened(given.database) as database:
        print(json.dumps(measure(database, given.jobs), ensure_ascii=False))


if __name__ == "__main__":
    main()

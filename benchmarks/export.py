"""How much memory does an export take? A batch of a million answers, each form in a process of its own.

``python -m benchmarks.export`` fills a database (some three minutes) and writes it as Parquet, CSV, JSON lines and as
snapshots; the most that each process took is printed, and the exit code is 1 beyond 300 MB for Parquet.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import insert

from worker.domain.hosts import Host
from worker.storage.batches import create_batch
from worker.storage.engine import Database, open_database
from worker.storage.hosts import add_host
from worker.storage.ids import job_id
from worker.storage.migrate import upgrade
from worker.storage.tables import batches, counts, jobs, numbered_results, numbering, payloads, results

ROWS = 1_000_000
LIMIT = 300e6
"""Bytes that an export may take."""
CHUNK = 10_000
BEGAN = datetime(2026, 11, 23, tzinfo=UTC)
FORMS = ("parquet", "csv", "jsonl", "sqlite", "duckdb")
_WORDS = (
    *(
        "the",
        "product",
        "is",
        "light",
        "quiet",
        "easy",
        "to",
        "clean",
        "it",
        "has",
        "two",
        "speeds",
        "and",
        "a",
    ),
    *(
        "steel",
        "handle",
        "one",
        "year",
        "of",
        "warranty",
        "which",
        "customers",
        "praise",
        "but",
        "some",
        "find",
    ),
    *(
        "它",
        "很",
        "轻",
        "也",
        "安静",
        "清洗",
        "方便",
        "适合",
        "小",
        "厨房",
        "too",
        "small",
        "for",
        "large",
        "rooms",
    ),
)

_WRITE = """
import json, resource, sys, time
from datetime import UTC, datetime
from pathlib import Path
form, url, folder = sys.argv[1:]
from worker.storage.engine import open_database
database = open_database(url)
path = Path(folder) / f"out.{form}"
began = time.perf_counter()
if form in ("sqlite", "duckdb"):
    from worker.storage.snapshots import snapshot
    rows = snapshot(database, path, kind=form, now=datetime.now(UTC))["report_results"]
else:
    from worker.domain.selection import Selection
    from worker.exports.files import ResultWriter
    rows = ResultWriter(database, Selection(1)).file(path)
seconds = time.perf_counter() - began
database.close()
kilo = 1 if sys.platform == "darwin" else 1024
most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * kilo
print(json.dumps({"form": form, "rows": rows, "seconds": seconds, "memory": most, "size": path.stat().st_size}))
"""


@dataclass(frozen=True, slots=True)
class Export:
    """One form written: the most memory and the size of the file, in bytes."""

    form: str
    rows: int
    seconds: float
    memory: int
    size: int

    def __str__(self) -> str:
        return (
            f"{self.form:8} {self.rows:>9,} rows in {self.seconds:6.1f} s, {self.memory / 1e6:4.0f} MB of memory, "
            f"{self.size / 1e6:6,.0f} MB written"
        )


def fill(database: Database, rows: int) -> None:
    """One finished batch with answers of some 800 characters."""
    with database.write() as conn:
        add_host(conn, Host("gpu-1", "http://gpu-1:11434"), now=BEGAN)
        batch, _ = create_batch(conn, key="export", name="export", source=None, now=BEGAN)
        values = {"state": "finished", "jobs": rows, "sealed_at": BEGAN, "finished_at": BEGAN}
        conn.execute(batches.update().values(**values))
        conn.execute(
            insert(counts),
            {"batch_id": batch.id, "runner_key": "m", "priority": 2, "state": "succeeded", "jobs": rows},
        )
    for start in range(1, rows + 1, CHUNK):
        some = range(start, min(start + CHUNK, rows + 1))
        with database.write() as conn:
            conn.execute(insert(jobs), [*_jobs(batch.id, some)])
            conn.execute(insert(payloads), [*_payloads(batch.id, some)])
            conn.execute(insert(results), [*_results(batch.id, some)])
            numbers = [{"number": n, "job_id": job_id(batch.id, n), "batch_id": batch.id} for n in some]
            conn.execute(insert(numbered_results), numbers)
            conn.execute(numbering.update().values(last=some[-1]))


def _text(seed: int, words: int) -> str:
    """Words that repeat as little as those of a model."""
    chance = random.Random(seed)
    return " ".join(chance.choices(_WORDS, k=words))


def _jobs(batch: int, some: range) -> Iterator[dict[str, object]]:
    for n in some:
        yield {
            "id": job_id(batch, n),
            "batch_id": batch,
            "custom_id": f"row-{n}",
            "model": "qwen3:8b",
            "state": "succeeded",
            "priority": 2,
            "runner_key": "m",
            "prefix_group": job_id(batch, 1),
            "estimate": 600,
            "submitted_at": BEGAN,
            "attempt": 1,
            "max_attempts": 3,
            "host": "gpu-1",
            "started_at": BEGAN,
            "finished_at": BEGAN,
        }


def _payloads(batch: int, some: range) -> Iterator[dict[str, object]]:
    for n in some:
        yield {
            "job_id": job_id(batch, n),
            "prompt": f"Describe product {n}. {_text(n, 80)}",
            "request": {},
            "metadata": {"sku": f"A{n}", "lang": "de" if n % 2 else "zh", "price": n / 7},
        }


def _results(batch: int, some: range) -> Iterator[dict[str, object]]:
    for n in some:
        yield {
            "job_id": job_id(batch, n),
            "batch_id": batch,
            "custom_id": f"row-{n}",
            "model": "qwen3:8b",
            "state": "succeeded",
            "host": "gpu-1",
            "answer": _text(-n, 160),
            "reasoning": _text(n + 1, 60),
            "done_reason": "stop",
            "cut": False,
            "prompt_fit": "yes",
            "prompt_tokens": 90,
            "output_tokens": 220,
            "tokens_per_second": 41.5,
            "total_seconds": 5.4,
            "eval_seconds": 5.3,
            "attempts": 1,
            "finished_at": BEGAN,
            "day": BEGAN.date(),
        }


def write(url: str, form: str, folder: Path) -> Export:
    """The batch in one form, by a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", _WRITE, form, url, str(folder)], capture_output=True, text=True, check=True
    )
    return Export(**json.loads(done.stdout))


def main() -> int:
    """Fill, write, print; 1 where Parquet took more than it may."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--forms", default=",".join(FORMS), help="Of " + ", ".join(FORMS) + ".")
    parser.add_argument("--database", metavar="URL", help="An empty one; default: an SQLite file.")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="caravan-export-") as place:
        folder = Path(place)
        url = given.database or f"sqlite:///{folder / 'caravan.db'}"
        upgrade(url)
        database = open_database(url)
        began = time.perf_counter()
        fill(database, given.rows)
        database.close()
        if not given.json:
            print(f"{given.rows:,} rows filled in {time.perf_counter() - began:.0f} s", flush=True)
        beyond = False
        for form in given.forms.split(","):
            found = write(url, form, folder)
            (folder / f"out.{form}").unlink()
            print(json.dumps(asdict(found)) if given.json else found, flush=True)
            beyond = beyond or (form == "parquet" and found.memory > LIMIT)
    return 1 if beyond else 0


if __name__ == "__main__":
    sys.exit(main())

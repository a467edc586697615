"""What does a vector cost at least? CPU of reading and storing many of them, with hand-written statements and nothing else.

``python -m benchmarks.embedding_floor`` takes some seconds. It parses replies of 256 vectors of 384 numbers, packs and checks
them, and moves jobs through Caravan's own tables in SQLite: a claim, the fence, the results, the attempts. There is no HTTP, no
thread, no row of Python: the worker cannot be cheaper with these tables. ``benchmarks.embedding`` measures the worker.
"""

import argparse
import json
import math
import random
import sqlite3
import struct
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from api_schemas.jobs import JobDefaults
from tests.door import submit_lines
from worker.storage.engine import open_database
from worker.storage.migrate import upgrade

NUMBERS, TEXTS_A_CALL, CALLS, GROUP = 384, 256, 8, 512
NOW = "2026-12-01T00:00:00.000000Z"
_AMONG = "IN (SELECT value FROM json_each(:ids))"
CLAIM = (
    "UPDATE jobs SET state = 'running', attempt = attempt + 1, lease_token = 't', lease_until = :now, host = 'h', "
    "started_at = :now WHERE id IN (SELECT id FROM jobs INDEXED BY ix_jobs_claim WHERE state = 'queued' AND runner_key = :key "
    "AND priority = 2 AND expires = false ORDER BY prefix_group, id LIMIT :limit) RETURNING id"
)
ASK = f"SELECT job_id, prompt, request FROM payloads WHERE job_id {_AMONG}"
FENCE = f"SELECT id, state, attempt, lease_token FROM jobs WHERE id {_AMONG} ORDER BY id"
FINISH = f"UPDATE jobs SET state = 'succeeded', lease_token = NULL, lease_until = NULL, finished_at = :now WHERE id {_AMONG}"
STORE = (
    "INSERT INTO results (job_id, batch_id, custom_id, model, state, host, attempts, finished_at, day, answer, embedding, cut, "
    "prompt_fit, prompt_tokens, output_tokens, total_seconds, total_duration) SELECT jobs.id, batch_id, custom_id, model, "
    "'succeeded', 'h', attempt, :now, '2026-12-01', '', substr(:vectors, 1 + id.key * :bytes, :bytes), 0, 'yes', 9, 0, 0.1, 1 "
    "FROM json_each(:ids) AS id CROSS JOIN jobs ON jobs.id = id.value"
)
FRESH = "INSERT INTO fresh_results (job_id) SELECT value FROM json_each(:ids)"
ATTEMPTS = (
    "INSERT INTO attempts (job_id, attempt, host, outcome, charged, started_at, ended_at) SELECT jobs.id, attempt, 'h', "
    "'succeeded', 0, :now, :now FROM json_each(:ids) AS id CROSS JOIN jobs ON jobs.id = id.value"
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--texts", type=int, default=20_000)
    texts = parser.parse_args().texts
    reading = reading_seconds() * 1e3
    with tempfile.TemporaryDirectory(prefix="caravan-floor-") as scratch:
        storing = storing_seconds(Path(scratch) / "caravan.db", texts) * 1e3
    print(
        f"{reading + storing:.3f} ms of CPU a text: reading its vector {reading:.3f}, storing it {storing:.3f}"
    )


def reading_seconds() -> float:
    """Seconds for each vector: parsed, checked and packed."""
    chance = random.Random(1)
    body = json.dumps(
        {"embeddings": [[chance.uniform(-0.1, 0.1) for _ in range(NUMBERS)] for _ in range(TEXTS_A_CALL)]}
    )
    # as hosts write it: no more digits than a float32 has
    reply = json.dumps(json.loads(body, parse_float=lambda text: float(f"{float(text):.9g}"))).encode()

    def read() -> None:
        for _ in range(CALLS):
            for vector in from_json(reply)["embeddings"]:
                math.hypot(*vector)
                struct.pack(f"<{NUMBERS}f", *vector)

    return _spent(read) / CALLS / TEXTS_A_CALL


def storing_seconds(file: Path, texts: int) -> float:
    """Seconds for each job, from its claim to its result."""
    url = f"sqlite:///{file}"
    upgrade(url)
    database = open_database(url)
    lines = (
        json.dumps({"kind": "embed", "model": "m", "input": f"Cup number {n}, red."}) for n in range(texts)
    )
    submit_lines(database, lines, key="texts", name="texts", defaults=JobDefaults(), clock=database.clock())
    database.close()
    connection = sqlite3.connect(file, isolation_level=None)
    for setting in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {setting}")
    [key] = connection.execute("SELECT runner_key FROM jobs LIMIT 1").fetchone()
    size = 4 * NUMBERS
    values: dict[str, Any] = {
        "now": NOW,
        "key": key,
        "limit": GROUP,
        "bytes": size,
        "vectors": bytearray(random.Random(1).randbytes(size * GROUP)),
    }

    def store() -> None:
        while ids := _transaction(connection, values, CLAIM):
            values["ids"] = json.dumps([row[0] for row in ids])
            _transaction(connection, values, ASK)
            _transaction(connection, values, FENCE, FINISH, STORE, FRESH, ATTEMPTS)

    spent = _spent(store) / texts
    connection.close()
    return spent


def _transaction(connection: sqlite3.Connection, values: dict[str, Any], *statements: str) -> list[Any]:
    """The rows of the first statement."""
    connection.execute("BEGIN IMMEDIATE")
    first, *others = statements
    rows = connection.execute(first, values).fetchall()
    for statement in others:
        connection.execute(statement, values)
    connection.execute("COMMIT")
    return rows


def _spent(work: Callable[[], object]) -> float:
    began = time.thread_time()
    work()
    return time.thread_time() - began


if __name__ == "__main__":
    main()

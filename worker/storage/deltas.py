"""What did a transaction change? It writes what each state gained and lost; the tick folds that into totals.

No hot counter row: two grouped finishes of one batch never wait for each other, and nothing counts over the queue.
"""

from collections.abc import Mapping

from sqlalchemy import insert
from sqlalchemy.engine import Connection

from worker.storage.tables import count_deltas

Change = tuple[int, str, int, str]
"""batch, runner key, priority, state"""


def add_changes(conn: Connection, changes: Mapping[Change, int]) -> None:
    """Write what a transaction changed. Called in the transaction that changes the jobs."""
    rows = [
        {"batch_id": batch, "runner_key": key, "priority": int(priority), "state": state, "jobs": jobs}
        for (batch, key, priority, state), jobs in sorted(changes.items())
        if jobs
    ]
    if rows:
        conn.execute(insert(count_deltas), rows)

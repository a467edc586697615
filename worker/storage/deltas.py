"""What did a transaction change? It writes what each state gained and lost; the tick folds that into totals.

No hot counter row: two grouped finishes of one batch never wait for each other, and nothing counts over the queue.
"""

from collections.abc import Mapping

from sqlalchemy.engine import Connection

from worker.storage.rows import Insert, write_rows

Change = tuple[int, str, int, str]
"""batch, runner key, priority, state"""


def add_changes(conn: Connection, changes: Mapping[Change, int]) -> None:
    """Write what a transaction changed. Called in the transaction that changes the jobs."""
    rows = [
        (batch, key, int(priority), state, jobs)
        for (batch, key, priority, state), jobs in sorted(changes.items())
        if jobs
    ]
    write_rows(conn, _DELTA, rows)


_DELTA = Insert("count_deltas", ("batch_id", "runner_key", "priority", "state", "jobs"))

"""The read side for the command line: what a batch looks like to a person."""

from collections.abc import Iterator

from sqlalchemy import text
from sqlalchemy.engine import Connection

from worker.storage.ids import id_range


def runner_keys_in_order(conn: Connection, batch_id: int) -> Iterator[str]:
    """The runner key of each job of the batch, in input order."""
    rows = conn.execute(
        text("SELECT runner_key FROM jobs WHERE id >= :low AND id < :high ORDER BY id"),
        id_range(batch_id),
        execution_options={"yield_per": 5000},
    )
    for row in rows:
        yield row[0]

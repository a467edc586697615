"""The read side for the command line: what a batch looks like to a person."""

from collections.abc import Iterator

from sqlalchemy import text
from sqlalchemy.engine import Connection


def runner_keys_in_order(conn: Connection, batch_id: int) -> Iterator[str]:
    """The runner key of each job of the batch, in input order."""
    rows = conn.execute(
        text("SELECT runner_key FROM jobs WHERE batch_id = :batch ORDER BY id"), {"batch": batch_id}
    )
    for row in rows:
        yield row[0]

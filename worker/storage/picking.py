"""Choose some jobs and change them, in one statement that is right whoever else does so at the same time."""

from collections.abc import Mapping

from sqlalchemy import ColumnElement, and_

from worker.storage.ids import id_range
from worker.storage.tables import jobs


def change_picked(pick: str, change: str, give: str, *, wait: bool = False) -> Mapping[str, str]:
    """By dialect: ``change`` the jobs whose ids ``pick`` selects, and give the columns ``give``.

    On PostgreSQL rows that another transaction holds are passed over; with ``wait`` they are waited for, and then
    ``pick`` has to be ordered by id: transactions that lock rows in one order never wait for each other in a circle.
    On SQLite there is one writer at a time.
    """
    lock = "FOR UPDATE" if wait else "FOR UPDATE SKIP LOCKED"
    return {
        # MATERIALIZED keeps the planner from running the sub-select again for each row and changing more than LIMIT
        "postgresql": f"WITH picked AS MATERIALIZED ({pick} {lock}) "
        f"UPDATE jobs SET {change} FROM picked WHERE jobs.id = picked.id RETURNING {give}",
        "sqlite": f"UPDATE jobs SET {change} WHERE id IN ({pick}) RETURNING {give}",
    }


def in_batch(batch_id: int, job: ColumnElement[int] = jobs.c.id) -> ColumnElement[bool]:
    """The jobs of a batch, by their ids: this goes along the primary key, and its rows come in the input's order.

    A condition on ``batch_id`` makes PostgreSQL walk the jobs of all earlier batches to have them in order.
    """
    ids = id_range(batch_id)
    return and_(job >= ids["low"], job < ids["high"])

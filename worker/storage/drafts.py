"""What hosts have written so far to jobs that somebody in another process waits for.

Whoever waits makes the row, and whoever serves writes into it: nothing is written for jobs that nobody looks at.
"""

from collections.abc import Collection, Mapping

from sqlalchemy import bindparam, text
from sqlalchemy.engine import Connection

_FORGET = text(
    "DELETE FROM drafts WHERE job_id IN (SELECT id FROM jobs WHERE state IN ('succeeded', 'failed', 'cancelled'))"
)
_ASK = text(
    "INSERT INTO drafts (job_id, text) SELECT id, '' FROM jobs WHERE batch_id = :batch "
    "AND state NOT IN ('succeeded', 'failed', 'cancelled') ON CONFLICT DO NOTHING"
)
_READ = text("SELECT d.text FROM drafts d JOIN jobs j ON j.id = d.job_id WHERE j.batch_id = :batch LIMIT 1")
_END = text("DELETE FROM drafts WHERE job_id IN (SELECT id FROM jobs WHERE batch_id = :batch)")
_DUE = text("SELECT job_id FROM drafts WHERE job_id IN :jobs").bindparams(bindparam("jobs", expanding=True))
_WRITE = text("UPDATE drafts SET text = :text WHERE job_id = :job")


def ask_for_draft(conn: Connection, batch_id: int) -> None:
    """From now on what is written to the jobs of a batch can be read. Rows that a dead process left behind go."""
    conn.execute(_FORGET)
    conn.execute(_ASK, {"batch": batch_id})


def read_draft(conn: Connection, batch_id: int) -> str:
    """What was written so far to the job of a batch that has one; empty where that is nothing."""
    return conn.scalar(_READ, {"batch": batch_id}) or ""


def end_draft(conn: Connection, batch_id: int) -> None:
    """Nobody looks at it any more."""
    conn.execute(_END, {"batch": batch_id})


def drafts_to_write(conn: Connection, job_ids: Collection[int]) -> frozenset[int]:
    """Those of the jobs at which somebody looks."""
    return frozenset(conn.scalars(_DUE, {"jobs": sorted(job_ids)}))


def write_drafts(conn: Connection, drafts: Mapping[int, str]) -> None:
    """``drafts``: job → all that was written to it."""
    conn.execute(_WRITE, [{"job": job, "text": draft} for job, draft in drafts.items()])

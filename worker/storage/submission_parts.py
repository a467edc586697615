"""Parts of a submission that comes in several messages: kept until the last is there, in whatever order they come."""

from collections.abc import Iterator
from datetime import datetime

from sqlalchemy import delete, insert, select
from sqlalchemy.engine import Connection

from worker.storage.engine import Database
from worker.storage.tables import submission_parts
from worker.storage.types import storable


def keep_part(conn: Connection, upload: str, number: int, lines: str, *, now: datetime) -> None:
    """Keep a part, as JSON lines. One that is there already, since its message came twice, is replaced."""
    p = submission_parts.c
    conn.execute(delete(submission_parts).where(p.upload == upload, p.number == number))
    values = {"upload": upload, "number": number, "lines": storable(lines), "received_at": now}
    conn.execute(insert(submission_parts), values)


def part_numbers(conn: Connection, upload: str) -> list[int]:
    """The parts of an upload that are there."""
    p = submission_parts.c
    return list(conn.scalars(select(p.number).where(p.upload == upload).order_by(p.number)))


def iter_parts(database: Database, upload: str) -> Iterator[str]:
    """The parts in their order, one in memory at a time."""
    with database.read() as conn:
        numbers = part_numbers(conn, upload)
    p = submission_parts.c
    for number in numbers:
        with database.read() as conn:
            lines = conn.scalar(select(p.lines).where(p.upload == upload, p.number == number))
        yield lines or ""


def drop_parts(conn: Connection, upload: str, *, before: datetime) -> None:
    """Drop the parts of an upload, and those of others that were received ``before`` this: their producers have given
    up."""
    p = submission_parts.c
    conn.execute(delete(submission_parts).where((p.upload == upload) | (p.received_at < before)))

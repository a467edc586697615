"""Finds jobs by tokens, and results that are not indexed yet.

A cursor over the numbers of results says how far the index is: numbers are seen in order, so none is passed over.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, insert, select, text
from sqlalchemy.engine import Connection

from worker.domain.selection import Selection
from worker.policy.search import WordQuery, tokens
from worker.records import record
from worker.storage.ids import SEQ_BITS
from worker.storage.selection import matching
from worker.storage.tables import (
    batches,
    fresh_results,
    jobs,
    numbered_results,
    numbering,
    payloads,
    results,
    searchable,
    searching,
)
from worker.storage.words import VECTOR

HIGHEST = (1 << 62) - 1


@record
class Text:
    """A job with what it asked and what was answered."""

    job_id: int
    batch_id: int
    batch: str
    custom_id: str
    model: str
    state: str
    finished_at: datetime | None
    prompt: str | None
    answer: str | None


@record
class Progress:
    """How far the index is."""

    last: int
    """The number of the last result that was looked at."""
    newest: int
    fresh: int
    """Results without a number."""

    @property
    def behind(self) -> int:
        """Results that are not found yet, at most."""
        return max(0, self.newest - self.last) + self.fresh


def progress(conn: Connection) -> Progress:
    """How far the index is."""
    return Progress(
        conn.scalar(select(searching.c.last)) or 0,
        conn.scalar(select(numbering.c.last)) or 0,
        conn.scalar(select(func.count()).select_from(fresh_results)) or 0,
    )


def index_some(conn: Connection, *, limit: int, most_characters: int) -> int:
    """Take the next results in; how many numbers that was. One writer at a time, as with the numbers themselves.

    The jobs are locked in the order of their ids, as everybody does who waits for one: who deletes them meanwhile
    deletes what is written here too, or is done before and they are not there any more.
    """
    lock = " FOR UPDATE" if conn.dialect.name == "postgresql" else ""
    last = conn.scalar(text(f"SELECT last FROM searching WHERE id = 1{lock}")) or 0
    rows = conn.execute(
        select(numbered_results.c.number, numbered_results.c.job_id)
        .where(numbered_results.c.number > last)
        .order_by(numbered_results.c.number)
        .limit(limit)
    ).all()
    if not rows:
        return 0
    ids = sorted(row.job_id for row in rows)
    locked = select(jobs.c.id).where(jobs.c.id.in_(ids)).order_by(jobs.c.id)
    there = list(conn.scalars(locked.with_for_update(read=True, key_share=True, of=jobs)))
    conn.execute(delete(searchable).where(searchable.c.job_id.in_(ids)))
    new = [
        {"job_id": one.job_id, "tokens": " ".join(sorted(_tokens(one, most_characters)))}
        for one in texts(conn, there, most_characters=most_characters)
    ]
    if new:
        conn.execute(insert(searchable), new)
    conn.execute(text("UPDATE searching SET last = :last WHERE id = 1"), {"last": rows[-1].number})
    return len(rows)


def _tokens(text: Text, most: int) -> set[str]:
    return {token for field in (text.prompt, text.answer) if field for token in tokens(field[:most])}


def candidates(
    conn: Connection, words: WordQuery, *, batch_id: int | None = None, below: int = HIGHEST, limit: int
) -> list[int]:
    """Jobs that have every token that is wanted, the newest first, with ids under ``below``."""
    grams = dict.fromkeys(gram for term in words.terms for gram in term.tokens)
    parameters: dict[str, Any] = {"below": below, "limit": limit, "above": 0}
    if batch_id is not None:
        parameters["above"] = batch_id << SEQ_BITS
        parameters["below"] = min(below, (batch_id + 1) << SEQ_BITS)
    if conn.dialect.name == "postgresql":
        parameters["words"] = " & ".join(f"'{token}'{':*' if prefix else ''}" for token, prefix in grams)
        query = (
            f"SELECT job_id FROM searchable WHERE {VECTOR} @@ CAST(:words AS tsquery) "
            "AND job_id >= :above AND job_id < :below ORDER BY job_id DESC LIMIT :limit"
        )
    else:
        parameters["words"] = " AND ".join(f'"{token}"{"*" if prefix else ""}' for token, prefix in grams)
        query = (
            "SELECT rowid FROM search_index WHERE search_index MATCH :words "
            "AND rowid >= :above AND rowid < :below ORDER BY rowid DESC LIMIT :limit"
        )
    return list(conn.scalars(text(query), parameters))


def texts(conn: Connection, job_ids: Sequence[int], *, most_characters: int | None = None) -> list[Text]:
    """These jobs, those that are there, in the order of the ids given; of long texts their beginnings."""
    query = _TEXTS
    if most_characters is not None:
        query = query.with_only_columns(
            *_OF_JOB,
            *(func.substr(column, 1, most_characters) for column in _LONG),
            maintain_column_froms=True,
        )
    rows = conn.execute(query.where(jobs.c.id.in_(job_ids)))
    by_job = {row.id: Text(*row) for row in rows}
    return [by_job[job] for job in job_ids if job in by_job]


def texts_of(conn: Connection, chosen: Selection, *, after: int, limit: int) -> list[Text]:
    """The jobs that are meant, ended or not, in the order of their ids from ``after`` on."""
    query = _TEXTS.where(matching(chosen), jobs.c.id > after).order_by(jobs.c.id).limit(limit)
    return [Text(*row) for row in conn.execute(query)]


def forget(conn: Connection, job_ids: Collection[int]) -> None:
    """These jobs are found no more."""
    conn.execute(delete(searchable).where(searchable.c.job_id.in_(job_ids)))


_OF_JOB = (
    jobs.c.id,
    jobs.c.batch_id,
    batches.c.name,
    jobs.c.custom_id,
    jobs.c.model,
    jobs.c.state,
    jobs.c.finished_at,
)
_LONG = (payloads.c.prompt, results.c.answer)
_TEXTS = (
    select(*_OF_JOB, *_LONG)
    .join(batches, batches.c.id == jobs.c.batch_id)
    .outerjoin(payloads, payloads.c.job_id == jobs.c.id)
    .outerjoin(results, results.c.job_id == jobs.c.id)
)

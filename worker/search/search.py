"""Finds jobs by what was asked and answered, and keeps what they are found by up to date."""

from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import Literal

from worker.clock import Clock
from worker.domain.selection import Selection
from worker.errors import Conflict
from worker.maintenance.number import number_all
from worker.policy.search import WordQuery, parse, snippet
from worker.records import record
from worker.storage import search as storage
from worker.storage.engine import Database
from worker.storage.search import HIGHEST, Progress, Text

AT_ONCE = 200
"""Results that are taken in in one transaction: some hundredths of a second each."""
CANDIDATES = 200
"""Texts that are looked through at a time."""
LOOKED_AT = 50_000
"""Candidates after which a search stops, and says so."""
CHARACTERS = 8_000
"""Of a prompt, and of an answer, that are found."""
MOST_JOBS = 10_000
"""Jobs that one action takes by their words."""
LONGEST_PASS = 1.0
"""Seconds that one pass of the chores takes results in."""

Field = Literal["prompt", "answer"]
FIELDS: tuple[Field, ...] = ("prompt", "answer")


@record
class Hit:
    """A job whose texts hold what was asked for."""

    text: Text
    field: Field
    """Where the snippet is from."""
    snippet: str


@record
class SearchResult:
    """What a search came to."""

    hits: tuple[Hit, ...]
    more: bool
    """There are more hits than were asked for, or there may be."""
    progress: Progress


def index_texts(
    database: Database, *, clock: Clock, most_seconds: float | None = LONGEST_PASS, most: int = CHARACTERS
) -> int:
    """Take in results that have a number and are not found yet; how many. Raises DatabaseUnavailable."""
    began, total = clock.monotonic(), 0
    while True:
        with database.read() as conn:
            if not storage.progress(conn).behind:
                return total
        with database.write() as conn:
            taken = storage.index_some(conn, limit=AT_ONCE, most_characters=most)
        total += taken
        if not taken or (most_seconds is not None and clock.monotonic() - began > most_seconds):
            return total


def catch_up(database: Database, *, clock: Clock, most_seconds: float | None = 1.0) -> int:
    """Number and index stored results, for as long as a person would wait."""
    number_all(database)
    return index_texts(database, clock=clock, most_seconds=most_seconds)


def search(
    database: Database,
    words: str,
    *,
    batch_id: int | None = None,
    models: Collection[str] = (),
    fields: Collection[Field] = FIELDS,
    limit: int = 20,
) -> SearchResult:
    """Jobs that hold these words, the newest batch first, and in it the last line. Raises InputRefused."""
    query = parse(words)
    hits: list[Hit] = []
    below, looked = HIGHEST, 0
    with database.read() as conn:
        progress = storage.progress(conn)
        while looked < LOOKED_AT:
            ids = storage.candidates(conn, query, batch_id=batch_id, below=below, limit=CANDIDATES)
            for text in storage.texts(conn, ids):
                hit = _hit(text, query, fields) if not models or text.model in models else None
                if hit is None:
                    continue
                if len(hits) == limit:
                    return SearchResult(tuple(hits), True, progress)
                hits.append(hit)
            if len(ids) < CANDIDATES:
                return SearchResult(tuple(hits), False, progress)
            below, looked = ids[-1], looked + len(ids)
    return SearchResult(tuple(hits), True, progress)


def _hit(text: Text, query: WordQuery, fields: Collection[Field]) -> Hit | None:
    texts: dict[Field, str | None] = {"prompt": text.prompt, "answer": text.answer}
    if not query.fits(*(texts[field] for field in fields)):
        return None
    for field in ("answer", "prompt"):
        shown = snippet(texts[field] or "", query) if field in fields else None
        if shown is not None:
            return Hit(text, field, shown)
    return None


def jobs_matching(
    database: Database,
    chosen: Iterable[Selection],
    words: str,
    *,
    fields: Collection[Field] = FIELDS,
    most: int = MOST_JOBS,
) -> list[Selection]:
    """Each of the filters with its jobs that hold these words; those without one are left out.

    Every text is looked through, no index asked: what is not finished or was not taken in yet counts as well. Raises
    InputRefused; Conflict for more than ``most`` jobs.
    """
    query, matches, total = parse(words), [], 0
    for selection in chosen:
        ids: set[int] = set()
        after = 0
        while True:
            with database.read() as conn:
                page = storage.texts_of(conn, selection, after=after, limit=CANDIDATES)
            texts_of_page = [(text, {"prompt": text.prompt, "answer": text.answer}) for text in page]
            ids |= {text.job_id for text, of in texts_of_page if query.fits(*(of[field] for field in fields))}
            if total + len(ids) > most:
                raise Conflict(
                    f"more than {most:,} jobs match {words!r}: narrow it, with a batch, --model, --state or more words"
                )
            if len(page) < CANDIDATES:
                break
            after = page[-1].job_id
        total += len(ids)
        if ids:
            matches.append(replace(selection, job_ids=frozenset(ids)))
    return matches

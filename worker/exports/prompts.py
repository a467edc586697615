"""Prompts as they were sent: of a job that combines the answers of others, its template filled with them."""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import replace

from worker.door.combine import filled
from worker.errors import HostError
from worker.storage.engine import Database
from worker.storage.follows.parents import combining_requests, parts_of
from worker.storage.results import ResultRow

CHUNK = 200


def fill_templates(database: Database, rows: Iterable[ResultRow]) -> Iterator[ResultRow]:
    """The same rows; the template of a combination is filled, unless its parts or their answers are not there any more."""
    iterator = iter(rows)
    while chunk := tuple(itertools.islice(iterator, CHUNK)):
        with database.read() as conn:
            requests = combining_requests(conn, [row.job_id for row in chunk])
            parts = parts_of(conn, list(requests))
        for row in chunk:
            if row.job_id in requests and row.prompt is not None:
                try:
                    prompt = filled(row.prompt, requests[row.job_id], parts.get(row.job_id, ()))
                except HostError:
                    prompt = row.prompt
                yield replace(row, prompt=prompt)
            else:
                yield row

"""Takes the messages of producers that speak Celery: a batch in one message, or in parts, idempotent by its key."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

from api_schemas.submissions import read_submission
from api_schemas.submit_message import SubmitAnswer, SubmitMessage, SubmitProblem, read_message
from worker.clock import Clock
from worker.documents.row import Row
from worker.domain.batches import Batch
from worker.door.rows import RowStream, input_of
from worker.door.submit import submit
from worker.errors import Conflict, DatabaseFailure, InputRefused, Problem
from worker.observability.events import emit_failure
from worker.records import record
from worker.storage.batches import batch_of_key, create_batch
from worker.storage.engine import Database
from worker.storage.refusals import refuse_batch
from worker.storage.submission_parts import drop_parts, iter_parts, keep_part, part_numbers

SOURCE = "celery"
ABANDONED = timedelta(days=1)
"""Parts of a producer that never sent the last of them are dropped after that."""


@record
class MessageRows:
    """The rows of a message or of all parts of an upload; each iteration reads them again."""

    database: Database
    jobs: Sequence[Any]
    upload: str | None

    @property
    def kind(self) -> str:
        return "jsonl"

    @property
    def encoding(self) -> str:
        return "utf-8"

    @property
    def columns(self) -> None:
        return None

    def __iter__(self) -> Iterator[Row]:
        for number, line in enumerate(self._lines(), start=1):
            yield Row(number, None, line.encode())

    def _lines(self) -> Iterator[str]:
        if self.upload is None:
            yield from map(json.dumps, self.jobs)
            return
        for part in iter_parts(self.database, self.upload):
            yield from part.splitlines()


def take_message(
    database: Database, clock: Clock, arguments: Mapping[str, Any], *, message_id: str, max_attempts: int
) -> SubmitAnswer:
    """Keep a part, or store the batch that a message completes. Never raises for what the message holds: a refusal is
    stored as a batch in state ``refused``, under the key ``celery-ID`` where the message has none."""
    key = arguments.get("key")
    key = key if isinstance(key, str) and 0 < len(key) <= 200 else f"{SOURCE}-{message_id}"
    try:
        if "unreadable" in arguments:  # from our own consumer
            return _refused(
                database, clock, key, [Problem(0, "", "unreadable", str(arguments["unreadable"]))]
            )
        message = read_message(arguments)
        if isinstance(message, list):
            return _refused(
                database, clock, key, [Problem(p.line, p.field, p.code, p.message) for p in message]
            )
        if message.upload is not None:
            with database.write() as conn:
                lines = "\n".join(map(json.dumps, message.jobs))
                keep_part(conn, message.upload, message.part or 1, lines, now=clock.now())
            if message.parts is None:
                return SubmitAnswer(part=message.part)
        return _submit(database, clock, message, message.key or key, max_attempts)
    except DatabaseFailure as error:
        emit_failure(error, host="submit")
        return SubmitAnswer(key=key, unavailable=str(error))


def _submit(
    database: Database, clock: Clock, message: SubmitMessage, key: str, max_attempts: int
) -> SubmitAnswer:
    if message.upload is not None:
        with database.read() as conn:
            there = part_numbers(conn, message.upload)
        missing = sorted(set(range(1, (message.parts or 0) + 1)).difference(there))
        if missing:
            reason = f"parts {', '.join(map(str, missing[:20]))} of {message.parts} did not arrive; submit the jobs again"
            return _refused(database, clock, key, [Problem(0, "part", "missing", reason)])
    fields = {"name": message.name, "max_attempts": max_attempts} | message.submission | {"key": key}
    submission = read_submission(fields)
    if isinstance(submission, list):
        return _refused(
            database, clock, key, [Problem(p.line, p.field, p.code, p.message) for p in submission]
        )
    try:
        rows = input_of(MessageRows(database, message.jobs, message.upload), submission)
    except InputRefused as error:
        return _refused(database, clock, key, error.problems, more_problems=error.more_problems)
    try:
        receipt = submit(database, submission, RowStream(rows, SOURCE), clock=clock)
    except InputRefused as error:  # the door has stored it
        with database.read() as conn:
            batch = batch_of_key(conn, key)
        if batch is None:
            return _refused(database, clock, key, error.problems, more_problems=error.more_problems)
        return _refusal(key, batch.id, error.problems, error.more_problems)
    except Conflict as error:
        return _refused(database, clock, key, [Problem(0, "key", "conflict", str(error))])
    if message.upload is not None:
        with (
            suppress(DatabaseFailure),
            database.write() as conn,
        ):  # else they are dropped with the next upload
            drop_parts(conn, message.upload, before=clock.now() - ABANDONED)
    return _accepted(receipt.batch, created=receipt.created)


def _accepted(batch: Batch, *, created: bool) -> SubmitAnswer:
    return SubmitAnswer(
        batch=batch.id, key=batch.key, state=str(batch.state), jobs=batch.jobs, created=created
    )


def _refused(
    database: Database, clock: Clock, key: str, problems: Sequence[Problem], *, more_problems: int = 0
) -> SubmitAnswer:
    """Store the refusal, unless jobs of that key were accepted before, and answer with it."""
    number = None
    with suppress(Conflict), database.write() as conn:
        batch, _ = create_batch(conn, key=key, name=key, source=SOURCE, now=clock.now())
        refuse_batch(conn, batch.id, problems, now=clock.now())
        number = batch.id
    return _refusal(key, number, problems, more_problems)


def _refusal(key: str, number: int | None, problems: Sequence[Problem], more_problems: int) -> SubmitAnswer:
    shown = [SubmitProblem(line=p.line, field=p.field, code=p.code, message=p.message) for p in problems]
    return SubmitAnswer(batch=number, key=key, state="refused", problems=shown, more_problems=more_problems)

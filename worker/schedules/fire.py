"""Reads the documents of a firing, finds what changed, and submits that as a batch.

Whoever does it holds a lease on the firing. Who dies leaves nothing half done: the batch of a try that was not sealed is
refused by the next one, a sealed one is taken over with the documents as they were then.
"""

import uuid
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from api_schemas.submissions import BatchTerms, Submission
from worker.clock import Clock
from worker.domain.batches import Batch, BatchState
from worker.domain.schedules import Firing, FiringState, Schedule, ScheduleDocument, ScheduleSpec, Tallies
from worker.domain.selection import Selection
from worker.door.document_lines import window_of
from worker.door.observer import Observer
from worker.door.rows import InputLine, RowStream
from worker.door.submit import submit
from worker.errors import Code, Conflict, ExtraMissing, InputRefused, NotFound, Problem, in_words
from worker.maintenance.actions import unhold_jobs
from worker.observability.events import emit
from worker.policy.schedules import UNSETTLED, Change, fingerprint
from worker.policy.zones import zone_of
from worker.quote.forecast import forecast
from worker.schedules.diff import Diff, report_of_documents
from worker.schedules.late import take_late_answers
from worker.schedules.reading import ReadDocument, Reading, Settled, read_documents
from worker.schedules.spec import asking_of, min_age_of, request_of
from worker.storage.batches import batch_of_key
from worker.storage.engine import Connection, Database
from worker.storage.firing_documents import held_documents
from worker.storage.firings import end_firing, keep_firing, let_firing_go, run_firing, take_firing
from worker.storage.models import model_digests, model_facts
from worker.storage.notices import promise_of_firing
from worker.storage.refusals import refuse_batch
from worker.storage.schedule_documents import (
    Noted,
    jobs_of_firing,
    list_documents,
    note_changes,
    note_documents,
    note_gone,
)
from worker.storage.schedules import get_schedule

LEASE = timedelta(minutes=10)
KEEP_EVERY = 60.0
"""Seconds after which the lease is renewed while documents are read."""
CHUNK = 2000


class Lost(Exception):
    """Somebody else works on the firing by now."""


def fire(
    database: Database,
    firing_id: int,
    *,
    clock: Clock,
    reading: Reading = read_documents,
    max_attempts: int = 3,
) -> Firing | None:
    """Read, compare, submit. None where somebody else is at it, or it has begun already.

    Raises DatabaseUnavailable; whoever comes next goes on after the lease.
    """
    token = uuid.uuid4().hex
    now = clock.now()
    firing = database.transact(lambda conn: take_firing(conn, firing_id, token=token, now=now, lease=LEASE))
    if firing is None:
        return None
    if firing.state is not FiringState.READING:
        database.transact(lambda conn: let_firing_go(conn, firing_id, token=token))
        return None
    try:
        return _fire(database, firing, token, clock=clock, reading=reading, max_attempts=max_attempts)
    except (Lost, NotFound):
        return None
    except (InputRefused, ExtraMissing, OSError) as error:
        reason = in_words(error)
        database.transact(partial(_fail, firing=firing, token=token, now=clock.now(), reason=reason))
        emit("schedule.failed", schedule=firing.schedule, firing=firing_id, message=reason)
        return replace(firing, state=FiringState.FAILED, reason=reason)


def _fail(conn: Connection, firing: Firing, token: str, now: datetime, reason: str) -> None:
    if end_firing(conn, firing.id, FiringState.FAILED, token=token, now=now, reason=reason):
        spec = get_schedule(conn, firing.schedule).spec
        promise_of_firing(conn, firing.id, spec.addressees, now=now)


def _fire(
    database: Database, firing: Firing, token: str, *, clock: Clock, reading: Reading, max_attempts: int
) -> Firing | None:
    with database.read() as conn:
        schedule = get_schedule(conn, firing.schedule)
    take_late_answers(database, schedule)
    with database.read() as conn:
        known = list_documents(conn, schedule.id)
        digests = model_digests(conn, schedule.spec.models)
        facts = model_facts(conn)
    _let_go_of_held(database, schedule, facts, clock)
    asking = asking_of(schedule.spec)
    batch = _batch_of_earlier_try(database, firing, clock)
    spec = schedule.spec
    windows = {
        model: window_of([facts[model]] if model in facts else [], request_of(spec), long=spec.long)
        for model in spec.models
    }
    diff = Diff(asking, schedule, firing, known, digests, windows, adopted=batch is not None)
    documents = reading(spec, left_out=diff.left_out, settled=_settled(spec, firing, clock))
    lines = diff.read(_held(documents, database, firing, token, clock))
    first = next(lines, None)
    if first is not None:
        batch = _submit(database, firing, schedule, diff, _again(first, lines), clock, max_attempts)
    for _ in lines:  # where nothing was submitted they are looked at all the same
        pass
    return _note(database, firing, token, diff, batch, clock=clock)


def _settled(spec: ScheduleSpec, firing: Firing, clock: Clock) -> Settled | None:
    by_default = timedelta(0) if firing.by_hand else UNSETTLED
    age = by_default if spec.min_age is None else min_age_of(spec.min_age)
    now = clock.now()
    return Settled(now - age, now) if age else None


def _let_go_of_held(database: Database, schedule: Schedule, models: Collection[str], clock: Clock) -> None:
    """Unhold the jobs of earlier firings that waited for a model which a host has by now."""
    with database.read() as conn:
        held = held_documents(conn, schedule.id)
    for document in held:
        if document.code == Code.MODEL_MISSING and document.model in models:
            chosen = Selection(
                document.batch_id, models=frozenset({document.model}), codes=frozenset({Code.MODEL_MISSING})
            )
            unhold_jobs(database, chosen, clock=clock)


def _held(
    documents: Iterator[ReadDocument], database: Database, firing: Firing, token: str, clock: Clock
) -> Iterator[ReadDocument]:
    """The documents, while the firing stays ours. Raises Lost."""
    kept_at = clock.monotonic()
    for document in documents:
        if clock.monotonic() - kept_at > KEEP_EVERY:
            kept_at = clock.monotonic()
            database.transact(partial(_still_ours, firing=firing, token=token, clock=clock))
        yield document


def _again(first: InputLine, rest: Iterator[InputLine]) -> Iterator[InputLine]:
    yield first
    yield from rest


def _key(firing: Firing, attempt: int) -> str:
    return f"schedule-{firing.schedule}-{firing.fire_at:%Y%m%dT%H%M%S.%fZ}-{firing.id}-{attempt}"


def _batch_of_earlier_try(database: Database, firing: Firing, clock: Clock) -> Batch | None:
    """The batch that a try before this one sealed. One that it was still filling takes no more jobs from now on."""
    for attempt in range(1, firing.tries):
        batch = database.transact(partial(_sealed, key=_key(firing, attempt), now=clock.now()))
        if batch is not None:
            return batch
    return None


def _sealed(conn: Connection, key: str, now: datetime) -> Batch | None:
    """The batch of a key if it was sealed; one that is still being received is refused."""
    batch = batch_of_key(conn, key)
    if batch is None or batch.state is BatchState.REFUSED:
        return None
    if batch.state is not BatchState.RECEIVING:
        return batch
    why = "the process that submitted it was interrupted; the firing began again"
    refuse_batch(conn, batch.id, [Problem(0, "", "interrupted", why)], now=now)
    return None


class _Failures(Observer):
    """Notes documents whose line cannot be asked."""

    def __init__(self, diff: Diff) -> None:
        self._diff = diff

    def rejected(self, problem: Problem, line: InputLine) -> None:
        Diff.fail(self._diff.entries[self._diff.lines[line.line]], problem)


def _submit(
    database: Database,
    firing: Firing,
    schedule: Schedule,
    diff: Diff,
    lines: Iterator[InputLine],
    clock: Clock,
    max_attempts: int,
) -> Batch | None:
    spec = schedule.spec
    local = firing.fire_at.astimezone(zone_of(spec.tz))

    key = _key(firing, firing.tries)
    try:
        receipt = submit(
            database,
            Submission.of_defaults(
                diff.asking.defaults,
                key=key,
                name=f"{schedule.name} {local:%Y-%m-%d %H:%M}",
                max_attempts=max_attempts,
                on_bad_line="skip",
                **{name: getattr(spec, name) for name in BatchTerms.model_fields if hasattr(spec, name)},
            ),
            RowStream(lines, f"schedule {schedule.name}", schedule=schedule.name),
            observer=_Failures(diff),
            clock=clock,
        )
    except InputRefused:
        if all(not diff.entries[key].change.asks for key in diff.lines.values()):
            return None  # not one of them could be asked, each for a reason that is noted
        raise
    except Conflict as error:
        raise Lost from error  # somebody took the firing over and refused this batch
    return receipt.batch


def _note(
    database: Database, firing: Firing, token: str, diff: Diff, batch: Batch | None, *, clock: Clock
) -> Firing:
    jobs = {}
    if batch is not None:
        with database.read() as conn:
            jobs = jobs_of_firing(conn, batch.id)
    noted = []
    counts: Counter[Change] = Counter()
    for key, entry in diff.entries.items():
        job = jobs.get(key)
        if entry.change.asks and job is None:
            continue  # it came after the batch of an earlier try was sealed: the next firing asks it
        counts[entry.change] += 1
        is_asked = entry.change.asks and job is not None and batch is not None
        sha256 = job.sha256 if is_asked and job is not None and job.sha256 else entry.sha256
        noted.append(
            Noted(
                entry.custom_id,
                entry.model,
                entry.path,
                str(entry.change),
                sha256=sha256,
                fingerprint=None if sha256 is None else fingerprint(sha256, entry.model, diff.asking.plain),
                asked_batch=batch.id if is_asked and batch is not None else None,
                asked_job=job.job_id if is_asked and job is not None else None,
                error_code=entry.code,
                error_message=entry.message,
            )
        )
    for start in range(0, len(noted), CHUNK):
        chunk = noted[start : start + CHUNK]
        database.transact(
            partial(_note_chunk, firing=firing, token=token, diff=diff, chunk=chunk, clock=clock)
        )
    gone, dropped = diff.gone, diff.dropped
    tallies = Tallies(
        matches=sum(counts.values()),
        new=counts[Change.NEW],
        changed=counts[Change.CHANGED],
        retried=counts[Change.RETRIED],
        reused=counts[Change.REUSED],
        pending=counts[Change.PENDING],
        gone=len(gone),
        unreadable=counts[Change.FAILED],
    )
    report = report_of_documents(diff, noted, gone)
    expected = None if batch is None else forecast(database, batch.id, clock=clock)
    if expected is not None:
        report["forecast"] = expected.plain

    def run(conn: Connection) -> None:
        _still_ours(conn, firing, token, clock)
        note_gone(conn, diff.schedule.id, firing.id, gone, now=clock.now())
        note_gone(conn, diff.schedule.id, firing.id, dropped, now=clock.now(), change=str(Change.DROPPED))
        note_changes(conn, firing.id, [_missing(diff.history[key], Change.GONE) for key in gone])
        note_changes(conn, firing.id, [_missing(diff.history[key], Change.DROPPED) for key in dropped])
        batch_id = None if batch is None else batch.id
        run_firing(conn, firing.id, token=token, batch_id=batch_id, tallies=tallies, report=report)

    database.transact(run)
    emit("schedule.fired", schedule=firing.schedule, firing=firing.id, jobs=tallies.questions)
    return replace(
        firing,
        state=FiringState.RUNNING,
        token=None,
        batch_id=None if batch is None else batch.id,
        tallies=tallies,
        report=report,
    )


def _note_chunk(
    conn: Connection, firing: Firing, token: str, diff: Diff, chunk: Sequence[Noted], clock: Clock
) -> None:
    _still_ours(conn, firing, token, clock)
    note_documents(conn, diff.schedule.id, firing.id, chunk, existing=diff.history, now=clock.now())
    note_changes(conn, firing.id, chunk)


def _missing(document: ScheduleDocument, change: Change) -> Noted:
    return Noted(document.custom_id, document.model, document.path, str(change))


def _still_ours(conn: Connection, firing: Firing, token: str, clock: Clock) -> None:
    if not keep_firing(conn, firing.id, token=token, until=clock.now() + LEASE):
        raise Lost

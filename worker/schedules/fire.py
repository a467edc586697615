"""Reads the documents of a firing, finds what changed, and submits that as a batch.

Whoever does it holds a lease on the firing. Who dies leaves nothing half done: the batch of a try that was not sealed is
refused by the next one, a sealed one is taken over with the documents as they were then.
"""

import json
import uuid
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from api_schemas.submissions import Submission
from worker.clock import Clock
from worker.documents.leave_out import LeftOut
from worker.domain.batches import Batch, BatchState
from worker.domain.schedules import Firing, FiringState, Schedule, ScheduleSpec, SeenDocument, Tallies
from worker.domain.selection import Selection
from worker.door.document_lines import Window, job_lines, window_of
from worker.door.observer import Observer
from worker.door.rows import InputLine, RowStream
from worker.door.submit import submit
from worker.errors import Code, Conflict, DocumentRefused, ExtraMissing, InputRefused, NotFound, Problem
from worker.maintenance.actions import unhold_jobs
from worker.observability.events import emit
from worker.policy.schedules import UNSETTLED, Change, Known, change, fingerprint, model_moved, zone_of
from worker.quote.forecast import forecast
from worker.schedules.late import take_late_answers
from worker.schedules.reading import ReadDocument, Reading, Settled, read_documents
from worker.schedules.spec import Asking, asking_of, min_age_of, request_of
from worker.schedules.telling import promise
from worker.storage.batches import batch_of_key, refuse_batch
from worker.storage.engine import Database
from worker.storage.firing_changes import note_changes
from worker.storage.firing_documents import held_documents
from worker.storage.models import known_models
from worker.storage.schedule_documents import (
    Key,
    Noted,
    asked_jobs,
    note_documents,
    note_gone,
    seen_documents,
)
from worker.storage.schedules import (
    end_firing,
    get_schedule,
    keep_firing,
    let_firing_go,
    model_digests,
    run_firing,
    take_firing,
)

LEASE = timedelta(minutes=10)
KEEP_EVERY = 60.0
"""Seconds after which the lease is renewed while documents are read."""
CHUNK = 2000
LISTED = 100
"""Documents of a kind that a report names."""


class Lost(Exception):
    """Somebody else works on the firing by now."""


@dataclass(slots=True)
class _Entry:
    """A document and model, as this firing found it."""

    custom_id: str
    model: str
    path: str
    change: Change
    sha256: str | None = None
    fingerprint: bytes | None = None
    code: str | None = None
    message: str | None = None
    blank_pages: tuple[int, ...] = ()
    pages: int = 0
    flawed: bool = False
    """It is asked again for its answer's sake, which is not to be taken once more."""


@dataclass(slots=True)
class _Diff:
    """What the documents come to, while they are read."""

    asking: Asking
    schedule: Schedule
    firing: Firing
    known: dict[Key, SeenDocument]
    digests: dict[str, frozenset[str]]
    windows: dict[str, Window | None]
    """Model → how much of a document fits."""
    adopted: bool
    """The batch is there already, so nothing is submitted."""
    entries: dict[Key, _Entry] = field(default_factory=dict)
    lines: dict[int, Key] = field(default_factory=dict)
    moved: Counter[str] = field(default_factory=Counter)
    """Model → answers that other weights gave than those it has now."""
    left_out: LeftOut = field(default_factory=Counter)
    """Files that match the patterns and are no documents."""
    unsettled: list[str] = field(default_factory=list)
    """Files that wait for the next firing: nothing in them is asked or gone."""

    def read(self, documents: Iterator[ReadDocument]) -> Iterator[InputLine]:
        """Look at every document; the ones to be asked as job lines."""
        number = 0
        for document in documents:
            if document.unsettled:
                self.unsettled.append(document.custom_id)
                continue
            for model in self.schedule.spec.models:
                entry = self._entry(document, model)
                key = document.custom_id, model
                if key in self.entries:
                    continue
                self.entries[key] = entry
                if not entry.change.asks or self.adopted:
                    continue
                for raw in self._lines(document, model, entry):
                    number += 1
                    self.lines[number] = key
                    yield InputLine(number, raw)

    def _entry(self, document: ReadDocument, model: str) -> _Entry:
        if document.document is None:
            return _Entry(
                document.custom_id,
                model,
                document.path,
                Change.FAILED,
                code=document.code,
                message=document.message,
            )
        sha256 = document.document.sha256
        print_ = fingerprint(sha256, model, self.asking.plain)
        seen = self.known.get((document.custom_id, model))
        if seen is not None and seen.firing_id == self.firing.id and seen.change != Change.FAILED:
            found = Change(seen.change)  # this firing noted it already, before somebody died
        else:
            found = change(
                None
                if seen is None
                else Known(
                    seen.fingerprint, seen.answered, seen.digest, pending=seen.pending, flawed=seen.flawed
                ),
                print_,
                digests=self.digests.get(model, frozenset()),
                on_model_change=self.schedule.spec.on_model_change,
                ask_cut_again=self.schedule.spec.ask_cut_again,
            )
        if (
            seen is not None
            and found is Change.REUSED
            and model_moved(seen.digest, self.digests.get(model, frozenset()))
        ):
            self.moved[model] += 1
        entry = _Entry(document.custom_id, model, document.path, found, sha256, print_)
        entry.flawed = found is Change.RETRIED and seen is not None and seen.flawed
        entry.blank_pages, entry.pages = document.document.blank_pages, len(document.document.pages or ())
        return entry

    def _lines(self, found: ReadDocument, model: str, entry: _Entry) -> Iterator[str]:
        """One job line, or those of the parts and the whole; none where it cannot be asked."""
        assert found.document is not None
        try:
            lines = job_lines(
                found.document, self.asking.templates, self.windows[model], long=self.schedule.spec.long
            )
        except DocumentRefused as error:
            self.fail(entry, Problem(0, "", error.code, error.message))
            return
        for line in lines:
            metadata = {**line["metadata"], "document": found.custom_id}
            asked = {
                **line,
                "model": model,
                "metadata": metadata,
                **({"reuse": False} if entry.flawed else {}),
            }
            yield json.dumps(asked, ensure_ascii=False, default=str)

    @staticmethod
    def fail(entry: _Entry, problem: Problem) -> None:
        """It cannot be asked."""
        entry.change, entry.code, entry.message = Change.FAILED, problem.code, problem.message

    @property
    def gone(self) -> list[Key]:
        """What was there the last time and is not any more; of a retake, also what this firing found gone before."""
        return [key for key in self._missing() if key[1] in self.schedule.spec.models]

    @property
    def dropped(self) -> list[Key]:
        """Documents of models that the schedule asks no more."""
        return [key for key in self._missing() if key[1] not in self.schedule.spec.models]

    def _missing(self) -> list[Key]:
        return [
            key
            for key, seen in self.known.items()
            if key not in self.entries
            and (not seen.gone or seen.firing_id == self.firing.id)
            and not any(_is_of(key[0], file) for file in self.unsettled)
        ]

    @property
    def added(self) -> list[str]:
        """Models that the schedule asks for the first time, while it asked others before."""
        asked = {model for _, model in self.known}
        return [model for model in self.schedule.spec.models if asked and model not in asked]


def _is_of(custom_id: str, file: str) -> bool:
    """Whether a document is this file, or a row or an attachment in it."""
    return custom_id == file or custom_id.startswith((f"{file}#", f"{file}/"))


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
    with database.write() as conn:
        firing = take_firing(conn, firing_id, token=token, now=clock.now(), lease=LEASE)
    if firing is None:
        return None
    if firing.state is not FiringState.READING:
        with database.write() as conn:
            let_firing_go(conn, firing_id, token=token)
        return None
    try:
        return _fire(database, firing, token, clock=clock, reading=reading, max_attempts=max_attempts)
    except (Lost, NotFound):
        return None
    except (InputRefused, ExtraMissing, OSError) as error:
        reason = str(error) or type(error).__name__
        now = clock.now()
        with database.write() as conn:
            if end_firing(conn, firing_id, FiringState.FAILED, token=token, now=now, reason=reason):
                promise(conn, firing_id, get_schedule(conn, firing.schedule).spec, now=now)
        emit("schedule.failed", schedule=firing.schedule, firing=firing_id, message=reason)
        return replace(firing, state=FiringState.FAILED, reason=reason)


def _fire(
    database: Database, firing: Firing, token: str, *, clock: Clock, reading: Reading, max_attempts: int
) -> Firing | None:
    with database.read() as conn:
        schedule = get_schedule(conn, firing.schedule)
    take_late_answers(database, schedule)
    with database.read() as conn:
        known = seen_documents(conn, schedule.id)
        digests = model_digests(conn, schedule.spec.models)
        told = known_models(conn)
    _let_go_of_held(database, schedule, told, clock)
    asking = asking_of(schedule.spec)
    batch = _batch_of_earlier_try(database, firing, clock)
    spec = schedule.spec
    windows = {
        model: window_of([told[model]] if model in told else [], request_of(spec), long=spec.long)
        for model in spec.models
    }
    diff = _Diff(asking, schedule, firing, known, digests, windows, adopted=batch is not None)
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
    for one in held:
        if one.code == Code.MODEL_MISSING and one.model in models:
            chosen = Selection(
                one.batch_id, models=frozenset({one.model}), codes=frozenset({Code.MODEL_MISSING})
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
            with database.write() as conn:
                if not keep_firing(conn, firing.id, token=token, until=clock.now() + LEASE):
                    raise Lost
        yield document


def _again(first: InputLine, rest: Iterator[InputLine]) -> Iterator[InputLine]:
    yield first
    yield from rest


def _key(firing: Firing, attempt: int) -> str:
    return f"schedule-{firing.schedule}-{firing.fire_at:%Y%m%dT%H%M%S.%fZ}-{firing.id}-{attempt}"


def _batch_of_earlier_try(database: Database, firing: Firing, clock: Clock) -> Batch | None:
    """The batch that a try before this one sealed. One that it was still filling takes no more jobs from now on."""
    for attempt in range(1, firing.tries):
        with database.write() as conn:
            batch = batch_of_key(conn, _key(firing, attempt))
            if batch is None or batch.state is BatchState.REFUSED:
                continue
            if batch.state is not BatchState.RECEIVING:
                return batch
            told = Problem(
                0, "", "interrupted", "whoever submitted it was interrupted; the firing began anew"
            )
            refuse_batch(conn, batch.id, [told], now=clock.now())
    return None


class _Failures(Observer):
    """Notes documents whose line cannot be asked."""

    def __init__(self, diff: _Diff) -> None:
        self._diff = diff

    def rejected(self, problem: Problem, line: InputLine) -> None:
        _Diff.fail(self._diff.entries[self._diff.lines[line.line]], problem)


def _submit(
    database: Database,
    firing: Firing,
    schedule: Schedule,
    diff: _Diff,
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
                max_failures=spec.max_failures,
                keep=spec.keep,
                window=spec.window,
                blackout=spec.blackout,
                tz=spec.tz,
                on_bad_line="skip",
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
    database: Database, firing: Firing, token: str, diff: _Diff, batch: Batch | None, *, clock: Clock
) -> Firing:
    jobs = {}
    if batch is not None:
        with database.read() as conn:
            jobs = asked_jobs(conn, batch.id)
    noted = []
    found: Counter[Change] = Counter()
    for key, entry in diff.entries.items():
        job = jobs.get(key)
        if entry.change.asks and job is None:
            continue  # it came after the batch of an earlier try was sealed: the next firing asks it
        found[entry.change] += 1
        asked = entry.change.asks and job is not None and batch is not None
        sha256 = job.sha256 if asked and job is not None and job.sha256 else entry.sha256
        noted.append(
            Noted(
                entry.custom_id,
                entry.model,
                entry.path,
                str(entry.change),
                sha256=sha256,
                fingerprint=None if sha256 is None else fingerprint(sha256, entry.model, diff.asking.plain),
                asked_batch=batch.id if asked and batch is not None else None,
                asked_job=job.job_id if asked and job is not None else None,
                error_code=entry.code,
                error_message=entry.message,
            )
        )
    gone, dropped = diff.gone, diff.dropped
    for start in range(0, len(noted), CHUNK):
        with database.write() as conn:
            _still_ours(conn, firing, token, clock)
            note_documents(
                conn,
                diff.schedule.id,
                firing.id,
                noted[start : start + CHUNK],
                known=diff.known,
                now=clock.now(),
            )
            note_changes(conn, firing.id, noted[start : start + CHUNK])
    tallies = Tallies(
        found=sum(found.values()),
        new=found[Change.NEW],
        changed=found[Change.CHANGED],
        retried=found[Change.RETRIED],
        reused=found[Change.REUSED],
        pending=found[Change.PENDING],
        gone=len(gone),
        unreadable=found[Change.FAILED],
    )
    report = _report(diff, noted, gone)
    expected = None if batch is None else forecast(database, batch.id, clock=clock)
    if expected is not None:
        report["forecast"] = expected.plain
    with database.write() as conn:
        _still_ours(conn, firing, token, clock)
        note_gone(conn, diff.schedule.id, firing.id, gone, now=clock.now())
        note_gone(conn, diff.schedule.id, firing.id, dropped, now=clock.now(), change=str(Change.DROPPED))
        note_changes(conn, firing.id, [_missing(diff.known[key], Change.GONE) for key in gone])
        note_changes(conn, firing.id, [_missing(diff.known[key], Change.DROPPED) for key in dropped])
        run_firing(
            conn,
            firing.id,
            token=token,
            batch_id=None if batch is None else batch.id,
            tallies=tallies,
            report=report,
        )
    emit("schedule.fired", schedule=firing.schedule, firing=firing.id, jobs=tallies.asked)
    return replace(
        firing,
        state=FiringState.RUNNING,
        token=None,
        batch_id=None if batch is None else batch.id,
        tallies=tallies,
        report=report,
    )


def _missing(seen: SeenDocument, change: Change) -> Noted:
    return Noted(seen.custom_id, seen.model, seen.path, str(change))


def _still_ours(conn: Any, firing: Firing, token: str, clock: Clock) -> None:
    if not keep_firing(conn, firing.id, token=token, until=clock.now() + LEASE):
        raise Lost


def _incomplete(diff: _Diff) -> list[dict[str, Any]]:
    """Documents that this firing asks without pages that have no text."""
    found = {
        entry.custom_id: {
            "document": entry.custom_id,
            "pages": list(entry.blank_pages),
            "of": entry.pages,
        }
        for entry in diff.entries.values()
        if entry.blank_pages and entry.change.asks
    }
    return list(found.values())


def _report(diff: _Diff, noted: list[Noted], gone: list[Key]) -> dict[str, Any]:
    """What is known when the documents are read; the rest comes with the answers (``report_of``)."""
    names = {
        str(kind): list(dict.fromkeys(one.custom_id for one in noted if one.change == kind))
        for kind in (Change.NEW, Change.CHANGED, Change.RETRIED)
    }
    names["gone"] = list(dict.fromkeys(custom_id for custom_id, _ in gone))
    incomplete = _incomplete(diff)
    return {
        "documents": {kind: found[:LISTED] for kind, found in names.items() if found},
        "documents_not_listed": sum(max(0, len(found) - LISTED) for found in names.values()),
        "left_out": dict(diff.left_out),
        "unsettled": diff.unsettled[:LISTED],
        "models_added": diff.added,
        "models_dropped": dict(Counter(model for _, model in diff.dropped)),
        "incomplete": incomplete[:LISTED],
        "incomplete_not_listed": max(0, len(incomplete) - LISTED),
        "models": {
            model: {"digests": sorted(diff.digests.get(model, ())), "answers_of_others": diff.moved[model]}
            for model in diff.schedule.spec.models
        },
    }

"""Adds, replaces and removes schedules in the database, for a command line or a file."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from enum import StrEnum
from itertools import islice

from worker.clock import Clock
from worker.documents.read import is_table
from worker.documents.sources import find_documents
from worker.domain.numbers import count_of
from worker.domain.schedules import Schedule, ScheduleSpec
from worker.door.document_lines import job_lines
from worker.errors import DocumentRefused, InputRefused, Problem
from worker.policy.schedules import fire_times, next_fire
from worker.policy.zones import zone_of
from worker.schedules.reading import WRITTEN, read_documents
from worker.schedules.spec import asking_of, differences
from worker.storage.engine import Connection, Database
from worker.storage.schedules import (
    add_schedule,
    find_schedule,
    get_schedule,
    lock_schedule,
    pause_schedule,
    replace_schedule,
    resume_schedule,
)

MOST_COUNTED = 10_000
"""Documents that are counted before a schedule is kept."""


class Put(StrEnum):
    """What became of a schedule that was said."""

    ADDED = "added"
    REPLACED = "replaced"
    UNCHANGED = "unchanged"
    DIFFERS = "differs"
    """There is another one of its name, and it stays."""


def put(
    database: Database, name: str, spec: ScheduleSpec, *, replace: bool, clock: Clock
) -> tuple[Put, Schedule, list[str]]:
    """Keep a schedule: what was done, as it stands now, and what differs from the one before.

    What it has seen and done stays. Its next firing stays too, unless its times changed.
    """
    now = clock.now()
    following = next_fire(spec.cron, zone_of(spec.tz), after=now)

    def keep(conn: Connection) -> tuple[Put, Schedule, list[str]]:
        before = lock_schedule(conn, name)
        if before is None:
            return Put.ADDED, add_schedule(conn, name, spec, next_at=following, now=now), []
        changed = differences(before.spec, spec)
        if not changed:
            return Put.UNCHANGED, before, []
        if not replace:
            return Put.DIFFERS, before, changed
        same_times = (before.spec.cron, before.spec.tz) == (spec.cron, spec.tz)
        next_at = before.next_at if same_times and before.next_at is not None else following
        return Put.REPLACED, replace_schedule(conn, name, spec, next_at=next_at, now=now), changed

    return database.transact(keep)


def would_put(database: Database, name: str, spec: ScheduleSpec) -> tuple[Put, list[str]]:
    """What ``put`` would find; nothing is kept."""
    with database.read() as conn:
        before = find_schedule(conn, name)
    if before is None:
        return Put.ADDED, differences(None, spec)
    changed = differences(before.spec, spec)
    return (Put.DIFFERS, changed) if changed else (Put.UNCHANGED, [])


def pause(database: Database, name: str, *, reason: str | None, clock: Clock) -> bool:
    """No firing of it comes any more; False: it was paused already. Raises NotFound."""
    return database.transact(lambda conn: pause_schedule(conn, name, now=clock.now(), reason=reason))


def resume(database: Database, name: str, *, clock: Clock) -> tuple[bool, Schedule]:
    """It fires again at its next time; what it missed while it was paused stays missed. Raises NotFound."""

    def go_on(conn: Connection) -> tuple[bool, Schedule]:
        spec = get_schedule(conn, name).spec
        resumed = resume_schedule(
            conn, name, next_at=next_fire(spec.cron, zone_of(spec.tz), after=clock.now())
        )
        return resumed, get_schedule(conn, name)

    return database.transact(go_on)


def next_times(schedule: Schedule, count: int, *, now: datetime) -> list[datetime]:
    """When it fires next; none while it is paused."""
    if schedule.paused_at is not None or schedule.next_at is None:
        return []
    zone = zone_of(schedule.spec.tz)
    first = schedule.next_at
    following = islice(fire_times(schedule.spec.cron, zone, after=max(first, now)), count - 1)
    return [first, *following]


def matching(spec: ScheduleSpec) -> tuple[int, int]:
    """How many files match now, counted to ``MOST_COUNTED``, and how many of them are tables, whose rows are documents.

    Raises InputRefused where a root is not there.
    """
    documents = (
        document
        for document in find_documents(spec.documents, spec.roots, exclude=spec.exclude)
        if not document.name.endswith(WRITTEN)
    )
    files = list(islice((is_table(file.name) for file in documents), MOST_COUNTED))
    return len(files), sum(files)


def matches_line(files: int, tables: int, models: int, roots: Sequence[str]) -> str:
    """What is said of them: a report counts documents times models, of which a table has one a row.

    >>> matches_line(14, 2, 2, ["/in"])
    '14 files match under /in (each row of 2 tables is a document); each document is asked of 2 models'
    """
    shown = f"{count_of(files, 'file matches', 'files match')} under {', '.join(roots)}"
    if files >= MOST_COUNTED:
        shown = f"more than {shown}"
    if tables:
        shown += f" (each row of {count_of(tables, 'table')} is a document)"
    return shown + (f"; each document is asked of {models:,} models" if models > 1 else "")


def prompts(spec: ScheduleSpec, count: int) -> Iterator[tuple[str, str | None, str]]:
    """Name, system and prompt of the first ``count`` documents. Raises InputRefused for a template that cannot be filled."""
    asking = asking_of(spec)
    shown = 0
    for document in read_documents(spec):
        if shown == count:
            return
        if document.document is None:
            continue
        try:
            lines = job_lines(document.document, asking.templates, None, long=spec.long)
        except DocumentRefused as error:
            raise InputRefused([Problem(0, "template", error.code, str(error))]) from error
        shown += 1
        for line in lines:
            yield line["custom_id"], line.get("system"), line["prompt"]

"""Moves an embedded installation into another database, for whoever holds its home."""

from collections.abc import Callable, Sequence

from worker.clock import SystemClock
from worker.domain.health import Pulse
from worker.domain.numbers import count_of
from worker.domain.urls import masked
from worker.errors import Conflict, SettingsRefused
from worker.serving.outbox import store_spools
from worker.settings import Settings
from worker.storage.check import Checked, check_database
from worker.storage.copy import copy_rows, differences, is_empty, nobody_serves
from worker.storage.engine import Connection, Database, open_database
from worker.storage.migrate import bring_up_to_date
from worker.storage.pulses import forget_pulse, read_pulses, record_pulse
from worker.storage.rescues import rescue_holder

BEGUN = "copying"
"""The pulse in the target that says whose copy it holds a part of."""

EVERY = 50_000
"""Rows of a table between two lines that say how far it is."""


def move(settings: Settings, to: str, *, report: Callable[[str], None]) -> Sequence[Checked]:
    """Copy all of the home's database to ``to``; what a check finds there. Raises Conflict, DatabaseUnavailable,
    SettingsRefused.

    Killed midway it goes on where it stopped, for the target remembers whose copy it holds a part of.
    """
    if to == settings.database:
        raise SettingsRefused("--to is the database itself")
    source, target = open_database(settings.database), open_database(to)
    try:
        for database in (source, target):  # a fleet's that is older is refused: others may be at work on it
            bring_up_to_date(database, backups=settings.home / "backups", now=SystemClock().now())
        if source.dialect == "postgresql":  # holding the home says nothing of a fleet's workers
            with source.read() as conn:
                nobody_serves(conn, now=source.clock().now())
        stored = store_spools(source, settings.home, clock=source.clock())
        if stored:
            report(f"{count_of(stored, 'answer')} of the spool stored first")
        with source.write() as conn:
            rescue_holder(conn, now=source.clock().now())
        _begin(target, masked(settings.database))
        with source.read() as conn:
            copy_rows(conn, target, progress=now_and_then(report))
            _compare(conn, target)
        with target.write() as conn:
            forget_pulse(conn, BEGUN)
        return check_database(target, now=target.clock().now())
    finally:
        source.close()
        target.close()


def _begin(target: Database, source: str) -> None:
    with target.write() as conn:
        begun: Pulse | None = read_pulses(conn).get(BEGUN)
        if begun is None and not is_empty(conn):
            raise Conflict("the database to copy into holds jobs or hosts already")
        if begun is not None and begun.detail.get("source") != source:
            raise Conflict(f"the database to copy into holds a part of {begun.detail.get('source')}")
        record_pulse(conn, BEGUN, now=target.clock().now(), detail={"source": source})


def _compare(conn: Connection, target: Database) -> None:
    with target.read() as copied:
        lines = differences(conn, copied)
    if lines:
        raise Conflict(
            f"the copy differs from the source: {'; '.join(lines)}. Did the home run in between? Copy into a new database"
        )


def now_and_then(report: Callable[[str], None]) -> Callable[[str, int], None]:
    """Say how far each table is, now and then: a million jobs are some eighty lines."""
    reported: dict[str, int] = {}

    def progress(table: str, rows: int) -> None:
        if rows // EVERY > reported.get(table, 0):
            reported[table] = rows // EVERY
            report(f"{table}: {rows:,}")

    return progress

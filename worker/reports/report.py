"""What did the work come to? Tokens, seconds of GPUs, loads, kWh, read from what was counted as results came."""

from collections.abc import Mapping, Sequence
from dataclasses import field
from datetime import datetime
from typing import Any

from worker.clock import Clock
from worker.maintenance.number import number_all
from worker.policy.figures import By, Figures, figures
from worker.records import record
from worker.storage.batches import find_batch
from worker.storage.engine import Database
from worker.storage.figures import batch_names, cells, failures, lengths, loads, powers
from worker.storage.overview import batch_lines, schedule_lines

BATCHES = 20
"""The newest batches that a report over all work names."""

__all__ = ["By", "Report", "make_report"]


@record
class Report:
    """Figures by what was asked for, and the pictures' further data where ``details`` were asked for."""

    at: datetime
    by: By
    batches: Mapping[int, str]
    """Number → name, of those that were asked for; empty for all."""
    since: datetime | None
    until: datetime | None
    figures: Figures
    hours: Figures
    models: Figures
    hosts: Figures
    failures: Mapping[str, int] = field(default_factory=dict)
    lengths: Mapping[str, Mapping[int, int]] = field(default_factory=dict)
    batch_lines: Sequence[Mapping[str, Any]] = ()
    """The batches that were asked for, or the newest; rows of ``report_batches``."""
    more_batches: bool = False
    """There are older ones that ``batch_lines`` leaves out."""
    schedule_lines: Sequence[Mapping[str, Any]] = ()
    """All schedules, in a report over all work; rows of ``report_schedules``."""


def make_report(
    database: Database,
    references: Sequence[str] = (),
    *,
    by: By,
    clock: Clock,
    since: datetime | None = None,
    until: datetime | None = None,
    details: bool = False,
) -> Report:
    """Read it, of these batches or of all; whole hours count, those in which ``since`` and ``until`` lie included.

    Results that came just now are counted first. Raises NotFound, Conflict, DatabaseUnavailable.
    """
    number_all(database)
    now = clock.now()
    with database.read() as conn:
        chosen = {batch.id: batch.name for batch in (find_batch(conn, reference) for reference in references)}
        ids = sorted(chosen)
        everything = cells(conn, since=since, until=until) if ids else []
        own = cells(conn, ids, since=since, until=until)
        names = chosen or batch_names(conn, sorted({cell.batch_id for cell in own}))
        loaded = loads(conn, since=since, until=until)
        power = powers(conn)
        failed = failures(conn, ids, since=since, until=until)
        sizes = lengths(conn, ids, since=since, until=until) if details else {}
        of_batches = batch_lines(conn, ids, limit=BATCHES + 1)
        of_schedules = [] if ids else schedule_lines(conn)
    made = {
        unit: figures(
            own,
            loaded,
            by=unit,
            power=power,
            whole=not ids,
            now=now,
            names=names,
            beside=[cell for cell in everything if cell.batch_id not in chosen],
        )
        for unit in {by, By.HOUR, By.MODEL, By.HOST}
    }
    pictures = made[By.HOUR], made[By.MODEL], made[By.HOST]
    more = not ids and len(of_batches) > BATCHES
    return Report(
        *(now, by, chosen, since, until, made[by], *pictures, failed, sizes),
        batch_lines=of_batches[:BATCHES] if more else of_batches,
        more_batches=more,
        schedule_lines=of_schedules,
    )

"""What is to be seen of an installation now? One look at the database, the disks and the spool."""

import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from worker.clock import SystemClock
from worker.domain.backlog import Waiting
from worker.domain.health import Finding, Kind
from worker.domain.jobs import JobState
from worker.errors import DatabaseRefused, DatabaseUnavailable, SchemaOutdated
from worker.health.findings import (
    MODEL_PATIENCE,
    Disk,
    FailedNight,
    HealthFacts,
    HostStatus,
    SpoolFile,
    Unfired,
)
from worker.maintenance.heart import lock_of
from worker.records import record
from worker.serving.spool import REJECTED
from worker.storage.backlog import read_backlog
from worker.storage.engine import Database, open_database
from worker.storage.firings import failed_firings, unreadable_firings
from worker.storage.host_rows import HostRow, read_hosts
from worker.storage.migrate import check_schema
from worker.storage.model_operations import failed_parts
from worker.storage.notices import unreadable_notices
from worker.storage.operations import unreadable_operations
from worker.storage.pulses import probe, read_pulses
from worker.storage.reports import jobs_by_runner_key, running_by_host
from worker.storage.schedules import unfired, unreadable_schedules
from worker.storage.unreadable import unreadable_windows

_BUSY_SECONDS = 5.0
"""A look waits no longer for SQLite's write lock; a healthy writer holds it for moments."""
_HEAD = 4096
_ENDED_AT = re.compile(r'"ended_at": "([^"]+)"')


@record
class Place:
    """Where an installation is."""

    database: str
    """Its URL."""
    home: Path
    fleet: bool

    @property
    def file(self) -> Path | None:
        """The SQLite file, where it is one."""
        kind, separator, path = self.database.partition(":///")
        return Path(path) if separator and kind == "sqlite" else None


def gather(place: Place, *, held: bool) -> HealthFacts:
    """Look. ``held``: a process of this machine holds the home. Never raises for what is wrong: that is what it tells."""
    disks = tuple(_disks(place))
    file = place.file
    if file is not None and not file.exists():
        now = SystemClock().now()
        return HealthFacts(now, place.fleet, held, disks=disks, spools=tuple(_spools(place.home, now)))
    database = open_database(place.database, pool_size=1, busy_seconds=_BUSY_SECONDS)
    try:
        return _read(place, database, held, disks)
    except SchemaOutdated as error:
        fault = Finding(
            Kind.DATABASE, "schema", str(error), "caravan db upgrade, with the newest version of caravan"
        )
    except DatabaseUnavailable as error:
        fault = _unavailable(error.reason)
    except DatabaseRefused as error:
        fault = Finding(Kind.DATABASE, "refused", error.reason, error.advice)
    finally:
        database.close()
    now = SystemClock().now()
    return HealthFacts(now, place.fleet, held, fault, disks=disks, spools=tuple(_spools(place.home, now)))


def _unavailable(message: str) -> Finding:
    if re.search(r"\bfull\b|no space left|disk I/O error", message, re.IGNORECASE):
        remedy = (
            "make room: nothing is claimed until the database takes writes again, then it goes on by itself"
        )
        return Finding(Kind.DATABASE, "full", message, remedy)
    remedy = "look whether it runs and can be reached from here; work goes on by itself when it is back"
    return Finding(Kind.DATABASE, "away", message, remedy)


def _read(place: Place, database: Database, held: bool, disks: tuple[Disk, ...]) -> HealthFacts:
    check_schema(database)
    now = database.clock().now()
    with database.write() as conn:
        probe(conn, now=now)
    with database.read() as conn:
        rows, running = read_hosts(conn, now), running_by_host(conn)
        waiting = read_backlog(conn, now=now)
        pulses = read_pulses(conn)
        states = jobs_by_runner_key(conn, None)
        late = unfired(conn, now=now)
        unreadable = (
            *unreadable_windows(conn),
            *unreadable_schedules(conn),
            *unreadable_firings(conn),
            *unreadable_notices(conn),
            *unreadable_operations(conn),
        )
        failed = failed_firings(conn)
        failed_models = failed_parts(conn, since=now - MODEL_PATIENCE)
    return HealthFacts(
        now=now,
        fleet=place.fleet or ("tick" in pulses and "up" not in pulses),
        held=held,
        ended=not held and "up" in pulses and pulses["up"].detail.get("lock") == lock_of(place.home),
        pulses=pulses,
        hosts=tuple(_host(row, waiting, running=running.get(row.name, 0)) for row in rows if row.kept),
        waiting=tuple(waiting),
        held_jobs=sum(counts.get(JobState.HELD, 0) for counts in states.values()),
        unfired=tuple(Unfired(name, since) for name, since in late),
        failed_nights=tuple(FailedNight(name, at, reason) for name, at, reason in failed),
        failed_models=tuple(failed_models),
        disks=disks,
        spools=tuple(_spools(place.home, now)),
        unreadable=unreadable,
    )


def _host(row: HostRow, waiting: Sequence[Waiting], *, running: int) -> HostStatus:
    blocked = {block.model for block in row.blocks}
    work = [entry.oldest_at for entry in waiting if row.may_have(entry.model) and entry.model not in blocked]
    return HostStatus(
        name=row.name,
        health=row.health,
        reason=row.health_reason,
        since=row.unreachable_since,
        until=row.quarantined_until,
        serving=row.serving,
        busy=running > 0 or row.intent is not None,
        last_claim_at=row.last_claim_at,
        work_since=min(work, default=None),
    )


def _disks(place: Place) -> Iterator[Disk]:
    """The file systems of the home, the spool and the database's file, each once."""
    known: set[int] = set()
    file = place.file
    for path in (place.home, place.home / "spool", *(() if file is None else (file.parent,))):
        with suppress(OSError):
            device = path.stat().st_dev
            if device not in known:
                known.add(device)
                yield Disk(path, shutil.disk_usage(path).free)


def _spools(home: Path, now: datetime) -> Iterator[SpoolFile]:
    with suppress(OSError):
        folder = home / "spool"
        for path in sorted([*folder.glob("*.jsonl"), *folder.glob(f"{REJECTED}/*.jsonl")]):
            with suppress(OSError):
                status = path.stat()
                if status.st_size:
                    written = datetime.fromtimestamp(status.st_mtime, UTC)
                    since = min(written, _first(path) or now)
                    yield SpoolFile(path, since, rejected=path.parent.name == REJECTED)


def _first(path: Path) -> datetime | None:
    """When the first answer in the file ended: one that is written to all the time is not a young one."""
    with path.open("rb") as file:
        match = _ENDED_AT.search(file.read(_HEAD).decode("utf-8", "replace"))
    try:
        at = None if match is None else datetime.fromisoformat(match[1])
    except ValueError:
        return None
    return None if at is None or at.tzinfo is None else at

"""Does the database keep its promises? Invariants as queries, each of which finds what breaks it.

One read transaction (repeatable read on PostgreSQL), so a fleet at work is seen at one moment and raises no false alarm.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from sqlalchemy import bindparam, text
from sqlalchemy.engine import Connection

from worker.errors import CODES
from worker.records import record
from worker.storage.engine import Database
from worker.storage.migrate import HEAD
from worker.storage.types import UtcTime

GRACE = timedelta(minutes=2)
"""A lease that ran out longer ago than this should have been rescued."""
MOST_EXAMPLES = 5
"""Places that are named of each broken invariant."""


@record
class Invariant:
    """What has to hold of every row of a table."""

    name: str
    promise: str
    rows: str
    """A table: its rows were looked at."""
    broken: str
    """A query whose rows say, in one column, where it does not hold."""


@record
class Checked:
    """One invariant as it was found."""

    name: str
    promise: str
    rows: int
    broken: int
    places: Sequence[str] = ()


_CODES = ", ".join(f"'{code}'" for code in CODES)
_FINAL = "'succeeded', 'failed', 'cancelled', 'expired'"

INVARIANTS: Sequence[Invariant] = (
    Invariant(
        "states",
        "the counts of jobs by state match the stored jobs",
        "jobs",
        "SELECT 'batch ' || batch_id || ', ' || runner_key || ', ' || state || ': ' || sum(n) FROM ("
        "SELECT batch_id, runner_key, priority, state, count(*) AS n FROM jobs "
        "GROUP BY batch_id, runner_key, priority, state "
        "UNION ALL SELECT batch_id, runner_key, priority, state, jobs FROM pruned_counts "
        "UNION ALL SELECT batch_id, runner_key, priority, state, -jobs FROM counts "
        "UNION ALL SELECT batch_id, runner_key, priority, state, -jobs FROM count_deltas) AS every "
        "GROUP BY batch_id, runner_key, priority, state HAVING sum(n) <> 0",
    ),
    Invariant(
        "batches",
        "a sealed batch has as many jobs as were submitted",
        "batches",
        "SELECT 'batch ' || b.id || ': ' || b.jobs || ' submitted, ' || count(j.id) || ' there, ' || "
        "coalesce(max(g.jobs), 0) || ' pruned' FROM batches b LEFT JOIN jobs j ON j.batch_id = b.id "
        "LEFT JOIN (SELECT batch_id, sum(jobs) AS jobs FROM pruned_counts GROUP BY batch_id) g ON g.batch_id = b.id "
        "WHERE b.sealed_at IS NOT NULL GROUP BY b.id, b.jobs "
        "HAVING b.jobs <> count(j.id) + coalesce(max(g.jobs), 0)",
    ),
    Invariant(
        "finished",
        "all jobs of a finished batch have ended",
        "batches",
        "SELECT 'job ' || j.id FROM jobs j JOIN batches b ON b.id = j.batch_id "
        "WHERE b.state = 'finished' AND j.finished_at IS NULL",
    ),
    Invariant(
        "answered",
        "every job that succeeded or failed has a result",
        "jobs",
        "SELECT 'job ' || j.id FROM jobs j LEFT JOIN results r ON r.job_id = j.id "
        "WHERE j.state IN ('succeeded', 'failed') AND r.job_id IS NULL",
    ),
    Invariant(
        "results",
        "every result belongs to a job in the same state or asked again, and no job has two",
        "results",
        "SELECT 'job ' || r.job_id FROM results r LEFT JOIN jobs j ON j.id = r.job_id "
        "WHERE j.id IS NULL OR j.batch_id <> r.batch_id OR "
        "j.state <> r.state AND NOT (r.state = 'succeeded' AND j.finished_at IS NULL) "
        "UNION ALL SELECT 'job ' || job_id FROM results GROUP BY job_id HAVING count(*) > 1",
    ),
    Invariant(
        "numbers",
        "every result has a number or waits for one, and every number has a result",
        "results",
        "SELECT 'job ' || r.job_id FROM results r LEFT JOIN numbered_results n ON n.job_id = r.job_id "
        "LEFT JOIN fresh_results f ON f.job_id = r.job_id WHERE n.job_id IS NULL AND f.job_id IS NULL "
        "AND r.day IS NOT NULL "
        "UNION ALL SELECT 'number ' || n.number FROM numbered_results n LEFT JOIN results r ON r.job_id = n.job_id "
        "WHERE r.job_id IS NULL",
    ),
    Invariant(
        "payloads",
        "every job that has not ended has its stored request",
        "payloads",
        f"SELECT 'job ' || j.id FROM jobs j LEFT JOIN payloads p ON p.job_id = j.id "
        f"WHERE p.job_id IS NULL AND j.state NOT IN ({_FINAL}) "
        "UNION ALL SELECT 'payload ' || p.job_id FROM payloads p LEFT JOIN jobs j ON j.id = p.job_id "
        "WHERE j.id IS NULL",
    ),
    Invariant(
        "attempts",
        "every attempt belongs to a job, and no number is above that of the job's last attempt",
        "attempts",
        "SELECT 'job ' || a.job_id || ', attempt ' || a.attempt FROM attempts a "
        "LEFT JOIN jobs j ON j.id = a.job_id WHERE j.id IS NULL OR a.attempt > j.attempt",
    ),
    Invariant(
        "leases",
        "every running job has a lease that ended less than two minutes ago, or has not ended",
        "jobs",
        "SELECT 'job ' || id || ' on ' || coalesce(host, 'no host') FROM jobs WHERE state = 'running' "
        "AND (lease_token IS NULL OR lease_until < :stale)",
    ),
    Invariant(
        "codes",
        "every failed or held job has a known error code",
        "results",
        f"SELECT 'job ' || job_id || ': ' || coalesce(error_code, 'none') FROM results WHERE state = 'failed' "
        f"AND coalesce(error_code, '') NOT IN ({_CODES}) "
        f"UNION ALL SELECT 'job ' || id || ': ' || coalesce(hold_code, 'none') FROM jobs WHERE state = 'held' "
        f"AND coalesce(hold_code, '') NOT IN ({_CODES})",
    ),
    Invariant(
        "waiting",
        "every waiting job waits for a job that has not ended, or whose end is not processed yet",
        "jobs",
        "SELECT 'job ' || j.id FROM jobs j JOIN batches b ON b.id = j.batch_id WHERE j.state = 'waiting' "
        "AND b.sealed_at IS NOT NULL AND NOT EXISTS (SELECT 1 FROM follows f JOIN jobs p ON p.id = f.parent_id "
        "WHERE f.job_id = j.id AND (p.finished_at IS NULL OR p.followed))",
    ),
    Invariant(
        "pruned",
        "a pruned batch has no jobs",
        "batches",
        "SELECT 'batch ' || b.id FROM batches b WHERE b.pruned_at IS NOT NULL "
        "AND EXISTS (SELECT 1 FROM jobs j WHERE j.batch_id = b.id)",
    ),
    Invariant(
        "charges",
        "no job was charged for more attempts than it made or may make",
        "jobs",
        "SELECT 'job ' || id FROM jobs WHERE charged > max_attempts OR charged > attempt",
    ),
    Invariant(
        "documents",
        "every document of a schedule that counts as answered has its answer",
        "schedule_documents",
        "SELECT d.custom_id || ', ' || d.model FROM schedule_documents d WHERE d.answered_job IS NOT NULL "
        "AND NOT EXISTS (SELECT 1 FROM schedule_answers a WHERE a.schedule_id = d.schedule_id "
        "AND a.custom_id = d.custom_id AND a.model = d.model AND a.job_id = d.answered_job)",
    ),
    Invariant(
        "firings",
        "every firing belongs to a schedule, and no ended firing holds a lease",
        "firings",
        "SELECT 'firing ' || f.id FROM firings f LEFT JOIN schedules s ON s.id = f.schedule_id "
        "WHERE s.id IS NULL OR (f.ended_at IS NOT NULL AND f.token IS NOT NULL)",
    ),
)


def check_database(database: Database, *, now: datetime) -> list[Checked]:
    """Look at every invariant, at one moment. Raises DatabaseUnavailable.

    Reads each table once or twice: some seconds for a million jobs. ``now`` is the database's time.
    """
    with database.read() as conn:
        if database.dialect == "postgresql":
            conn.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
            conn.execute(text("SET LOCAL statement_timeout = 0"))
        counts = {
            table: _count(conn, table) for table in sorted({invariant.rows for invariant in INVARIANTS})
        }
        checks = [_checked(conn, invariant, counts, now) for invariant in INVARIANTS]
        checks += _of_the_file(conn) if database.dialect == "sqlite" else ()
        revision = conn.scalar(text("SELECT version_num FROM alembic_version"))
        wrong = [] if revision == HEAD else [f"at revision {revision}, not {HEAD}"]
        checks.append(
            Checked("schema", "the schema is that of this version of Caravan", 1, len(wrong), wrong)
        )
    return checks


def _count(conn: Connection, table: str) -> int:
    return int(conn.scalar(text(f"SELECT count(*) FROM {table}")) or 0)


def _checked(conn: Connection, invariant: Invariant, counts: Mapping[str, int], now: datetime) -> Checked:
    values = {"stale": now - GRACE} if ":stale" in invariant.broken else {}
    statement = text(invariant.broken)
    if values:
        statement = statement.bindparams(bindparam("stale", type_=UtcTime))
    places: list[str] = []
    broken = 0
    for row in conn.execution_options(yield_per=1000).execute(statement, values):
        broken += 1
        if len(places) < MOST_EXAMPLES:
            places.append(str(row[0]))
    return Checked(invariant.name, invariant.promise, counts[invariant.rows], broken, places)


def _of_the_file(conn: Connection) -> Iterator[Checked]:
    messages = [str(row[0]) for row in conn.execute(text("PRAGMA quick_check(5)"))]
    wrong = [] if messages == ["ok"] else messages
    yield Checked("file", "the file is not damaged", 1, len(wrong), wrong[:MOST_EXAMPLES])
    orphans = [f"{row[0]} row {row[1]} → {row[2]}" for row in conn.execute(text("PRAGMA foreign_key_check"))]
    yield Checked(
        "references", "every foreign key refers to an existing row", 1, len(orphans), orphans[:MOST_EXAMPLES]
    )

"""What hosts ask again and again costs the same however long the queue and the history are.

Each statement is caught as the storage sends it and explained by the database, with and without statistics. PostgreSQL
explains the plan that it makes for whatever values: that is what it takes to after some executions.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from sqlalchemy import event, text
from sqlalchemy.engine import Connection

from tests.integration.storage.conftest import NOW, Store, new_job
from worker.domain.jobs import Priority
from worker.domain.selection import Selection
from worker.storage.backlog import read_backlog
from worker.storage.batches import create_batch, promote_sealed, seal_batch
from worker.storage.claims import claim_jobs
from worker.storage.follows.settling import settle_followers
from worker.storage.jobs import expire_due, insert_jobs, promote_due
from worker.storage.leases import cancel_requested, release_strays, renew
from worker.storage.rescues import rescue_stale
from worker.storage.results import PAGE, iter_results
from worker.storage.reuse import reuse_waiting, wants_reuse

HISTORY = 3000
MANY = 200
UNTIL = NOW + timedelta(seconds=90)

ASKED: dict[str, Callable[[Connection], object]] = {
    "claim": lambda conn: claim_jobs(
        conn, host="gpu-1", runner_keys=["m1:1"], limit=4, token="t", now=NOW, lease_until=UNTIL
    ),
    "claim of some priorities": lambda conn: claim_jobs(
        conn,
        host="gpu-1",
        runner_keys=["m1:1"],
        limit=4,
        token="t",
        now=NOW,
        lease_until=UNTIL,
        priorities=[Priority.NORMAL, Priority.BULK],
    ),
    "claim of a batch": lambda conn: claim_jobs(
        conn, host="gpu-1", runner_keys=["m1:1"], limit=4, token="t", now=NOW, lease_until=UNTIL, batch_id=2
    ),
    "backlog": lambda conn: read_backlog(conn, now=NOW),
    "backlog of a batch": lambda conn: read_backlog(conn, now=NOW, batch_id=2),
    "renew": lambda conn: renew(conn, token="t1", job_ids=[1, 2], lease_until=UNTIL),
    "cancel flags": lambda conn: cancel_requested(conn, token="t1"),
    "strays": lambda conn: release_strays(conn, token="t1", keep=[], now=NOW),
    "followers": lambda conn: settle_followers(conn, now=NOW, limit=5),
    "rescue": lambda conn: rescue_stale(conn, now=UNTIL + timedelta(seconds=1), limit=5),
    "promote due": lambda conn: promote_due(conn, now=NOW, limit=5),
    "promote sealed": lambda conn: promote_sealed(conn, now=NOW, limit=5),
    "answers to take": lambda conn: reuse_waiting(conn, "m1:1", "d1", now=NOW, limit=5),
    "whether there are answers to take": lambda conn: wants_reuse(conn, ["m1:1", "m2:1"]),
    "expire": lambda conn: expire_due(conn, now=NOW, limit=5),
}


@pytest.fixture
def busy(store: Store) -> Store:
    """A long history, a queue, jobs that run, and an upload that is not promoted yet."""
    store.submit(*jobs(HISTORY))
    with store.database.write() as conn:
        conn.execute(text("UPDATE jobs SET state = 'succeeded', finished_at = submitted_at"))
    store.submit(*jobs(HISTORY))
    store.claim(20, runner_key="m2:1")
    with store.database.write() as conn:
        batch, _ = create_batch(conn, key="new", name="b", source=None, now=NOW)
        insert_jobs(conn, batch.id, jobs(HISTORY), now=NOW)
        seal_batch(conn, batch.id, jobs=HISTORY, now=NOW)
    return store


@pytest.mark.parametrize("analyzed", [True, False], ids=["with statistics", "without"])
def test_nothing_that_is_asked_often_walks_the_queue_or_the_history(busy: Store, analyzed: bool) -> None:
    if analyzed:
        with busy.database.write() as conn:
            conn.execute(text("ANALYZE"))

    walked = {name: rows for name, ask in ASKED.items() if (rows := walks(busy, ask))}

    assert walked == {}


def test_a_page_of_results_does_not_walk_the_batches_before_it(busy: Store) -> None:
    with busy.database.write() as conn:
        conn.execute(text("ANALYZE"))

    def page(_: Connection) -> object:
        return next(iter_results(busy.database, Selection(2)))

    assert walks(busy, page, most=PAGE * 3) == []


def jobs(count: int) -> list[Any]:
    return [
        new_job(seq, runner_key=f"m{seq % 3}:1", model=f"m{seq % 3}:1", priority=Priority(seq % 4))
        for seq in range(1, count + 1)
    ]


def walks(store: Store, ask: Callable[[Connection], object], *, most: int = MANY) -> list[str]:
    """The steps of its statements' plans that look at more than ``most`` rows, or would with more rows."""
    engine = store.database._engine
    with caught(engine) as statements, store.database.read() as conn:
        begun = conn.begin_nested()
        ask(conn)
        begun.rollback()
    explain = _sqlite_walks if store.database.dialect == "sqlite" else _postgres_walks
    found = []
    for statement, parameters in statements:
        if "jobs" in statement.split("payloads")[0] or "FROM jobs" in statement:
            with engine.connect() as conn, conn.begin() as transaction:
                found += explain(conn, statement, parameters, most)
                transaction.rollback()
    assert statements
    return found


@contextmanager
def caught(engine: Any) -> Iterator[list[tuple[str, Any]]]:
    statements: list[tuple[str, Any]] = []

    def keep(_conn: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, many: bool) -> None:
        if not many and statement.lstrip().startswith(("SELECT", "UPDATE", "WITH", "\nWITH")):
            statements.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", keep)
    yield statements
    event.remove(engine, "before_cursor_execute", keep)


def _sqlite_walks(conn: Connection, statement: str, parameters: Any, most: int) -> list[str]:
    """Scans that follow none of our partial indexes, and searches that only bound the key or the batch."""
    plan = [row[3] for row in conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)]
    by_id = "max(" in statement or most > MANY
    walked = ("autoindex_jobs_2 (batch_id=?)",) if by_id else ("autoindex_jobs_2 (batch_id=?)", "(id>")
    return [
        f"{step}: {statement}"
        for step in plan
        if (step.startswith("SCAN jobs") and " ix_jobs_" not in step)
        or (
            step.startswith("SEARCH jobs") and "ix_jobs_" not in step and any(walk in step for walk in walked)
        )
    ]


def _postgres_walks(conn: Connection, statement: str, parameters: Any, most: int) -> list[str]:
    raw: Any = conn.connection.driver_connection
    names = list(dict.fromkeys(re.findall(r"%\((\w+)\)s", statement)))
    numbered = re.sub(r"%\((\w+)\)s", lambda name: f"${names.index(name[1]) + 1}", statement)
    values = ", ".join(psycopg.ClientCursor(raw).mogrify("%s", [parameters[name]]) for name in names)
    with raw.cursor() as cursor:
        cursor.execute("SET LOCAL plan_cache_mode = force_generic_plan")
        cursor.execute(f"PREPARE explained AS {numbered.replace('%%', '%')}")
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE explained {f'({values})' if values else ''}")
        explained = cursor.fetchone()[0]
        cursor.execute("DEALLOCATE explained")
    found = []

    def visit(node: dict[str, Any]) -> None:
        looked_at = (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
        if "Relation Name" in node and looked_at > most:
            found.append(f"{node['Node Type']} {node['Relation Name']} {looked_at} rows: {statement}")
        for child in node.get("Plans", ()):
            visit(child)

    visit(explained[0]["Plan"])
    return found

"""The one writer of job states: its table, its counts, and the hook that refuses every other statement."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import text

from tests import state_writer
from tests.integration.storage.conftest import NOW, Store, new_job
from tests.state_writer import changes_state, is_built
from worker.domain.jobs import FINAL, JobState
from worker.storage import transitions
from worker.storage.check import check_database
from worker.storage.engine import Connection
from worker.storage.transitions import (
    CANCEL,
    CLAIM,
    EXPIRE,
    HOLD,
    TRANSITIONS,
    by_id,
    move,
    move_picked,
)

ROOT = Path(__file__).resolve().parents[3]
CLEAN = dict.fromkeys(
    ("lease_token", "lease_until", "hold_code", "hold_reason", "finished_at", "rescued_token"), "NULL"
)
IN_STATE: dict[JobState, dict[str, str]] = {
    JobState.RUNNING: {"lease_token": "'t'", "lease_until": "submitted_at", "host": "'gpu-1'"},
    JobState.HELD: {"hold_code": "'worker_lost'", "hold_reason": "'r'", "rescued_token": "'t'"},
    **{state: {"finished_at": "submitted_at", "cancel_requested_at": "submitted_at"} for state in FINAL},
}
CASES = [(one, state) for one in TRANSITIONS for state in sorted(one.leaves)]
VALUES: dict[str, Any] = {
    **dict.fromkeys(("now", "at", "until"), NOW),
    "token": "t2",
    "host": "gpu-1",
    "loss": 1,
    "lost": 1,
    "charge": 0,
    "code": "worker_lost",
    "reason": "r",
    "carries": False,
    "priority": 2,
    "runner_key": "qwen3:8b",
    "prefix_group": 1,
    "estimate": 3,
    "reuse": None,
    "kind": "chat",
    "deadline": None,
    "expires": False,
}


def put_in(conn: Connection, job: int, state: JobState) -> None:
    """Give the row all that a job in this state may have."""
    columns = CLEAN | {"attempt": "3", "charged": "0", "state": f"'{state}'"} | IN_STATE.get(state, {})
    written = ", ".join(f"{name} = {value}" for name, value in columns.items())
    conn.execute(text(f"UPDATE jobs SET {written} WHERE id = :job"), {"job": job})


def row_of(conn: Connection, job: int) -> Any:
    return conn.execute(text("SELECT * FROM jobs WHERE id = :job"), {"job": job}).one()


# -- the table --------------------------------------------------------------------------------------------------------


def test_every_transition_makes_a_row_that_the_database_takes(store: Store) -> None:
    store.submit(new_job(1))
    [job] = store.claim()
    for transition, state in CASES:
        parameters = set(re.findall(r":(\w+)", transition.clause))
        values = {name: VALUES[name] for name in parameters} | {"job": job.id}
        with store.database.write() as conn:
            put_in(conn, job.id, state)
            conn.execute(by_id(transition), values)
            row = row_of(conn, job.id)
        assert row.state == transition.enters, (transition.verb, state)
        if transition.enters is not JobState.RUNNING:
            assert row.lease_token is row.lease_until is None, (transition.verb, state)
        if transition.enters in FINAL | {JobState.RUNNING, JobState.WAITING}:
            assert row.rescued_token is None, (transition.verb, state)


def test_no_verb_leads_from_one_state_to_two() -> None:
    ends: dict[tuple[JobState, str], set[JobState]] = {}
    for state, verb, end in transitions.arrows():
        ends.setdefault((state, verb), set()).add(end)

    assert {key: found for key, found in ends.items() if len(found) > 1} == {}


def test_a_row_in_a_state_that_a_transition_does_not_leave_is_refused(store: Store) -> None:
    store.submit(new_job(1))
    [job] = store.claim()

    with (
        pytest.raises(ValueError, match="is running, which expire does not leave"),
        store.database.write() as conn,
    ):
        move(conn, EXPIRE, [row_of(conn, job.id)], now=NOW)

    assert store.counts() == {JobState.RUNNING: 1}


def test_the_counts_follow_the_rows(store: Store) -> None:
    batch = store.submit(*(new_job(seq, priority=seq % 3) for seq in range(1, 6)))
    store.claim(1)
    with store.database.write() as conn:
        some = "SELECT id FROM jobs WHERE state = 'queued' ORDER BY id LIMIT 2"
        held = move_picked(conn, HOLD, some, {"code": "worker_lost", "reason": "r"}, old=JobState.QUEUED)
        rows = conn.execute(text("SELECT * FROM jobs WHERE state = 'queued'")).all()
        move(conn, CANCEL, rows, now=NOW)

    assert len(held) == 2
    assert store.counts(batch) == {JobState.RUNNING: 1, JobState.HELD: 2, JobState.CANCELLED: 2}
    assert [one.name for one in check_database(store.database, now=NOW) if one.broken] == []


# -- the hook ---------------------------------------------------------------------------------------------------------

OTHERS = [
    "UPDATE jobs SET state = 'held', hold_code = 'x'",
    "update jobs\nset priority = 1, state='queued' where id = 3",
    'UPDATE "jobs" SET "state" = \'queued\'',
    "UPDATE jobs SET /* claim */ state = 'queued'",
    "UPDATE ONLY jobs AS j SET losses = (SELECT 1 WHERE true), state = 'queued'",
    "UPDATE jobs SET (losses, state) = (1, 'queued')",
    "WITH picked AS (SELECT 1) UPDATE jobs SET state = CASE WHEN asked THEN 'queued' ELSE 'held' END FROM picked",
    "INSERT INTO jobs (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET state = excluded.state",
    "INSERT OR REPLACE INTO jobs (id, state) VALUES (1, 'queued')",
]
HARMLESS = [
    "UPDATE jobs SET lease_until = NULL WHERE state = 'running'",
    "UPDATE jobs SET reuse = CASE WHEN (state = 'queued') THEN 1 END, losses = 0 WHERE state = 'queued'",
    "INSERT INTO jobs (id, state) VALUES (1, 'queued')",
    "UPDATE batches SET state = 'open' WHERE id IN (SELECT batch_id FROM jobs)",
    "SELECT id FROM jobs WHERE state = 'queued' FOR UPDATE",
]


@pytest.mark.parametrize("statement", OTHERS)
def test_a_statement_that_changes_a_state_is_recognised(statement: str) -> None:
    assert changes_state(statement) and not is_built(statement)


@pytest.mark.parametrize("statement", HARMLESS)
def test_a_statement_that_changes_no_state_is_let_through(statement: str) -> None:
    assert not changes_state(statement)


def test_what_the_table_builds_is_recognised(store: Store) -> None:
    for transition in TRANSITIONS:
        statement = str(by_id(transition).compile(dialect=store.database._engine.dialect))

        assert changes_state(statement) and is_built(statement), statement
        assert not is_built(statement.replace("state = '", "state = 'x"))


def as_the_application(source: str, **names: Any) -> None:
    """Run a line as if it stood in a module of the application."""
    exec(compile(source, str(ROOT / "worker" / "door" / "example.py"), "exec"), names)


def test_the_application_changes_no_state_beside_the_table(store: Store) -> None:
    store.submit(new_job(1))
    statement = "UPDATE jobs SET state = 'scheduled' WHERE state = 'queued'"

    with pytest.raises(AssertionError, match=r"worker/door/example.py changes jobs.state"):
        with store.database.write() as conn:
            as_the_application("conn.execute(text(statement))", conn=conn, text=text, statement=statement)
    with pytest.raises(AssertionError, match=r"example.py changes jobs.state"):
        with store.database.write() as conn:
            as_the_application("conn.exec_driver_sql(statement)", conn=conn, statement=statement)

    assert len(state_writer.refused) == 2, "also where the application catches the error, the test fails"
    state_writer.refused.clear()
    assert store.counts() == {JobState.QUEUED: 1}


def test_the_application_changes_states_by_the_table(store: Store) -> None:
    store.submit(new_job(1))
    with store.database.write() as conn:
        job = conn.execute(text("SELECT * FROM jobs")).one()
        source = "move(conn, transition, [row], code='worker_lost', reason='r')"
        as_the_application(source, conn=conn, move=move, transition=HOLD, row=job)

    assert store.counts() == {JobState.HELD: 1}


# -- the source -------------------------------------------------------------------------------------------------------


def statements_of_the_source() -> Iterator[tuple[str, str]]:
    """Every piece of text of the application, and every ``update(jobs).values(…)`` as the SQL that it stands for."""
    for path in sorted((ROOT / "worker").rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        if path.name == "transitions.py" or not re.search(r"\bjobs\b", source):
            continue
        for node in ast.walk(ast.parse(source)):
            where = str(path.relative_to(ROOT))
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield where, node.value
            elif (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr == "values"
            ) and re.search(r"\bupdate\(jobs\)|\bjobs\.update\(\)", ast.unparse(node.func)):
                yield where, f"UPDATE jobs SET {', '.join(f'{key.arg} = 1' for key in node.keywords)}"


def test_no_module_beside_the_table_writes_a_state() -> None:
    statements = list(statements_of_the_source())

    assert sum(statement.startswith("UPDATE jobs SET") for _, statement in statements) > 10
    assert [found for found in statements if changes_state(found[1])] == []


def test_a_claim_is_one_statement_that_says_its_verb() -> None:
    clause = CLAIM.clause

    assert clause.startswith("/* claim */ state = 'running', ")
    assert SimpleNamespace(**CLAIM.columns).rescued_token == "NULL"

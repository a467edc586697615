"""The migrations and the tables say the same, on both databases, whoever upgrades first."""

import json
import struct
import subprocess
import sys
import zlib

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import LargeBinary, bindparam, inspect, text

from worker.domain.hosts import Host, HostModel
from worker.storage.batches import create_batch
from worker.storage.engine import Connection, Database, open_database
from worker.storage.host_rows import read_hosts
from worker.storage.hosts import add_host, record_probe
from worker.storage.migrate import HEAD, revision, run_migrations, scripts, upgrade
from worker.storage.models import ModelFacts, model_facts
from worker.storage.tables import all_tables
from worker.storage.types import UtcTime
from worker.storage.words import OURS


def test_the_newest_revision_is_the_one_the_code_names() -> None:
    assert ScriptDirectory(str(scripts())).get_current_head() == HEAD


def _is_table_of_ours(_: object, name: str | None, *__: object) -> bool:
    """Not what the database keeps for its own index over texts."""
    return not (name or "").startswith(OURS)


def test_an_upgraded_database_has_the_tables_of_the_code(migrated_url: str) -> None:
    database = open_database(migrated_url)

    with database.read() as conn:
        opts = {"compare_type": True, "target_metadata": all_tables(), "include_object": _is_table_of_ours}
        context = MigrationContext.configure(conn, opts=opts)
        differences = compare_metadata(context, all_tables())

    database.close()
    assert differences == []


def test_an_upgrade_brings_an_empty_database_to_the_newest_revision(database_url: str) -> None:
    assert revision(database_url) is None

    upgrade(database_url)
    upgrade(database_url)

    assert revision(database_url) == HEAD


def test_processes_that_upgrade_at_once_do_not_fail(database_url: str) -> None:
    code = f"from worker.storage.migrate import upgrade; upgrade({database_url!r})"

    started = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(3)]

    assert [process.wait(timeout=60) for process in started] == [0, 0, 0]
    assert revision(database_url) == HEAD


def config_of(conn: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(scripts()))
    config.attributes["connection"] = conn
    return config


def test_what_hosts_have_on_disk_is_kept_by_the_upgrade(database_url: str) -> None:
    database = open_database(database_url)
    with database.write() as conn:
        run_migrations(conn, "0018")
    models = [
        {
            "name": "qwen3:8b",
            "digest": "d",
            "thinking": True,
            "trained_context": 40960,
            "size": 5,
            "weights": "w",
        },
        {"name": "old:1", "digest": "", "thinking": False, "trained_context": None},
        {"name": "old:1", "digest": "", "thinking": False, "trained_context": None},
    ]
    with database.write() as conn:
        insert = "INSERT INTO hosts (name, url, slots, added_at, last_seen_at, models) VALUES "
        moment = "'2026-11-23T02:00:00.000000Z'"
        conn.execute(
            text(f"{insert}('gpu-1', 'http://a', 2, {moment}, {moment}, :models)"),
            {"models": json.dumps(models)},
        )
        conn.execute(text(f"{insert}('gpu-2', 'http://b', 2, {moment}, NULL, NULL)"))

    upgrade(database_url)

    with database.read() as conn:
        seen, unseen = read_hosts(conn, database.clock().now())
        known = model_facts(conn)
    assert (seen.looked, seen.models, seen.weights) == (
        True,
        frozenset({"qwen3:8b", "old:1"}),
        {"qwen3:8b": "w"},
    )
    assert (unseen.looked, unseen.models) == (False, frozenset())
    assert known == {"qwen3:8b": ModelFacts(True, 40960), "old:1": ModelFacts(False, None)}
    database.close()


def test_what_a_worker_of_the_version_before_saw_holds_until_a_newer_one_has_looked(
    database: Database,
) -> None:
    now = database.clock().now()

    def models(conn: Connection) -> frozenset[str]:
        return read_hosts(conn, now)[0].models

    with database.write() as conn:
        add_host(conn, Host("gpu-1", "http://gpu-1:11434"), now=now)
        record_probe(conn, "gpu-1", version="0.30", models=[HostModel("old:1", "d", False, None)], now=now)
        before = models(conn)
        conn.execute(text("UPDATE hosts SET models = :models"), {"models": json.dumps([{"name": "new:1"}])})
        beside = models(conn)
        record_probe(conn, "gpu-1", version="0.30", models=[HostModel("old:1", "d", False, None)], now=now)

        assert [before, beside, models(conn)] == [frozenset({name}) for name in ("old:1", "new:1", "old:1")]


def test_contexts_that_were_stored_deflated_are_readable_after_the_upgrade(
    migrated_url: str, database: Database
) -> None:
    words = struct.pack("<3H", 7, 65_535, 0)
    stored = [(2, words), (0, b"[4294967296, 1]"), (0, b"[-1]"), (1, b"")]
    with database.write() as conn:
        command.downgrade(config_of(conn), "0034")
        batch, _ = create_batch(conn, key="k", name="night", source=None, now=database.clock().now())
        for number, (width, body) in enumerate(stored, start=1):
            values = {"id": number, "batch": batch.id, "name": f"c{number}", "at": database.clock().now()}
            packed = bytes([width]) + zlib.compress(body, wbits=-15)
            conn.execute(_JOB, values)
            conn.execute(_RESULT, {**values, "context": packed})

    upgrade(migrated_url)

    with database.read() as conn:
        query = "SELECT job_id, context_length, CAST(tokens AS text) FROM report_contexts ORDER BY job_id"
        readable = [(row[0], row[1], json.loads(row[2])) for row in conn.execute(text(query))]
    assert readable == [(1, 3, [7, 65_535, 0]), (2, 2, [2**32, 1]), (4, 0, [])]
    with database.write() as conn:
        command.downgrade(config_of(conn), "0034")
    upgrade(migrated_url)
    with database.read() as conn:
        assert [(row[0], row[1], json.loads(row[2])) for row in conn.execute(text(query))] == readable


_JOB = text(
    "INSERT INTO jobs (id, batch_id, custom_id, model, state, priority, runner_key, prefix_group, estimate, submitted_at, "
    "finished_at, attempt, max_attempts) VALUES (:id, :batch, :name, 'm', 'succeeded', 2, 'm', 0, 1, :at, :at, 1, 3)"
).bindparams(bindparam("at", type_=UtcTime))
_RESULT = text(
    "INSERT INTO results (job_id, batch_id, custom_id, model, state, host, answer, attempts, finished_at, context) "
    "VALUES (:id, :batch, :name, 'm', 'succeeded', 'gpu-1', '', 1, :at, :context)"
).bindparams(bindparam("at", type_=UtcTime), bindparam("context", type_=LargeBinary()))


def test_a_downgrade_leaves_nothing_behind(migrated_url: str) -> None:
    database = open_database(migrated_url)

    with database.write() as conn:
        command.downgrade(config_of(conn), "base")
    with database.read() as conn:
        tables = inspect(conn).get_table_names()

    database.close()
    assert tables == ["alembic_version"]

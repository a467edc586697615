"""Migrations and tables agree in all that the database knows, not only in what Alembic compares: every check, every
condition of a partial index, every storage setting."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from sqlalchemy import inspect, text
from sqlalchemy.engine import Connection

from worker.errors import SchemaOutdated
from worker.storage.engine import Database, open_database
from worker.storage.migrate import HEAD, check_schema, run_migrations, upgrade
from worker.storage.words import OURS


@pytest.mark.parametrize("dialect", ["sqlite", "postgres"])
def test_a_database_made_in_one_step_is_what_the_migrations_make(
    request: pytest.FixtureRequest, dialect: str, tmp_path: Path
) -> None:
    made = str(request.getfixturevalue(f"migrated_{dialect}_url"))
    migrated = (
        f"sqlite:///{tmp_path / 'migrated.db'}"
        if dialect == "sqlite"
        else str(request.getfixturevalue("postgres_url"))
    )
    database = open_database(migrated)
    with database.write() as conn:
        run_migrations(conn)
    database.close()

    assert catalog(made) == catalog(migrated)
    assert rows(made) == rows(migrated)
    assert len(catalog(made)) > 100


def rows(url: str) -> Mapping[str, list[tuple[object, ...]]]:
    """The rows of every table that has some."""
    database = open_database(url)
    with database.read() as conn:
        tables = [name for name in inspect(conn).get_table_names() if not name.startswith(OURS)]
        found = {name: [tuple(row) for row in conn.execute(text(f"SELECT * FROM {name}"))] for name in tables}
    database.close()
    return {name: there for name, there in found.items() if there}


def test_a_database_of_a_newer_version_is_left_alone(migrated_url: str, database: Database) -> None:
    with database.write() as conn:
        conn.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    with pytest.raises(SchemaOutdated, match="newer version"):
        check_schema(database)
    with pytest.raises(SchemaOutdated, match=f"knows {HEAD}"):
        upgrade(migrated_url)


def catalog(url: str) -> Mapping[str, str]:
    """Every column, constraint, index and storage setting, by name, as the database itself describes it."""
    database = open_database(url)
    try:
        with database.read() as conn:
            found = _sqlite_catalog(conn) if database.dialect == "sqlite" else _postgres_catalog(conn)
    finally:
        database.close()
    return found


def _sqlite_catalog(conn: Connection) -> dict[str, str]:
    found = {}
    objects = "SELECT type, name, tbl_name, sql FROM sqlite_master"
    for kind, name, table, sql in conn.execute(text(objects)):
        if kind in ("index", "trigger", "view") or name.startswith(OURS) or "sqlite_" in name:
            found[f"{table} {name}"] = _normalised(sql or "")
            continue
        body = _normalised(sql).split("(", 1)[1].rsplit(")", 1)[0]
        for part in _parts(body):
            found[f"{table} {part}"] = ""
    return found


def _normalised(sql: str) -> str:
    plain = sql.replace('"', "").replace("(false)", "false").replace("DEFAULT 'false'", "DEFAULT false")
    return " ".join(plain.split()).replace("( ", "(").replace(" )", ")")


def _parts(body: str) -> list[str]:
    """The columns and constraints of a CREATE TABLE: what commas outside brackets divide."""
    parts, depth = [""], 0
    for sign in body:
        depth += (sign == "(") - (sign == ")")
        if sign == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += sign
    return [part.strip() for part in parts]


def _postgres_catalog(conn: Connection) -> dict[str, str]:
    queries = {
        "column": """
            SELECT c.relname || '.' || a.attname,
                   format_type(a.atttypid, a.atttypmod) || ' ' || a.attnotnull || ' '
                   || coalesce(pg_get_expr(d.adbin, d.adrelid), '')
            FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
            LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
            WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace AND a.attnum > 0 AND NOT a.attisdropped""",
        "constraint": """
            SELECT conrelid::regclass || '.' || conname, pg_get_constraintdef(oid)
            FROM pg_constraint WHERE connamespace = 'public'::regnamespace""",
        "index": "SELECT tablename || '.' || indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
        "view": "SELECT viewname, definition FROM pg_views WHERE schemaname = 'public'",
        "comment": """
            SELECT relname, obj_description(oid, 'pg_class') FROM pg_class
            WHERE relkind = 'v' AND relnamespace = 'public'::regnamespace""",
        "settings": """
            SELECT relname, coalesce(reloptions::text, '') FROM pg_class
            WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace""",
    }
    return {
        f"{kind} {name}": what for kind, query in queries.items() for name, what in conn.execute(text(query))
    }

"""Migrations and tables agree in all that the database knows, not only in what Alembic compares: every check, every
condition of a partial index, every storage setting."""

from collections.abc import Mapping

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import Connection

from worker.errors import SchemaOutdated
from worker.storage.engine import database_url as parsed
from worker.storage.engine import open_database
from worker.storage.migrate import HEAD, check_schema, upgrade
from worker.storage.tables import with_dialect_options
from worker.storage.words import OURS


@pytest.mark.parametrize("dialect", ["sqlite", "postgres"])
def test_what_the_migrations_make_is_what_the_tables_say(
    request: pytest.FixtureRequest, dialect: str
) -> None:
    migrated = catalog(request.getfixturevalue(f"migrated_{dialect}_url"))
    url = (
        request.getfixturevalue("postgres_url")
        if dialect == "postgres"
        else f"sqlite:///{request.getfixturevalue('tmp_path') / 'models.db'}"
    )
    engine = create_engine(parsed(url))
    with_dialect_options().create_all(engine)
    engine.dispose()

    assert migrated == catalog(url)
    assert len(migrated) > 100


def test_a_database_of_a_newer_version_is_left_alone(migrated_url: str) -> None:
    database = open_database(migrated_url)
    with database.write() as conn:
        conn.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    with pytest.raises(SchemaOutdated, match="newer version"):
        check_schema(database)
    with pytest.raises(SchemaOutdated, match=f"knows {HEAD}"):
        upgrade(migrated_url)

    database.close()


def catalog(url: str) -> Mapping[str, str]:
    """Every column, constraint, index and storage setting, by name, as the database itself describes it."""
    database = open_database(url)
    try:
        with database.read() as conn:
            found = _sqlite_catalog(conn) if database.dialect == "sqlite" else _postgres_catalog(conn)
    finally:
        database.close()
    return {name: what for name, what in found.items() if "alembic_version" not in name}


def _sqlite_catalog(conn: Connection) -> dict[str, str]:
    found = {}
    objects = "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE type <> 'view'"
    for kind, name, table, sql in conn.execute(text(objects)):
        if kind in ("index", "trigger") or name.startswith(OURS) or "sqlite_" in name:
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
        "settings": """
            SELECT relname, coalesce(reloptions::text, '') FROM pg_class
            WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace""",
    }
    return {
        f"{kind} {name}": what for kind, query in queries.items() for name, what in conn.execute(text(query))
    }

"""``worker/storage/sqlite_schema.sql``: what SQLAlchemy makes of the tables for an empty SQLite file."""

from itertools import groupby
from typing import Any

from sqlalchemy import create_mock_engine, insert, literal

from worker.storage.migrate import END_OF_STATEMENT
from worker.storage.tables import FIRST_ROWS, with_dialect_options


def sqlite_schema() -> str:
    """The statements, each with its end."""
    statements: list[str] = []

    def keep(statement: Any, *_: Any, **__: Any) -> None:
        compiled = str(statement.compile(dialect=engine.dialect, compile_kwargs={"literal_binds": True}))
        statements.append("\n".join(line.rstrip() for line in compiled.strip().splitlines()))

    engine = create_mock_engine("sqlite://", keep)
    tables = with_dialect_options("sqlite")
    tables.create_all(engine, checkfirst=False)
    for table, row in FIRST_ROWS.items():
        keep(insert(tables.tables[table]).values({name: literal(value) for name, value in row.items()}))
    return "".join(f"{statement}{END_OF_STATEMENT}" for statement in _ordered(statements))


def _ordered(statements: list[str]) -> list[str]:
    """The indexes of a table by their names: SQLAlchemy keeps them as a set."""
    runs = groupby(statements, key=lambda statement: " INDEX ix_" in statement.partition("(")[0])
    return [statement for is_index, run in runs for statement in (sorted(run) if is_index else run)]

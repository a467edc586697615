"""External databases, which are not Caravan's: rows out of them by a query, results into a table of theirs.

Whatever SQLAlchemy has a driver for, and files of DuckDB (``external_duckdb``), which needs no driver of SQLAlchemy's.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Protocol

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Double,
    Engine,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    String,
    Table,
    Text,
    create_engine,
    insert,
    inspect,
    make_url,
    select,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from worker.domain.urls import masked
from worker.errors import InputRefused, Problem, in_words
from worker.extras import require

Kind = Literal["text", "integer", "number", "truth", "time", "vector"]
PAGE = 1000
"""Rows that are read at a time."""
NUMBER = "number"
"""The column by which a result is there once."""


class ExternalDatabase(Protocol):
    """A database that is not Caravan's, open."""

    def query(self, query: str) -> AbstractContextManager[tuple[tuple[str, ...], Iterator[Sequence[Any]]]]:
        """The columns and the rows of a query, in constant memory. Nothing that it changes is kept."""

    def columns(self, table: str) -> Mapping[str, Kind | None] | None:
        """The columns of a table with what they hold, None for another type; None where there is no such table."""

    def create(self, table: str, columns: Mapping[str, Kind], *, size: int | None = None) -> None:
        """Make a table; ``number`` is its primary key. ``size``: the numbers of each vector, where all have as many."""

    def numbers(self, table: str, first: int, last: int) -> frozenset[int]:
        """Which numbers from ``first`` to ``last`` the table has."""

    def append(self, table: str, columns: Mapping[str, Kind], rows: Sequence[Sequence[Any]]) -> bool:
        """Append all rows or none; False where another process has appended one of them a moment ago."""


@contextmanager
def open_external(url: str, option: str) -> Iterator[ExternalDatabase]:
    """The database at ``url``. Raises InputRefused, which names ``option``: no URL, no such driver, no such file, and
    whatever the database says while it is open."""
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        message = "is not a URL; expected for example postgresql://user@host/name or duckdb:///file.duckdb"
        raise _refused(option, message) from error
    shown = masked(url)
    if parsed.get_backend_name() == "duckdb":
        require("duckdb", f"{shown}: opening DuckDB")
        from worker.storage.external_duckdb import DuckFile, duckdb_errors

        with duckdb_errors(option, shown):
            yield DuckFile(parsed.database or "", option)
        return
    if parsed.drivername in ("postgresql", "postgres"):
        require("fleet", f"{shown}: opening PostgreSQL", "psycopg")
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.get_backend_name() == "sqlite" and not Path(parsed.database or "").is_file():
        raise _refused(option, f"{shown}: no such file")
    try:
        engine = create_engine(parsed, poolclass=NullPool)
    except NoSuchModuleError as error:
        raise _refused(option, f"SQLAlchemy knows no database {parsed.drivername!r}") from error
    except ImportError as error:
        message = f"{shown}: the driver is not installed ({error}); install it beside Caravan"
        raise _refused(option, message) from error
    try:
        yield SqlDatabase(engine)
    except DBAPIError as error:
        raise _refused(option, f"{shown}: {_first_line(error.orig or error)}") from error
    except SQLAlchemyError as error:
        raise _refused(option, f"{shown}: {_first_line(error)}") from error
    finally:
        engine.dispose()


class SqlDatabase:
    """A database that SQLAlchemy has a driver for."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._tables: dict[str, Table] = {}

    @contextmanager
    def query(self, query: str) -> Iterator[tuple[tuple[str, ...], Iterator[Sequence[Any]]]]:
        options: dict[str, Any] = {"stream_results": True, "no_parameters": True}
        if self._engine.dialect.name == "postgresql":
            options["postgresql_readonly"] = True
        with self._engine.connect() as conn:
            if self._engine.dialect.name == "sqlite":
                conn.exec_driver_sql("PRAGMA query_only=ON")
            # as it stands: a colon or a percent sign in it is no parameter
            result = conn.execution_options(**options).exec_driver_sql(query)
            if not result.returns_rows:
                raise _refused("--from-sql", "the statement returns no rows; expected a SELECT")
            try:
                yield tuple(result.keys()), (tuple(row) for page in result.partitions(PAGE) for row in page)
            finally:
                result.close()
                conn.rollback()

    def columns(self, table: str) -> Mapping[str, Kind | None] | None:
        schema, name = _split(table)
        inspector = inspect(self._engine)
        if not inspector.has_table(name, schema=schema):
            return None
        return {
            column["name"]: _kind(column["type"]) for column in inspector.get_columns(name, schema=schema)
        }

    def create(self, table: str, columns: Mapping[str, Kind], *, size: int | None = None) -> None:
        self._table(table, columns).create(self._engine, checkfirst=True)

    def numbers(self, table: str, first: int, last: int) -> frozenset[int]:
        number = self._table(table, {NUMBER: "integer"}).c[NUMBER]
        with self._engine.connect() as conn:
            return frozenset(conn.scalars(select(number).where(number.between(first, last))))

    def append(self, table: str, columns: Mapping[str, Kind], rows: Sequence[Sequence[Any]]) -> bool:
        values = [dict(zip(columns, map(self._stored, row), strict=True)) for row in rows]
        try:
            with self._engine.begin() as conn:
                conn.execute(insert(self._table(table, columns)), values)
        except IntegrityError:
            if self.numbers(table, rows[0][0], rows[-1][0]):
                return False
            raise
        return True

    def _stored(self, value: Any) -> Any:
        """PostgreSQL knows zones; elsewhere what stands in the table is UTC."""
        if isinstance(value, datetime) and self._engine.dialect.name != "postgresql":
            return value.astimezone(UTC).replace(tzinfo=None)
        return value

    def _table(self, table: str, columns: Mapping[str, Kind]) -> Table:
        schema, name = _split(table)
        return Table(
            name,
            MetaData(),
            *(
                Column(column, _TYPES[kind], primary_key=column == NUMBER, autoincrement=False)
                for column, kind in columns.items()
            ),
            schema=schema,
        )


_TYPES: Mapping[Kind, Any] = {
    "text": Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb"),
    "integer": BigInteger(),
    "number": Double(),
    "truth": Boolean(),
    "vector": LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb"),
    "time": DateTime(timezone=True).with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb"),
}


def _kind(type_: Any) -> Kind | None:
    match type_:
        case String():
            return "text"
        case Boolean():
            return "truth"
        case Integer():
            return "integer"
        case Numeric():
            return "number"
        case DateTime():
            return "time"
        case LargeBinary():
            return "vector"
        case _:
            return None


def takes(there: Kind | None, kind: Kind) -> bool:
    """Whether a column that holds ``there`` takes values of ``kind``; one of an unknown type is tried.

    >>> takes("number", "integer"), takes("integer", "text"), takes(None, "text")
    (True, False, True)
    """
    return there in (None, kind) or (there, kind) in (("number", "integer"), ("integer", "truth"))


def _split(table: str) -> tuple[str | None, str]:
    """``schema.table``, or a table of the usual schema."""
    schema, dot, name = table.rpartition(".")
    return (schema if dot else None), name


def _refused(option: str, message: str) -> InputRefused:
    return InputRefused([Problem(0, option, "external_database", f"{option}: {message}")])


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or in_words(error)).splitlines()[0]

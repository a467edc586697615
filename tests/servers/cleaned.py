"""PostgreSQL databases that one test after the other uses: emptying one takes a hundredth of the time of making one.

Only what a test left as it was, but for few rows, is used again: no table, view, grant or statistic changed, no table grown
past a few pages.
"""

from collections.abc import Callable

import psycopg
from sqlalchemy.engine import make_url

_MOST_BYTES = 256 * 1024
"""Of a table, with the rows that are dead: a larger one would have other query plans."""

_SHAPE = """
SELECT (SELECT sum(hashtext(a::text)::bigint) FROM pg_attribute a WHERE attrelid >= 16384),
       (SELECT sum(hashtext(ev_action::text)::bigint) FROM pg_rewrite WHERE oid >= 16384),
       (SELECT sum(hashtext(c::text)::bigint) FROM pg_constraint c WHERE oid >= 16384),
       (SELECT sum(hashtext(i::text)::bigint) FROM pg_index i WHERE indexrelid >= 16384),
       (SELECT sum(hashtext(t::text)::bigint) FROM pg_trigger t WHERE NOT tgisinternal),
       (SELECT sum(hashtext(concat(relname, relkind, reltuples, relacl))::bigint)
        FROM pg_class WHERE oid >= 16384),
       (SELECT count(*) FROM pg_proc WHERE oid >= 16384), (SELECT count(*) FROM pg_extension),
       (SELECT count(*) FROM pg_namespace WHERE nspname NOT LIKE 'pg_%'),
       (SELECT count(*) FROM pg_default_acl), (SELECT count(*) FROM pg_statistic WHERE starelid >= 16384),
       (SELECT count(*) FROM pg_db_role_setting),
       (SELECT datacl::text FROM pg_database WHERE datname = current_database())
"""
_TABLES = (
    "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY 1"
)
_SEQUENCES = _TABLES.replace("'r'", "'S'")


class Cleaned:
    """Databases of one template. ``create`` makes one and ``drop`` takes it away, both by URL."""

    def __init__(self, create: Callable[[], str], drop: Callable[[str], None]) -> None:
        self._create, self._drop = create, drop
        self._free: list[str] = []
        self._seeded: dict[str, list[tuple[object, ...]]] = {}
        self._shape: tuple[object, ...] | None = None

    def take(self) -> str:
        """The URL of a database without a job."""
        if self._free:
            return self._free.pop()
        url = self._create()
        if self._shape is None:
            with _connected(url) as conn:
                self._shape = conn.execute(_SHAPE).fetchone()
                for (table,) in conn.execute(_TABLES).fetchall():
                    if rows := conn.execute(f'SELECT * FROM "{table}"').fetchall():
                        self._seeded[table] = rows
        return url

    def give_back(self, url: str) -> None:
        """Empty it for the next, or drop it."""
        try:
            with _connected(url) as conn:
                good = self._emptied(conn)
        except psycopg.Error:  # the test dropped it, or let nobody in
            good = False
        if good:
            self._free.append(url)
        else:
            self._drop(url)

    def _emptied(self, conn: psycopg.Connection) -> bool:
        conn.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        largest = (
            "SELECT max(pg_relation_size(oid)) FROM pg_class WHERE relkind IN ('r', 't') AND oid >= 16384"
        )
        (size,) = conn.execute(largest).fetchone() or (0,)
        if size > _MOST_BYTES or conn.execute(_SHAPE).fetchone() != self._shape:
            return False
        for table, rows in self._seeded.items():
            if conn.execute(f'SELECT * FROM "{table}"').fetchall() != rows:
                return False
        tables = [table for (table,) in conn.execute(_TABLES) if table not in self._seeded]
        sequences = [name for (name,) in conn.execute(_SEQUENCES)]
        statements = [
            "SET session_replication_role = replica",
            *(f'DELETE FROM "{table}"' for table in tables),
            *(f"SELECT setval('\"{name}\"', 1, false)" for name in sequences),
        ]
        conn.execute("; ".join(statements))
        return True


def _connected(url: str) -> psycopg.Connection:
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    return psycopg.connect(plain, autocommit=True)

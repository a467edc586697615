"""Keeps the report views what the code says they are, with the rights that were granted on them and the views that
somebody built on them."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

from sqlalchemy import BindParameter, bindparam, text
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from worker.errors import Conflict
from worker.records import record
from worker.storage.views import views


def views_are_current(conn: Connection) -> bool:
    """Whether every report view is what the code says. One small query."""
    return _stored(conn) == _current(conn)


def renew_views(conn: Connection) -> None:
    """Make the report views what the code says they are; nothing where they are. See ``views_away``."""
    if not views_are_current(conn):
        with views_away(conn):
            pass


@contextmanager
def views_away(conn: Connection, *, back: bool = True) -> Iterator[None]:
    """Without the views while tables change; then the report views as the code says, with the rights granted on the old
    ones, and the views that others built on them. With ``back`` false none of them comes back.

    Raises Conflict for what is built on them and cannot be built again. It names that, and the transaction, which has
    changed nothing then, must be given up.
    """
    if conn.dialect.name == "postgresql":
        ours, theirs = _take_down(conn)
        yield
        if back:
            _put_up(conn, ours, theirs)
        return
    kept = conn.execute(text(_FOREIGN_VIEWS).bindparams(_name_list(conn))).all()
    for name in (*_names(conn), *(row.name for row in kept)):
        conn.execute(text(f"DROP VIEW IF EXISTS {_quoted(name)}"))
    yield
    if back:
        create_views(conn)
        for row in kept:
            conn.exec_driver_sql(row.sql)


def create_views(conn: Connection) -> None:
    """Create the report views where there are none."""
    queries = views(conn.dialect.name)
    run_statements(conn, [_statement(name, query) for name, query in queries.items()])
    if conn.dialect.name == "postgresql":
        run_statements(conn, [f"COMMENT ON VIEW {name} IS '{mark}'" for name, mark in _current(conn).items()])


_FOREIGN_VIEWS = (
    "SELECT name, sql FROM sqlite_master WHERE type = 'view' AND name NOT IN :names ORDER BY rowid"
)
"""A change of a table fails in SQLite while any view is broken, and one built on a report view is, without that."""


def _names(conn: Connection) -> Sequence[str]:
    return list(views(conn.dialect.name))


def _statement(name: str, query: str) -> str:
    return f"CREATE VIEW {name} AS{query}"


def _current(conn: Connection) -> dict[str, str | None]:
    """View → what says that it is this one: its statement on SQLite, a comment with a checksum on PostgreSQL."""
    statements = {name: _statement(name, query) for name, query in views(conn.dialect.name).items()}
    if conn.dialect.name == "sqlite":
        return {**statements}
    return {
        name: f"A report view of Caravan ({hashlib.sha256(statement.encode()).hexdigest()[:16]})"
        for name, statement in statements.items()
    }


def _stored(conn: Connection) -> dict[str, str | None]:
    if conn.dialect.name == "sqlite":
        query = "SELECT name, sql FROM sqlite_master WHERE type = 'view' AND name IN :names"
    else:
        query = (
            "SELECT relname, obj_description(oid, 'pg_class') FROM pg_class "
            "WHERE relkind = 'v' AND pg_table_is_visible(oid) AND relname IN :names"
        )
    rows = conn.execute(text(query).bindparams(_name_list(conn))).all()
    return {row[0]: row[1] for row in rows}


def _name_list(conn: Connection) -> BindParameter[Any]:
    return bindparam("names", list(_names(conn)), expanding=True)


# -- PostgreSQL -------------------------------------------------------------------------------------------------


@record
class _View:
    """A view that is taken down for a while."""

    name: str
    """With its schema, quoted."""
    definition: str
    options: str | None
    comment: str | None
    owner: str
    grants: tuple[str, ...]
    """Statements that give the same rights again."""


_ABOVE = text("""
WITH RECURSIVE above(oid, depth) AS (
  SELECT oid, 0 FROM pg_class WHERE relkind = 'v' AND pg_table_is_visible(oid) AND relname IN :names
  UNION
  SELECT r.ev_class, above.depth + 1
  FROM above
  JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = above.oid
                  AND d.classid = 'pg_rewrite'::regclass
  JOIN pg_rewrite r ON r.oid = d.objid AND r.ev_class <> above.oid
)
SELECT c.oid, max(above.depth) AS depth, format('%I.%I', n.nspname, c.relname) AS name, c.relname, c.relkind,
       pg_get_viewdef(c.oid) AS definition, array_to_string(c.reloptions, ', ') AS options,
       obj_description(c.oid, 'pg_class') AS comment,
       CASE WHEN c.relowner <> (SELECT oid FROM pg_roles WHERE rolname = current_user)
            THEN quote_ident(pg_get_userbyid(c.relowner)) ELSE '' END AS owner,
       EXISTS (SELECT 1 FROM pg_trigger t WHERE t.tgrelid = c.oid)
       OR EXISTS (SELECT 1 FROM pg_rewrite w WHERE w.ev_class = c.oid AND w.rulename <> '_RETURN') AS acts
FROM above JOIN pg_class c ON c.oid = above.oid JOIN pg_namespace n ON n.oid = c.relnamespace
GROUP BY c.oid, n.nspname, c.relname, c.relkind, c.reloptions, c.relowner
ORDER BY depth, name
""")

_GRANTS = text("""
SELECT 'GRANT ' || a.privilege_type || ' ON ' || :name || ' TO '
       || CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END
       || CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END
FROM pg_class c, aclexplode(c.relacl) a WHERE c.oid = :oid AND a.grantee <> c.relowner
UNION ALL
SELECT 'GRANT ' || a.privilege_type || ' (' || quote_ident(t.attname) || ') ON ' || :name || ' TO '
       || CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END
       || CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END
FROM pg_class c JOIN pg_attribute t ON t.attrelid = c.oid AND NOT t.attisdropped, aclexplode(t.attacl) a
WHERE c.oid = :oid AND a.grantee <> c.relowner
""")


def _take_down(conn: Connection) -> tuple[list[_View], list[_View]]:
    """Drop the report views and what is built on them; the former, and the latter in the order of building them."""
    rows = conn.execute(_ABOVE.bindparams(_name_list(conn))).all()
    lasting = [row for row in rows if row.relkind != "v" or (row.depth and row.acts)]
    if lasting:
        names = ", ".join(
            f"{row.name} ({'materialized view' if row.relkind == 'm' else 'with rules'})" for row in lasting
        )
        raise Conflict(
            f"these depend on a report view and cannot be rebuilt without loss: {names}. {_REMEDY}"
        )
    ours = [_view(conn, row) for row in rows if row.depth == 0]
    theirs = [_view(conn, row) for row in rows if row.depth]
    try:
        for view in (*reversed(theirs), *ours):
            _run(conn, f"DROP VIEW {view.name}")
    except DBAPIError as error:
        if type(error.orig).__name__ != "DependentObjectsStillExist":
            raise
        raise Conflict(f"built on a report view: {_detail(error)}. {_REMEDY}") from error
    return ours, theirs


def _put_up(conn: Connection, ours: Sequence[_View], theirs: Sequence[_View]) -> None:
    create_views(conn)
    for view in ours:
        _give_back(conn, view)
    for view in theirs:
        options = f" WITH ({view.options})" if view.options else ""
        try:
            _run(conn, f"CREATE VIEW {view.name}{options} AS {view.definition}")
        except DBAPIError as error:
            reason = str(error.orig).strip().splitlines()[0]
            raise Conflict(
                f"the view {view.name} is built on a report view and does not fit the new one: {reason}. {_REMEDY}"
            ) from error
        if view.comment is not None:
            quoted = conn.scalar(text("SELECT quote_literal(:comment)"), {"comment": view.comment})
            _run(conn, f"COMMENT ON VIEW {view.name} IS {quoted}")
        _give_back(conn, view)


_REMEDY = "Drop it, run caravan db upgrade, and create it again"


def _give_back(conn: Connection, view: _View) -> None:
    for grant in view.grants:
        _run(conn, grant)
    if view.owner:
        _run(conn, f"ALTER VIEW {view.name} OWNER TO {view.owner}")


def _view(conn: Connection, row: Any) -> _View:
    grants = conn.scalars(_GRANTS, {"oid": row.oid, "name": row.name})
    return _View(row.name, row.definition, row.options, row.comment, row.owner, tuple(grants))


def _detail(error: DBAPIError) -> str:
    """What PostgreSQL names in the lines after its message, such as a function."""
    diagnosis = getattr(error.orig, "diag", None)
    detail = getattr(diagnosis, "message_detail", None) or str(error.orig)
    return "; ".join(line for line in str(detail).strip().splitlines() if line)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def run_statements(conn: Connection, statements: Iterable[str]) -> None:
    """Send definitions as they stand, by the driver: SQLAlchemy takes as long for each as SQLite does."""
    with closing(conn.connection.cursor()) as cursor:
        for statement in statements:
            cursor.execute(statement)


def _run(conn: Connection, statement: str) -> None:
    """Send it as it stands: it may hold a percent sign or a colon."""
    conn.exec_driver_sql(statement.replace("%", "%%") if conn.dialect.name == "postgresql" else statement)

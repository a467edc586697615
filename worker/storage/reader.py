"""A PostgreSQL role for reporting tools: it reads the views and nothing else, and no query of it runs for ever."""

import re

from sqlalchemy import text
from sqlalchemy.engine import Connection

from worker.errors import SettingsRefused
from worker.storage.views import views

_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")


def grant_reader(conn: Connection, name: str, *, password: str | None, timeout_seconds: int = 30) -> None:
    """Create the role ``name``, or change it: it may connect and read the report views.

    Its transactions are read only and end after ``timeout_seconds``. The views run with their owner's rights, so the
    tables themselves stay closed to it. Without a password it cannot log in with one (peer, certificates). Raises
    SettingsRefused for a database that has no roles, and for a name that would need quotes.
    """
    if conn.dialect.name != "postgresql":
        raise SettingsRefused("SQLite has no roles: give the tool a copy, caravan results --to-sqlite FILE")
    if not _NAME.fullmatch(name):
        raise SettingsRefused(
            f"{name!r} is not a valid name of a role: expected letters a to z, digits and _ (at most 63)"
        )
    known = conn.scalar(text("SELECT 1 FROM pg_roles WHERE rolname = :name"), {"name": name})
    verb = "ALTER" if known else "CREATE"
    conn.execute(text(f"{verb} ROLE {name} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE"))
    if password is not None:
        quoted = conn.scalar(text("SELECT quote_literal(:password)"), {"password": password})
        conn.exec_driver_sql(f"ALTER ROLE {name} PASSWORD {quoted}".replace("%", "%%"))
    for setting, value in (
        ("default_transaction_read_only", "on"),
        ("statement_timeout", f"'{timeout_seconds}s'"),
        ("idle_in_transaction_session_timeout", "'60s'"),
    ):
        conn.execute(text(f"ALTER ROLE {name} SET {setting} = {value}"))
    conn.execute(text(f"GRANT USAGE ON SCHEMA public TO {name}"))
    for view in views("postgresql"):
        conn.execute(text(f"GRANT SELECT ON {view} TO {name}"))

"""What a shell offers after a tab: the names of batches, hosts, models and schedules.

Read without SQLAlchemy, which takes longer to import than a person waits for a tab; read only, and for a moment only.
"""

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

WAIT_SECONDS = 1
"""For a database that is away or locked."""
MOST = 200

QUERIES = {
    "batches": f"SELECT id, name, state, jobs FROM batches WHERE state <> 'refused' ORDER BY id DESC LIMIT {MOST}",
    "hosts": f"SELECT name, url FROM hosts ORDER BY name LIMIT {MOST}",
    "models": f"SELECT name, count(*) FROM host_models GROUP BY name ORDER BY name LIMIT {MOST}",
    "schedules": f"SELECT name, next_at FROM schedules ORDER BY name LIMIT {MOST}",
}


def stored_names(kind: str, url: str, embedded: Path) -> Sequence[tuple[Any, ...]]:
    """The rows of one of ``QUERIES``. ``url`` is that of the settings; where it is empty, ``embedded`` is the file.

    Raises whatever the database raises; where there is no database yet there are no rows.
    """
    if url.startswith("postgresql"):
        return _from_postgresql(QUERIES[kind], url)
    path = Path(unquote(url.partition("sqlite:///")[2].partition("?")[0])) if url else embedded
    if not path.is_file():
        return []
    place = path.resolve().as_uri().replace("?", "%3f")
    connection = sqlite3.connect(f"{place}?mode=ro", uri=True, timeout=WAIT_SECONDS)
    try:
        return connection.execute(QUERIES[kind]).fetchall()
    finally:
        connection.close()


def _from_postgresql(query: str, url: str) -> Sequence[tuple[Any, ...]]:
    import psycopg

    scheme, _, rest = url.partition("://")
    with psycopg.connect(
        f"{scheme.partition('+')[0]}://{rest}",
        connect_timeout=2 * WAIT_SECONDS,
        options=f"-c statement_timeout={1000 * WAIT_SECONDS} -c default_transaction_read_only=on",
    ) as connection:
        return connection.execute(query.encode()).fetchall()

"""How a command gets its settings and its database."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from worker.settings import Settings, load_settings
from worker.storage.engine import Database, open_database
from worker.storage.migrate import check_schema, upgrade


def settings_for(**overrides: Any) -> Settings:
    """The settings with what the command line overrides."""
    return load_settings(**overrides)


@contextmanager
def opened(settings: Settings) -> Iterator[Database]:
    """The database of these settings. An embedded one is made where it is missing; a fleet's must be upgraded.

    Raises DatabaseUnavailable, SchemaOutdated.
    """
    if not settings.database_url:
        settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        upgrade(settings.database)
    database = open_database(settings.database)
    try:
        check_schema(database)
        yield database
    finally:
        database.close()

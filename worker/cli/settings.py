"""How a command gets its settings and its database."""

import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import field
from pathlib import Path
from typing import Any

from worker.clock import SystemClock
from worker.records import record
from worker.settings import Settings, load_settings, settings_with_origins
from worker.storage.engine import Database, database_url, open_database
from worker.storage.folders import network_folder
from worker.storage.migrate import check_schema, is_current


@record
class CommonOptions:
    """What stands before the command: ``caravan -q --log-format json CMD``."""

    overrides: Mapping[str, Any] = field(default_factory=dict)
    """Settings, as ``load_settings`` takes them."""
    quiet: bool = False
    """No progress and no summaries; errors and results only."""
    verbose: bool = False


_COMMON_OPTIONS: ContextVar[CommonOptions | None] = ContextVar("common_options", default=None)


@contextmanager
def hold_common_options(
    *, verbose: int = 0, quiet: bool = False, log_format: str | None = None
) -> Iterator[CommonOptions]:
    """Let the options before the command hold until the block ends (``ctx.with_resource``)."""
    level = "error" if quiet else {0: None, 1: "info"}.get(verbose, "debug")
    overrides = {"log_level": level, "log_style": log_format}
    options = CommonOptions(
        {name: value for name, value in overrides.items() if value is not None}, quiet, verbose > 0
    )
    token = _COMMON_OPTIONS.set(options)
    try:
        yield options
    finally:
        _COMMON_OPTIONS.reset(token)


def common_options() -> CommonOptions:
    """What stands before the command that runs now."""
    return _COMMON_OPTIONS.get() or CommonOptions()


def settings_for(**overrides: Any) -> Settings:
    """The settings with what the command line overrides."""
    return load_settings(**_with_common_options(overrides))


def origins_for(**overrides: Any) -> tuple[Settings, dict[str, str]]:
    """The same, and where each comes from."""
    settings, origins = settings_with_origins(**_with_common_options(overrides))
    return settings, {
        name: _WRITTEN.get(name, origin) if name in common_options().overrides else origin
        for name, origin in origins.items()
    }


_WRITTEN = {"log_level": "-v or -q", "log_style": "--log-format"}


def _with_common_options(overrides: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **common_options().overrides,
        **{name: value for name, value in overrides.items() if value is not None},
    }


def quiet_log(settings: Settings, level: str = "warning") -> None:
    """The log of a command that a person looks at: only what is wrong, unless they asked for more, and on a terminal in
    sentences, unless they chose a style."""
    from worker.observability.logging import configure

    explicit = "log_level" in settings.model_fields_set
    sentences = not explicit and "log_style" not in settings.model_fields_set and sys.stderr.isatty()
    style = "sentence" if sentences else settings.log_style
    configure(settings.log_level if explicit else level, style=style, repeats=explicit)


@contextmanager
def opened(settings: Settings) -> Iterator[Database]:
    """The database of these settings. An embedded one is made where it is missing; a fleet's must be upgraded.

    Raises DatabaseUnavailable, SchemaOutdated.
    """
    if not settings.database_url:
        settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
    _warn_of_a_network_folder(settings)
    if not logging.getLogger("caravan").handlers:  # an event would be printed without its time and fields
        quiet_log(settings)
    database = open_database(settings.database)
    try:
        if not is_current(database):
            if not settings.database_url:
                from worker.storage.migrate import bring_up_to_date

                bring_up_to_date(database, backups=settings.home / "backups", now=SystemClock().now())
            check_schema(database)
        yield database
    finally:
        database.close()


def _warn_of_a_network_folder(settings: Settings) -> None:
    if settings.database_url and not settings.database_url.startswith("sqlite"):
        return
    kind = network_folder(Path(str(database_url(settings.database).database)))
    if kind is not None and not common_options().quiet:
        print(
            f"warning: the database is on a network folder ({kind}), where SQLite's write-ahead log cannot work: "
            "set CARAVAN_HOME to a local disk, or use PostgreSQL",
            file=sys.stderr,
        )

"""External databases on the command line: where they are, rows of a query, results into a table."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.groups import option
from worker.records import record

if TYPE_CHECKING:
    from worker.settings import Settings

SqlUrl = Annotated[
    str | None,
    option(
        "--sql-url",
        "External database: an SQLAlchemy URL, duckdb:///FILE, env:NAME or file:PATH.",
        metavar="URL",
    ),
]


@record
class QueryOptions:
    """Rows of a query, instead of those of a file."""

    from_sql: Annotated[
        str | None,
        option(
            "--from-sql",
            "Ask about the rows of this query, in the database at --sql-url.",
            "Input",
            metavar="QUERY|@FILE",
        ),
    ] = None
    sql_url: SqlUrl = None


@record
class TableOptions:
    """A table of an external database."""

    to_table: Annotated[
        str | None,
        option(
            "--to-table",
            "Append results that are not there yet to this table of the database at --sql-url.",
            metavar="NAME",
        ),
    ] = None
    sql_url: SqlUrl = None


def external_url(url: str | None, beside: str) -> str:
    """The URL that ``--sql-url`` means. Raises typer.BadParameter; SettingsRefused where ``env:`` or ``file:`` leads
    nowhere."""
    if url is None:
        raise typer.BadParameter(f"{beside} needs the URL of a database", param_hint="--sql-url")
    if url.startswith(("env:", "file:")):
        from worker.ollama.secrets import resolved

        return resolved(url)
    from worker.domain.urls import masked

    if masked(url) != url:
        message = "a password in a command can be read by others; put the URL into env:NAME or file:PATH"
        raise typer.BadParameter(message, param_hint="--sql-url")
    return url


def keep_query(settings: "Settings", query: str, url: str | None) -> Path:
    """Run the query of ``--from-sql`` and keep its rows in a file below CARAVAN_HOME, named by their hash.

    Raises InputRefused, SettingsRefused, ExtraMissing, OSError.
    """
    from worker.documents.encodings import read_text_argument
    from worker.documents.query_rows import keep_rows
    from worker.storage.external import open_external

    place = external_url(url, "--from-sql")
    with (
        open_external(place, "--from-sql") as source,
        source.query(read_text_argument(query)) as (columns, rows),
    ):
        return keep_rows(columns, rows, settings.home / "input", name="sql")

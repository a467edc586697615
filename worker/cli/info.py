"""``caravan info``: versions, database, and where settings come from."""

import importlib.metadata
import platform
from typing import Annotated, Any

from worker.cli.groups import option
from worker.cli.json_output import AsJson, print_json
from worker.cli.render import output_console, plain_table
from worker.cli.settings import opened, origins_for
from worker.domain.urls import masked
from worker.errors import CaravanError
from worker.extras import DISTRIBUTION, EXTRAS, missing_from
from worker.settings import Settings, masked_setting
from worker.stack.home import holder
from worker.storage.engine import sqlite_file
from worker.storage.host_rows import read_hosts
from worker.storage.migrate import HEAD, revision


def info(
    all_: Annotated[bool, option("--all", "List the settings that have their defaults too.")] = False,
    json_: AsJson = False,
) -> None:
    """Show versions, database, and where settings come from.

    Passwords are never shown. Nothing is made or changed.

    Example: caravan info
    """
    facts = gathered()
    if json_:
        from api_schemas.output.installation import InfoOutput

        print_json(InfoOutput(**facts))
        return
    console = output_console()
    table = plain_table("", "", fold=("",))
    table.show_header = False
    for name, value in facts.items():
        if name != "settings":
            table.add_row(name.replace("_", " "), _cell(value))
    console.print(table)
    console.print()
    table = plain_table("setting", "value", "from")
    shown = {n: s for n, s in facts["settings"].items() if all_ or s["origin"] != "default"}
    for name, setting in shown.items():
        table.add_row(name, _cell(setting["value"]), setting["origin"])
    if shown:
        console.print(table)
    if others := len(facts["settings"]) - len(shown):
        console.print(f"{others} {'other ' if shown else ''}settings have their defaults: caravan info --all")


def _cell(value: object) -> str:
    match value:
        case None | "" | []:
            return "–"
        case list():
            return ", ".join(str(item) for item in value)
        case _:
            return str(value)


def gathered() -> dict[str, Any]:
    """What ``info`` says."""
    settings, origins = origins_for()
    database = _database(settings)
    return {
        "caravan": importlib.metadata.version(DISTRIBUTION),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "extras": [extra for extra in EXTRAS if not missing_from(extra)],
        "extras_not_installed": [extra for extra in EXTRAS if missing_from(extra)],
        "home": str(settings.home),
        "home_held_by_process": holder(settings.home),
        "database": masked(settings.database),
        **database,
        "broker": masked(settings.broker_url) or None,
        "settings": {
            name: {"value": masked_setting(name, getattr(settings, name)), "origin": origin}
            for name, origin in origins.items()
        },
    }


def _database(settings: Settings) -> dict[str, Any]:
    """The schema's revision and who serves; asks without making a file that is not there."""
    facts: dict[str, Any] = {"database_schema": "unknown", "serving": [], "hosts": 0}
    path = sqlite_file(settings.database)
    if path is not None and not path.exists():
        return {**facts, "database_schema": "not made yet"}
    try:
        at = revision(settings.database)
        if at != HEAD:
            return {
                **facts,
                "database_schema": f"{at or 'empty'}; this version needs {HEAD}: caravan db upgrade",
            }
        with opened(settings) as database, database.read() as conn:
            hosts = read_hosts(conn, database.clock().now())
    except CaravanError as error:
        return {**facts, "database_schema": f"cannot be reached: {error}"}
    serving = [report.host.name for report in hosts if report.serving]
    return {"database_schema": at, "serving": serving, "hosts": len(hosts)}

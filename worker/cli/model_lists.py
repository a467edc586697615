"""``caravan models list``, ``show`` and ``operations``: which models there are, and what is done with them."""

from collections.abc import Sequence
from typing import Any

import typer

from worker.cli.json_output import ALL, NEWEST, print_json, say_more
from worker.cli.render import one_line, output_console, plain_table, size
from worker.cli.settings import opened, quiet_log, settings_for
from worker.cli.streams import say
from worker.errors import HostError, NoHost, SettingsRefused
from worker.hosts.models import FleetModel, fleet_models, hosts_that_have, model_name, rows_of
from worker.storage.host_rows import read_hosts
from worker.storage.model_operations import list_model_operations, read_model_operation

WIDE = 100
"""Columns of a terminal on which digest and quantization are shown."""


def print_models(model: str | None, on_hosts: list[str] | None, *, json_: bool) -> None:
    """The models of the fleet, as a table or as JSON. Raises SettingsRefused."""
    name = None if model is None else model_name(model)
    with opened(settings_for()) as database, database.read() as conn:
        rows = read_hosts(conn, database.clock().now())
        chosen = _chosen([row.name for row in rows], on_hosts)
        models = fleet_models(conn, [row for row in rows if row.name in chosen])
    models = [entry for entry in models if name in (None, entry.name)]
    if json_:
        from worker.exports.output.models import fleet_model_output

        print_json([fleet_model_output(entry) for entry in models])
        return
    if not models:
        text = f"no host has been seen to have {name or 'a model'}"
        typer.echo(text if rows else "no hosts yet: caravan hosts add NAME URL")
        return
    _print_models(models, len(chosen))


def _print_models(models: Sequence[FleetModel], on_hosts: int) -> None:
    console = output_console()
    narrow = console.width < WIDE  # the digests that differ stand beneath the table
    table = plain_table(
        *("model", *(() if narrow else ("digest",)), "size"),
        *(() if narrow else ("quantization",)),
        *("context", "can", "hosts"),
        right=("size", "context"),
        fold=("can", "hosts"),
        cut=("model",),
    )
    for entry in models:
        for number, (digest, known) in enumerate(_by_digest(entry)):
            first = known[0]
            names = [f"{copy.host}{' (loaded)' if copy.host in entry.loaded else ''}" for copy in known]
            everywhere = len(known) == on_hosts > 3 and not entry.loaded
            short = f"{digest.removeprefix('sha256:')[:12] or '–'}{' !' if entry.drifts else ''}"
            table.add_row(
                one_line("" if number else entry.name),
                *(() if narrow else (short,)),
                size(first.size),
                *(() if narrow else (first.quantization or "–",)),
                f"{first.trained_context:,}" if first.trained_context else "–",
                ", ".join(first.capabilities or ()) or "–",
                f"all {on_hosts}" if everywhere else ", ".join(names),
            )
    console.print(table)
    for entry in models:
        if entry.drifts:
            places = "; ".join(
                f"{digest.removeprefix('sha256:')[:12]} on {', '.join(copy.host for copy in known)}"
                for digest, known in _by_digest(entry)
            )
            say(
                f"! {entry.name} has different weights: {places}. caravan models pull {entry.name} updates all hosts "
                "if the model is from a registry.",
            )


def _by_digest(entry: FleetModel) -> list[tuple[str, list[Any]]]:
    groups: dict[str, list[Any]] = {}
    for known in entry.hosts:
        groups.setdefault(known.digest, []).append(known)
    return sorted(groups.items(), key=lambda group: (-len(group[1]), group[0]))


def print_model(model: str, on_hosts: list[str] | None, *, json_: bool) -> None:
    """A model, and what a host says of it. Raises NoHost, SettingsRefused."""
    from worker.ollama.client import OllamaHost  # a list speaks to no host

    name, settings = model_name(model), settings_for()
    quiet_log(settings)
    with opened(settings) as database, database.read() as conn:
        rows = read_hosts(conn, database.clock().now())
        chosen = _chosen([row.name for row in rows], on_hosts)
        rows = [row for row in rows if row.name in chosen]
        having = hosts_that_have(conn, [name], rows)
        (entry,) = [fleet_model for fleet_model in fleet_models(conn, rows) if fleet_model.name == name]
    details, place = _ask_one(
        [row.host for row in rows if row.name in having],
        lambda host: OllamaHost.of(host, deadlines=settings.deadlines),
        name,
    )
    if json_:
        from worker.exports.output.models import model_details_output

        print_json(model_details_output(entry, place, details))
        return
    _print_models([entry], len(chosen))
    for field in ("parameters", "system", "template", "license"):
        if details.get(field):
            lines = str(details[field]).strip().splitlines()
            typer.echo(f"{field} (on {place}):")
            for line in lines[:40]:
                typer.echo(f"  {line}")
            if len(lines) > 40:
                typer.echo(f"  … and {len(lines) - 40} more lines; --json has all")


def _ask_one(hosts: Sequence[Any], open_host: Any, model: str) -> tuple[dict[str, Any], str]:
    """What the first host that answers says of a model, and its name. Raises NoHost."""

    failures = []
    for host in hosts:
        try:
            gpu = open_host(host)
        except SettingsRefused as error:
            failures.append(f"{host.name}: {error}")
            continue
        try:
            return gpu.show(model), host.name
        except HostError as error:
            failures.append(f"{host.name}: {error.message}")
        finally:
            gpu.close()
    raise NoHost(f"no host can show {model}: {'; '.join(failures)}")


def print_operations(operation: int | None, limit: int | None, *, json_: bool) -> None:
    """What is done with models, the newest first. Raises NotFound."""
    from worker.cli.model_work import (
        operation_lines,  # which would have `models list` import all that serves hosts
    )

    with opened(settings_for()) as database, database.read() as conn:
        shown = limit or (ALL if json_ else NEWEST)
        read = (
            list_model_operations(conn, limit=shown + 1)
            if operation is None
            else [read_model_operation(conn, operation)]
        )
        rows = rows_of(conn, database)
    operations = read[:shown]
    say_more(len(read), shown, "operations")
    if json_:
        from worker.exports.output.models import model_operation_output

        print_json([model_operation_output(entry) for entry in operations])
        return
    if not operations:
        typer.echo("there are no operations on models yet")
    for entry in operations:
        for line in operation_lines(entry, rows):
            typer.echo(line)


def _chosen(names: Sequence[str], hosts: Sequence[str] | None) -> set[str]:
    """The hosts that are meant. Raises SettingsRefused."""
    for name in hosts or ():
        if name not in names:
            raise SettingsRefused(f"no host {name!r}; the hosts are {', '.join(names) or 'none yet'}")
    return set(hosts or names)

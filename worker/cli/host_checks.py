"""``caravan hosts check``: what is found of the hosts, printed, and what was loaded for it, kept."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import typer

from worker.cli.colours import colour_of, painted, show
from worker.cli.json_output import print_json
from worker.cli.settings import opened
from worker.cli.streams import say
from worker.domain.hosts import Host
from worker.domain.runners import RunnerKey
from worker.errors import NoHost
from worker.hosts.check import HostFinding, findings
from worker.hosts.registry import MOST_AT_ONCE
from worker.observability.terminal import terminal_safe
from worker.ollama.client import OllamaHost
from worker.settings import Settings
from worker.storage.engine import Connection, Database
from worker.storage.host_rows import HostRow, read_hosts
from worker.storage.hosts import get_host, record_idle_load

WARN, BAD = 3, 4
"""Exit codes: it serves worse than it could; it cannot serve."""


def print_checks(settings: Settings, name: str | None, model: str | None, *, as_json: bool) -> int:
    """Check the host of that name, or all, print what is found, and return the exit code. Raises NoHost, NotFound."""
    with opened(settings) as database:
        rows = _rows(database, name)
        loads: dict[str, RunnerKey] = {}
        checks = [(row, _findings(settings, row, model, loads)) for row in rows]
        if len(rows) == 1:  # each finding is printed when it is there
            shown = [_print(*checks[0], several=False, as_json=as_json)]
        else:
            with ThreadPoolExecutor(MOST_AT_ONCE) as threads:
                done = [(row, threads.submit(list, check)) for row, check in checks]
                shown = [_print(row, check.result(), several=True, as_json=as_json) for row, check in done]
        now = database.clock().now()

        def keep(conn: Connection) -> None:
            for host, key in loads.items():
                record_idle_load(conn, host, key.text, now=now)

        database.transact(keep)
    if as_json:
        from worker.exports.output.hosts import finding_output

        print_json(
            finding_output(row.name, finding)
            for row, some in zip(rows, shown, strict=True)
            for finding in some
        )
    levels = {finding.level for some in shown for finding in some}
    return BAD if "bad" in levels else WARN if "warn" in levels else 0


def _rows(database: Database, name: str | None) -> list[HostRow]:
    with database.read() as conn:
        rows = read_hosts(conn, database.clock().now())
        if name is not None:
            get_host(conn, name)  # names the nearest where there is none of this name
            rows = [row for row in rows if row.name == name]
    if not rows:
        raise NoHost("no hosts yet: caravan hosts add NAME URL")
    return rows


def _findings(
    settings: Settings, row: HostRow, model: str | None, loads: dict[str, RunnerKey]
) -> Iterator[HostFinding]:
    """The findings of a host; what the check loads there goes into ``loads``."""

    def open_host(host: Host) -> OllamaHost:
        return OllamaHost.of(host, deadlines=settings.deadlines)

    def keep(key: RunnerKey) -> None:
        loads[row.name] = key

    resident = None if row.resident is None else RunnerKey.parse(row.resident)
    return findings(row.host, open_host=open_host, model=model, resident=resident, on_load=keep)


def _print(
    row: HostRow, findings: Iterable[HostFinding], *, several: bool, as_json: bool
) -> list[HostFinding]:
    """What was found of a host, printed for people unless it is to be JSON."""
    if row.serving:
        say(f"{row.name} is being served now, so the check measures only what that work leaves")
    if several and not as_json:
        typer.echo(f"{row.name}:")
    shown = []
    for finding in findings:
        shown.append(finding)
        if as_json:
            continue
        level = painted(f"{finding.level:<5}", colour_of(finding.level))
        show(f"{level} {finding.what:<10} {terminal_safe(finding.message)}")
        if finding.remedy:
            typer.echo(f"{'':<16} → {finding.remedy}")
    return shown

"""Carries out an operation on models, in this process where nobody else serves the hosts, and shows how far it has come."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Protocol

import typer
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from worker.cli.actions import principal
from worker.cli.exits import FAILED_OR_HELD
from worker.cli.json_output import print_json
from worker.cli.model_options import Carrying
from worker.cli.render import Console, error_console, size
from worker.cli.settings import common_options, opened, quiet_log, settings_for
from worker.cli.wake import wake
from worker.domain.hosts import Host
from worker.domain.model_operations import ModelOperation, ModelPart, ModelVerb, PartState
from worker.errors import AlreadyRunning, DatabaseFailure, NoHost, SettingsRefused
from worker.hosts.models import begin, hosts_that_have, rows_of, why_it_waits
from worker.hosts.selection import select_hosts
from worker.records import record
from worker.settings import Settings
from worker.stack.embedded import embedded, join_hosts
from worker.storage.engine import Database
from worker.storage.host_rows import HostRow, read_hosts
from worker.storage.model_operations import read_model_operation

LOOK_SECONDS = 0.5
NO_BATCH = 0
"""No batch has this number: hosts are served for their models alone."""


@record
class Wish:
    """What is to be done, with which models, where."""

    verb: ModelVerb
    models: Sequence[str]
    arguments: Mapping[str, Any]
    places: Sequence[str] | None
    have: bool = False
    """Only on hosts that have the model, or what it is made of."""
    first: bool = False
    """Only on one of them."""

    @property
    def needed(self) -> Sequence[str]:
        """Models that a host has to have."""
        source = self.arguments.get("source")
        return self.models if source is None else [source]


def carry_out(wish: Wish, carrying: Carrying) -> int:
    """Do it, or have it done. Returns the exit code."""
    settings = settings_for()
    quiet_log(settings)
    console = error_console()
    if settings.broker_url or carrying.no_wait:
        return _beside(settings, wish, carrying, console)
    try:
        with embedded(settings, command="models") as stack:
            hosts = select_hosts(stack.database, wish.places, None)
            looks = join_hosts(stack, hosts)
            operation = _begun(stack.database, wish, [look.host for look in looks])
            try:
                stack.serve(_hosts_of(operation, hosts), batch_id=NO_BATCH)
                ended = _look_on(stack.database, operation, carrying, console, caring=True)
            except KeyboardInterrupt:
                _say_left(operation, console, "the same command goes on with it, and so does caravan up")
                stack.abort()
                raise
            return _finish(ended, carrying, console)
    except AlreadyRunning:
        return _beside(settings, wish, carrying, console)


def _beside(settings: Settings, wish: Wish, carrying: Carrying, console: Console) -> int:
    """Leave it to those who serve the hosts, and look on."""
    with opened(settings) as database:
        hosts = _known_hosts(database, wish.places)
        operation = _begun(database, wish, hosts)
        wake(settings, database, database.clock())
        if carrying.no_wait:
            return _finish(operation, carrying, console)
        try:
            ended = _look_on(database, operation, carrying, console, caring=False)
        except KeyboardInterrupt:
            _say_left(operation, console, "it goes on without this command")
            raise
        return _finish(ended, carrying, console)


def _known_hosts(database: Database, places: Sequence[str] | None) -> list[Host]:
    """Hosts that somebody serves. Raises SettingsRefused."""
    hosts = select_hosts(database, places, None)
    with database.read() as conn:
        known = {row.name for row in read_hosts(conn, database.clock().now())}
    missing = [host for host in hosts if host.name not in known]
    if missing:
        raise SettingsRefused(
            f"another process serves here and does not know {missing[0].url}; first caravan hosts add NAME URL"
        )
    return hosts


def _begun(database: Database, wish: Wish, hosts: Sequence[Host]) -> ModelOperation:
    names = [host.name for host in hosts]
    if wish.have:
        with database.read() as conn:
            rows = [row for row in read_hosts(conn, database.clock().now()) if row.name in names]
            names = hosts_that_have(conn, wish.needed, rows)
    return begin(
        database,
        wish.verb,
        wish.models,
        names[:1] if wish.first else names,
        arguments=wish.arguments,
        clock=database.clock(),
        principal=principal(),
    )


def _hosts_of(operation: ModelOperation, hosts: Sequence[Host]) -> list[Host]:
    names = {part.host for part in operation.parts}
    return [host for host in hosts if host.name in names]


# -- looking on -------------------------------------------------------------------------------------------


def _look_on(
    database: Database, operation: ModelOperation, carrying: Carrying, console: Console, *, caring: bool
) -> ModelOperation:
    """Show how far it has come until it is over. Raises NoHost where all that is left waits for hosts that are away."""
    clock, away_since = database.clock(), None
    with _display(console, quiet=common_options().quiet) as display:
        while True:
            with suppress(DatabaseFailure), database.read() as conn:
                operation = read_model_operation(conn, operation.id)
                rows = rows_of(conn, database)
                display.show(
                    operation,
                    {
                        (part.host, part.model): why_it_waits(part, rows.get(part.host), caring=caring)
                        for part in operation.parts
                    },
                )
                if operation.state != "open":
                    return operation
                now = clock.monotonic()
                away = caring and _all_away(operation, rows)
                away_since = None if not away else now if away_since is None else away_since
                if away_since is not None and now - away_since >= carrying.wait_hosts:
                    hosts = sorted({part.host for part in operation.parts if part.is_open})
                    raise NoHost(
                        f"operation {operation.id} is not done: {', '.join(hosts)} cannot be reached. The same command goes on "
                        f"with it, and so does caravan up; caravan models cancel {operation.id} ends it"
                    )
            threading.Event().wait(LOOK_SECONDS)


def _all_away(operation: ModelOperation, rows: Mapping[str, HostRow]) -> bool:
    hosts = {part.host for part in operation.parts if part.is_open}
    return all(name not in rows or rows[name].unreachable_since is not None for name in hosts)


class _Display(Protocol):
    def show(self, operation: ModelOperation, waits: Mapping[tuple[str, str], str]) -> None: ...


class _Silent:
    def show(self, operation: ModelOperation, waits: Mapping[tuple[str, str], str]) -> None:
        """Nothing is shown."""


class _Lines:
    """A line whenever something begins, waits, or has ended, and every ten percent."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._shown: dict[tuple[str, str], str] = {}

    def show(self, operation: ModelOperation, waits: Mapping[tuple[str, str], str]) -> None:
        for part in operation.parts:
            line = _line(part, waits.get((part.host, part.model), ""), step=10)
            if line != self._shown.get((part.host, part.model)):
                self._shown[part.host, part.model] = line
                self._console.print(line, markup=False, highlight=False)


class _Bars:
    """A bar for each model on each host."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[tuple[str, str], TaskID] = {}

    def show(self, operation: ModelOperation, waits: Mapping[tuple[str, str], str]) -> None:
        for part in operation.parts:
            key = part.host, part.model
            if key not in self._tasks:
                self._tasks[key] = self._bars.add_task("", total=None, amount="", says="")
            total = part.total or (1 if not part.is_open else None)
            self._bars.update(
                self._tasks[key],
                description=f"{part.model} on {part.host}",
                total=total,
                completed=part.completed if part.is_open and part.total else total or 0,
                amount=f"{size(part.completed)} of {size(part.total)}" if part.total else "",
                says=_says(part, waits.get(key, "")),
            )


@contextmanager
def _display(console: Any, *, quiet: bool) -> Iterator[_Display]:
    if quiet:
        yield _Silent()
    elif not console.is_terminal:
        yield _Lines(console)
    else:
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[amount]}", markup=False),
            TextColumn("{task.fields[says]}", markup=False),
        )
        with Progress(*columns, console=console) as bars:
            yield _Bars(bars)


def _says(part: ModelPart, waits: str) -> str:
    if part.state is PartState.FAILED:
        return f"failed: {part.error}"
    if waits:
        return waits
    if part.state is PartState.WORKING:
        return part.step
    return str(part.state)


def _line(part: ModelPart, waits: str, *, step: int = 1) -> str:
    """One part for people; with ``step`` it changes every so many percent."""
    place = f"{part.model} on {part.host}"
    if part.state is PartState.WORKING and not waits:
        if not part.total:
            return f"{place}: {part.verb} {'goes on' if part.step or part.tries else 'begins'}"
        share = 100 * part.completed // part.total // step * step
        return f"{place}: {share} % of {size(part.total)}"
    if part.state is PartState.DONE:
        digest = "" if part.digest is None else f", digest {part.digest.removeprefix('sha256:')[:12]}"
        note = "" if part.step in ("", "success") else f"; {part.step}"
        return f"{place}: {part.verb} done{digest}{note}"
    return f"{place}: {_says(part, waits)}"


def operation_lines(operation: ModelOperation, rows: Mapping[str, HostRow]) -> Iterator[str]:
    """An operation and its parts, for people."""
    at = operation.created_at.astimezone()
    names = ", ".join(dict.fromkeys(part.model for part in operation.parts))
    far = f"{operation.state}, {operation.done} of {len(operation.parts)}"
    yield f"{operation.id}  {at:%Y-%m-%d %H:%M}  {operation.verb} {names}: {far}"
    for part in operation.parts:
        yield f"    {_line(part, why_it_waits(part, rows.get(part.host), caring=False))}"


# -- the end ----------------------------------------------------------------------------------------------


def _finish(operation: ModelOperation, carrying: Carrying, console: Console) -> int:
    if carrying.json_:
        from worker.exports.output.models import model_operation_output

        print_json(model_operation_output(operation))
    elif operation.state == "open":
        typer.echo(
            f"operation {operation.id} has begun; the process that serves the hosts carries it out: "
            f"caravan models operations {operation.id}"
        )
    elif not common_options().quiet:
        done = sum(part.state is PartState.DONE for part in operation.parts)
        console.print(f"operation {operation.id}: {done} of {len(operation.parts)} done", highlight=False)
    for model in drifting(operation):
        console.print(
            f"{model} has different weights on these hosts: caravan models list {model} shows which",
            style="yellow",
            highlight=False,
        )
    return 0 if operation.state in ("done", "open") else FAILED_OR_HELD


def drifting(operation: ModelOperation) -> list[str]:
    """Models that came out with different digests, as a tag does that moved between two pulls."""
    digests: dict[str, set[str]] = {}
    for part in operation.parts:
        if part.digest is not None and part.state is PartState.DONE:
            digests.setdefault(part.model, set()).add(part.digest)
    return sorted(model for model, versions in digests.items() if len(versions) > 1)


def _say_left(operation: ModelOperation, console: Console, how: str) -> None:
    console.print(
        f"operation {operation.id} is not done: {how}; caravan models cancel {operation.id} ends it",
        highlight=False,
    )

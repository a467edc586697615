"""``caravan hosts ps``: what each host has loaded, asked of all hosts at once."""

import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import typer

from worker.cli.json_output import print_json
from worker.cli.render import one_line, output_console, plain_table, size
from worker.cli.settings import opened, settings_for
from worker.domain.hosts import Host, LoadedModel
from worker.errors import HostError, SettingsRefused
from worker.explain.reasons import span
from worker.ollama.client import Deadlines, OllamaHost
from worker.records import mutable_record
from worker.storage.engine import Database
from worker.storage.host_rows import HostRow, read_hosts

CUT_SECONDS = 1.0
"""How long the threads may take to end once their calls are cut."""
ASK_SECONDS = 4.0
"""How long ``ps`` waits for a host."""
FOR_EVER = 20 * 365 * 86400
"""Seconds; Ollama writes "for ever" as a time centuries away."""


@mutable_record
class Answer:
    """What a host said it has loaded; ``error`` where it did not answer in time."""

    report: HostRow
    loaded: list[LoadedModel] | None = None
    error: str | None = None


def ask_hosts(reports: Sequence[HostRow], open_host: Any, *, seconds: float = ASK_SECONDS) -> list[Answer]:
    """Ask all hosts at once what they have loaded; no longer than ``seconds`` in all."""
    replies = [Answer(report) for report in reports]
    opened: list[OllamaHost] = []

    def ask(answer: Answer) -> None:
        try:
            gpu: OllamaHost = open_host(answer.report.host)
        except SettingsRefused as error:  # a secret that is not here
            answer.error = str(error)
            return
        opened.append(gpu)
        try:
            answer.loaded = gpu.loaded()
        except HostError as error:
            answer.error = error.message
        finally:
            gpu.close()

    # daemons: a host that hangs must not keep the command from ending
    threads = [threading.Thread(target=ask, args=(answer,), daemon=True) for answer in replies]
    for thread in threads:
        thread.start()
    until = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    answers = [
        replace(answer, error=answer.error or (None if answer.loaded is not None else "no answer in time"))
        for answer in replies
    ]
    for gpu in tuple(opened):  # cuts the calls that are still under way
        gpu.close()
    until = time.monotonic() + CUT_SECONDS
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    return answers


def loaded_now(database: Database, now: datetime) -> dict[str, list[LoadedModel]]:
    """What the hosts that somebody serves have loaded, as they say; those that do not answer are left out."""
    with database.read() as conn:
        reports = [report for report in read_hosts(conn, now) if report.serving]
    return {
        answer.report.host.name: answer.loaded for answer in ask_hosts(reports, _open_host) if answer.loaded
    }


def _open_host(host: Host) -> OllamaHost:
    return OllamaHost.of(host, deadlines=Deadlines(connect=ASK_SECONDS / 2, probe=ASK_SECONDS - 1))


def print_loaded(*, as_json: bool) -> None:
    """What each host has loaded, as a table or as JSON."""
    with opened(settings_for()) as database:
        now = database.clock().now()
        with database.read() as conn:
            reports = read_hosts(conn, now)
    answers = ask_hosts(reports, _open_host)
    if as_json:
        from worker.exports.output.hosts import host_loaded_output

        print_json([host_loaded_output(answer.report, answer.loaded, answer.error) for answer in answers])
        return
    if not answers:
        typer.echo("no hosts yet: caravan hosts add NAME URL")
        return
    table = plain_table(
        *("host", "model", "size", "in GPU", "context", "until"),
        right=("size", "in GPU", "context"),
        fold=("until",),
        cut=("host", "model"),
    )
    for answer in answers:
        name = one_line(answer.report.host.name)
        if answer.loaded is None:
            known = answer.report.resident
            held = f"{known} as last known" if known else "–"
            table.add_row(name, one_line(held), "", "", "", f"cannot be reached: {answer.error}")
        elif not answer.loaded:
            table.add_row(name, "–", "", "", "", _doing(answer.report))
        for model in answer.loaded or ():
            share = f"{100 * model.size_vram / model.size:.0f}%" if model.size else "–"
            context = f"{model.context_length:,}" if model.context_length else "–"
            table.add_row(
                name, one_line(model.name), size(model.size), share, context, until(model.expires_at, now)
            )
            name = one_line("")
    output_console().print(table)


def _doing(report: HostRow) -> str:
    return f"loading {report.intent}" if report.intent else ""


def until(at: datetime | None, now: datetime) -> str:
    """When a host unloads a model.

    >>> from datetime import UTC
    >>> until(datetime(2026, 1, 1, 12, 4, tzinfo=UTC), datetime(2026, 1, 1, 12, 0, tzinfo=UTC))
    'in 4 min'
    >>> until(datetime(2318, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC))
    'for ever'
    """
    if at is None:
        return "–"
    left = (at - now).total_seconds()
    if left > FOR_EVER:
        return "for ever"
    return f"in {span(left)}" if left >= 1 else "now"

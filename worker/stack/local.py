"""The main job from Python: submit and serve in this process until it is done."""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from worker.client import BatchHandle, Client, Jobs, OnProgress, defaults_of
from worker.domain.address import host_address, host_name
from worker.domain.hosts import Host
from worker.errors import NoHost, SettingsRefused
from worker.policy.outlook import Outlook, outlook
from worker.services.explain import why_nothing_moves
from worker.services.hosts import missing_models
from worker.services.situation import situation
from worker.services.tick import tidy
from worker.stack.embedded import Embedded, embedded, join_hosts
from worker.storage.hosts import get_host, known_host, list_hosts

if TYPE_CHECKING:
    from api_schemas.jobs import PriorityName
    from worker.domain.batches import BatchProgress
    from worker.errors import Problem
    from worker.storage.engine import Database

DEFAULT_HOST = "http://127.0.0.1:11434"
SITUATION_SECONDS = 1.0


class Caravan(Client):
    """Submit jobs, wait for them, read their results; or ``run`` them here.

    >>> with Caravan() as caravan:  # doctest: +SKIP
    ...     batch = caravan.run(["Say hello."], hosts=["http://gpu-1:11434"], model="qwen3:8b")
    ...     print(next(batch.results())["answer"])
    """

    def run(
        self,
        jobs: Jobs,
        *,
        hosts: Sequence[str] | None = None,
        slots: int | None = None,
        model: str | None = None,
        name: str | None = None,
        key: str | None = None,
        format: Any = None,
        options: Mapping[str, Any] | None = None,
        think: bool | str | None = None,
        priority: "PriorityName | None" = None,
        system: str | None = None,
        callback: OnProgress | None = None,
        poll: float = 0.25,
        wait_hosts: float = 120.0,
    ) -> BatchHandle:
        """Submit as ``submit`` does, and serve ``hosts`` from threads of this process until nothing can move.

        ``hosts`` are URLs, or names of hosts that were added; None: all that were added, else the one at OLLAMA_HOST.
        ``slots``: requests each serves at a time; None: as it was added, else 1. ``callback`` hears of the progress
        every ``poll`` seconds.

        Interrupted, running calls may end (a second Ctrl-C cuts them); the same call goes on where it stopped. Raises
        NoHost where no host answers, at the start or for ``wait_hosts`` seconds; AlreadyRunning where another process
        serves this home (``submit`` to it); SettingsRefused where a broker is set: there a fleet serves; InputRefused,
        also for a model that none of the hosts has.
        """
        if self.settings.broker_url:
            raise SettingsRefused(
                "broker_url: a fleet serves here, so nothing runs in this process; use submit()"
            )
        defaults = defaults_of(
            model=model, system=system, format=format, options=options, think=think, priority=priority
        )
        with embedded(self.settings, command="run") as stack:
            seen = join_hosts(stack, wanted_hosts(self.database, hosts, slots))
            have = {model.name for look in seen for model in look.models}

            def check_models(wanted: "Mapping[str, int]") -> "list[Problem]":
                return missing_models(wanted, have)

            batch = self.take_in(jobs, defaults, name=name, key=key, check_models=check_models)
            try:
                stack.serve([look.host for look in seen], batch_id=batch.id)
                batch.wait(_looking(stack, batch.id, callback, wait_hosts), poll=poll)
                tidy(stack.database, clock=stack.clock, among=set(stack.hosts), batch_id=batch.id)
            except KeyboardInterrupt:
                _stop(stack)
                raise
        return batch


def wanted_hosts(database: "Database", said: Sequence[str] | None, slots: int | None) -> list[Host]:
    """The hosts that are meant. Raises ValueError for what is neither a name nor a URL."""
    places = [said] if isinstance(said, str) else said
    with database.read() as conn:
        reports = list_hosts(conn, database.clock().now())
        found = [report.host for report in reports if report.kept and not report.host.draining]
        if places is not None or not found:
            names = {report.host.name for report in reports}
            found = []
            for place in places or [os.environ.get("OLLAMA_HOST", "").strip() or DEFAULT_HOST]:  # noqa: TID251 - Ollama's
                if place in names:
                    found.append(get_host(conn, place))
                else:
                    address = host_address(place)
                    found.append(known_host(conn, address) or Host(host_name(address), address))
    return [one if slots is None else replace(one, slots=slots) for one in found]


def _looking(stack: Embedded, batch_id: int, callback: OnProgress | None, wait_hosts: float) -> OnProgress:
    """Tells ``callback``, and raises NoHost once every host has been away for ``wait_hosts`` seconds."""
    looked_at = time.monotonic()

    def look(progress: "BatchProgress") -> None:
        nonlocal looked_at
        if callback is not None:
            callback(progress)
        if not progress.open or time.monotonic() - looked_at < min(SITUATION_SECONDS, wait_hosts):
            return
        looked_at = time.monotonic()
        seen = situation(stack.database, batch_id, clock=stack.clock, among=stack.hosts)
        found = outlook(
            progress,
            running=sum(model.running for model in seen.models),
            unreachable_since=[host.unreachable_since for host in seen.hosts],
            now=seen.at,
            wait_hosts=timedelta(seconds=wait_hosts),
        )
        if found is Outlook.NO_HOST:
            why = "; ".join(why_nothing_moves(seen, seen.at, embedded=True))
            raise NoHost(f"no host can serve the rest of batch {batch_id}: {why}")

    return look


def _stop(stack: Embedded) -> None:
    stack.ask_to_stop()
    try:
        stack.join(stack.settings.stop_grace_seconds)
    except KeyboardInterrupt:
        stack.abort()

"""The main job from Python: submit and serve in this process until it is done, or beside the ``caravan up`` that serves."""

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from api_schemas.submissions import Submission
from worker.client import BatchHandle, Client, Jobs, OnProgress, submission_of
from worker.client.progress import shown_progress
from worker.domain.hosts import Host
from worker.errors import AlreadyRunning, DatabaseFailure, NoHost, SettingsRefused
from worker.explain import why_nothing_moves
from worker.explain.situation import Server, situation
from worker.hosts.registry import Seen, look_at, missing_models, register
from worker.hosts.wanted import kept_hosts, wanted_hosts
from worker.maintenance.settle import settle_one_batch
from worker.ollama.client import OllamaHost
from worker.policy.outlook import Outlook, outlook
from worker.stack.embedded import Embedded, embedded, join_hosts
from worker.stack.home import holder

if TYPE_CHECKING:
    from api_schemas.jobs import PriorityName
    from worker.domain.batches import BatchProgress
    from worker.door.observer import CheckModels
    from worker.errors import Problem

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
        model: str | Iterable[str] | None = None,
        prompt: str | None = None,
        template: str | Path | None = None,
        id_column: str | None = None,
        system: str | None = None,
        format: Any = None,
        repairs: int | None = None,
        allow_empty: bool | None = None,
        options: Mapping[str, Any] | None = None,
        think: bool | str | None = None,
        priority: "PriorityName | None" = None,
        deadline: datetime | None = None,
        expires: bool | None = None,
        limit: int | None = None,
        name: str | None = None,
        key: str | None = None,
        new: bool = False,
        extend: bool = False,
        retry_failed: bool = False,
        max_failures: int | str | None = None,
        reuse: "bool | Literal['any'] | None" = None,
        keep: timedelta | str | None = None,
        callback: OnProgress | None = None,
        progress_bar: bool = False,
        poll: float = 0.25,
        wait_hosts: float = 120.0,
    ) -> BatchHandle:
        """Submit as ``submit`` does, and serve ``hosts`` from threads of this process until nothing can move.

        ``hosts`` are URLs, or names of hosts that were added; None: all that were added, else the one at OLLAMA_HOST.
        ``slots``: requests each serves at a time; None: as it was added, else 1. ``callback`` hears of the progress
        every ``poll`` seconds, and ``progress_bar`` shows it on standard error. Where ``caravan up`` serves this home,
        ``hosts`` are added to it, and it does the work while this waits.

        Interrupted, running calls may end (a second Ctrl-C cuts them; those of ``caravan up`` go on); the same call goes
        on where it stopped. Raises NoHost where no host answers, at the start or for ``wait_hosts`` seconds, or
        ``caravan up`` is gone for so long; AlreadyRunning where another ``run`` serves this home; SettingsRefused where a
        broker is set: there a fleet serves; else as ``submit``, InputRefused also for a model that none of the hosts has.
        """
        if self.settings.broker_url:
            raise SettingsRefused(
                "broker_url: a fleet serves here, so nothing runs in this process; use submit()"
            )
        submission = submission_of(
            model=model,
            prompt=prompt,
            template=template,
            id_column=id_column,
            system=system,
            format=format,
            repairs=repairs,
            allow_empty=allow_empty,
            options=options,
            think=think,
            priority=priority,
            deadline=deadline,
            expires=expires,
            limit=limit,
            name=name,
            key=key,
            new=new,
            extend=extend,
            retry_failed=retry_failed,
            max_failures=max_failures,
            reuse=reuse,
            keep=keep,
        )
        if progress_bar:
            with shown_progress(name or "batch", callback) as shown:
                return self._run(jobs, submission, hosts, slots, shown, poll, wait_hosts)
        return self._run(jobs, submission, hosts, slots, callback, poll, wait_hosts)

    def _run(
        self,
        jobs: Jobs,
        submission: "Submission",
        hosts: Sequence[str] | None,
        slots: int | None,
        callback: OnProgress | None,
        poll: float,
        wait_hosts: float,
    ) -> BatchHandle:
        try:
            with embedded(self.settings, command="run") as stack:
                seen = join_hosts(stack, wanted_hosts(self.database, hosts, slots))
                batch = self.take_in(jobs, submission, check_models=_models_checked(seen))
                _serve(stack, [look.host for look in seen], batch, callback, poll, wait_hosts)
                return batch
        except AlreadyRunning as error:
            if error.command != "up":
                raise
        return self._beside_up(jobs, submission, hosts, slots, callback, poll, wait_hosts)

    def _beside_up(
        self,
        jobs: Jobs,
        submission: Submission,
        hosts: Sequence[str] | None,
        slots: int | None,
        callback: OnProgress | None,
        poll: float,
        wait_hosts: float,
    ) -> BatchHandle:
        """Submit to the ``caravan up`` that holds this home, and wait."""

        def open_host(host: Host) -> OllamaHost:
            return OllamaHost.of(host, deadlines=self.settings.deadlines)

        if hosts is None:
            seen = [look_at(one, open_host=open_host) for one in kept_hosts(self.database)]
        else:
            seen = [
                register(self.database, one, open_host=open_host, clock=self.clock, reachable_only=True)
                for one in wanted_hosts(self.database, hosts, slots)
            ]
        if all(look.error is not None for look in seen):
            places = "; ".join(f"{look.host.url}: {look.error}" for look in seen)
            raise NoHost(
                f"no host that caravan up serves can be reached ({places})"
                if seen
                else "caravan up serves no host yet: give hosts=, or caravan hosts add NAME URL"
            )
        batch = self.take_in(jobs, submission, check_models=_models_checked(seen))
        look = _looking(
            self,
            batch.id,
            {one.host.name for one in seen},
            callback,
            wait_hosts,
            serving=self._up_is_there,
            server=Server.UP,
        )
        batch.wait(look, poll=poll)
        return batch

    def _up_is_there(self) -> bool:
        return holder(self.settings.home) is not None


def _models_checked(seen: Collection[Seen]) -> "CheckModels":
    have = {model.name for look in seen for model in look.models}

    def check(wanted: Mapping[str, int]) -> "list[Problem]":
        return missing_models(wanted, have)

    return check


def _serve(
    stack: Embedded,
    hosts: Sequence[Host],
    batch: BatchHandle,
    callback: OnProgress | None,
    poll: float,
    wait_hosts: float,
) -> None:
    try:
        stack.serve(hosts, batch_id=batch.id)
        look = _looking(stack, batch.id, {host.name for host in hosts}, callback, wait_hosts)
        batch.wait(look, poll=poll)
        with suppress(DatabaseFailure):  # the work is done; whoever serves next settles the batch
            settle_one_batch(stack.database, stack.clock, batch_id=batch.id, hosts=set(stack.hosts))
    except KeyboardInterrupt:
        _stop(stack)
        raise


def _looking(
    place: "Client | Embedded",
    batch_id: int,
    hosts: Collection[str],
    callback: OnProgress | None,
    wait_hosts: float,
    *,
    serving: Callable[[], bool] = lambda: True,
    server: Server = Server.SELF,
) -> OnProgress:
    """Tells ``callback``, and raises NoHost once every host, or whoever serves them, has been away for ``wait_hosts``
    seconds."""
    looked_at = served_at = time.monotonic()

    def look(progress: "BatchProgress") -> None:
        nonlocal looked_at, served_at
        if callback is not None:
            callback(progress)
        now = time.monotonic()
        if not progress.open or now - looked_at < min(SITUATION_SECONDS, wait_hosts):
            return
        looked_at = now
        if serving():
            served_at = now
        elif now - served_at >= wait_hosts:
            raise NoHost(
                f"nobody serves the rest of batch {batch_id}: caravan up has ended; the same call goes on with it"
            )
        try:
            seen = situation(place.database, batch_id, clock=place.clock, among=hosts, server=server)
        except DatabaseFailure:
            return  # the wait rides it out, or raises it
        found = outlook(
            progress,
            running=sum(model.running for model in seen.models),
            unreachable_since=[host.unreachable_since for host in seen.hosts],
            now=seen.at,
            wait_hosts=timedelta(seconds=wait_hosts),
        )
        if found is Outlook.NO_HOST:
            why = "; ".join(why_nothing_moves(seen, seen.at))
            raise NoHost(f"no host can serve the rest of batch {batch_id}: {why}")

    return look


def _stop(stack: Embedded) -> None:
    stack.ask_to_stop()
    try:
        stack.join(stack.settings.stop_grace_seconds)
    except KeyboardInterrupt:
        stack.abort()

"""The runners that a host holds, and the loads that change them.

A load is a decision: published for the other hosts to see, done by an empty prompt with the runner's exact options while
the slots are dry, timed, and kept as a run. A load that fails costs no job anything: none was claimed for it.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

from worker.domain.hosts import HostModel, LoadedModel
from worker.domain.jobs import ClaimedJob
from worker.domain.runners import RunnerKey
from worker.errors import HostError
from worker.observability.events import emit
from worker.policy.facts import LoadRunner
from worker.policy.keep_alive import keep_alive_seconds, strongest
from worker.policy.reloads import looks_reloaded
from worker.policy.retry import load_pause
from worker.serving.history import HostHistory
from worker.serving.load import load_runner, unload_runner
from worker.serving.runners import Look, Runner, Strangers, without_room
from worker.serving.session import HostSession, ServingContext
from worker.storage.engine import Connection
from worker.storage.host_rows import read_hosts
from worker.storage.hosts import (
    block_failures,
    block_key,
    clear_block,
    forget_model,
    publish_intent,
    record_load,
    record_probe,
    record_residents,
    record_unreachable,
    record_use,
)
from worker.storage.rollups import add_load
from worker.storage.runs import close_run, loaded_run, open_run, resume_run

CONFIRM_AFTER = 30.0
"""Seconds without a call after which a runner is loaded again before it is used: free while it is there (5 ms)."""


class Machine:
    """What a host holds: its models and runners, the runs that go with these, and the hints of their jobs.

    Only the thread that serves the host calls the methods.
    """

    def __init__(self, session: HostSession, history: HostHistory) -> None:
        self._session, self._history = session, history
        self._started = False
        self._runners: dict[str, Runner] = {}
        self._loading: Runner | None = None
        self.intent: str | None = None
        """The runner key that was published to be loaded next."""
        self.used: str | None = None
        """The runner key that jobs were last claimed for."""
        self.last_look = Look()
        self.strangers = Strangers()
        self.loads = 0

    @property
    def _context(self) -> ServingContext:
        return self._session.context

    @property
    def _host(self) -> str:
        return self._session.host

    @property
    def models(self) -> Mapping[str, HostModel]:
        """What the host has on disk, as the last look found it."""
        return self.last_look.models

    @property
    def held(self) -> Sequence[str]:
        """Runner keys of all that is loaded."""
        return list(self._runners)

    def runner(self, runner_key: str) -> Runner:
        """The runner of that key; one that nothing is known of where it has gone."""
        return self._runners.get(runner_key) or Runner(RunnerKey.parse(runner_key))

    # -- looking --------------------------------------------------------------------------------------------------

    def look(self) -> HostError | None:
        """See what the host has and holds; the failure where it cannot be reached. Raises DatabaseFailure, HostLost."""
        gpu = self._context.gpu
        try:
            version, models, loaded = gpu.version(), gpu.models(), gpu.loaded()
        except HostError as error:
            emit("host.unreachable", host=self._host, message=error.message)
            now, token = self._context.clock.now(), self._session.token
            with self._session.write() as conn:
                record_unreachable(conn, self._host, message=error.message, now=now, token=token)
            return error
        self.record_look(version, self._keep_look(models), loaded)
        return None

    def _keep_look(self, models: Sequence[HostModel]) -> list[HostModel]:
        withheld = self.last_look.withheld
        there = [model for model in models if model.name not in withheld]
        at = self._context.clock.monotonic()
        self.last_look = Look(at, {model.name: model for model in there}, withheld)
        return there

    def look_at_models(self) -> HostError | None:
        """See which models the host has by now, also while jobs run; the failure where it does not answer. Raises
        DatabaseFailure, HostLost."""
        gpu = self._context.gpu
        try:
            version, models = gpu.version(), gpu.models()
        except HostError as error:
            return error
        there, host = self._keep_look(models), self._host
        with self._session.write() as conn:
            record_probe(conn, host, version=version, models=there, now=self._context.clock.now())
        return None

    def withhold(self, model: str) -> None:
        """Count a model as gone from this host, for everybody: no job of it begins here. Raises DatabaseFailure, HostLost."""
        look = self.last_look
        with self._session.write() as conn:
            forget_model(conn, self._host, model, now=self._context.clock.now())
        left = {name: known for name, known in look.models.items() if name != model}
        self.last_look = replace(look, models=left, withheld=look.withheld | {model})

    def give_again(self, model: str) -> None:
        """What the host says of a model counts again; it is looked at. Raises DatabaseFailure, HostLost."""
        self.last_look = replace(self.last_look, withheld=self.last_look.withheld - {model})
        self.look_at_models()

    def look_soon(self) -> None:
        """Look again as soon as the slots are dry."""
        self.last_look = replace(self.last_look, at=float("-inf"))

    def record_look(self, version: str, models: Sequence[HostModel], loaded: Sequence[LoadedModel]) -> None:
        """Keep what a look found; runners that are no longer there are forgotten. Raises DatabaseFailure, HostLost."""
        by_name = {model.name: model for model in loaded}
        host, now = self._host, self._context.clock.now()
        with self._session.write() as conn:
            record_probe(conn, host, version=version, models=models, now=now)
            if not self._started:
                self._remember(conn)
            for key, runner in list(self._runners.items()):
                model = by_name.get(runner.key.model)
                if model is None:
                    run_id = runner.run_id or resume_run(conn, host=host, runner_key=key)
                    if run_id is not None:
                        close_run(conn, run_id, now=now)
                    self._forget(key)
                    continue
                runner.window, runner.memory = model.context_length, model.size or runner.memory
                if runner.run_id is None:
                    runner.run_id = resume_run(conn, host=host, runner_key=key)
            self._record(conn)
        self._record_strangers(loaded)

    def look_for_strangers(self) -> bool:
        """Whether somebody else's model is in use on the host. False where it cannot be reached: the calls that run will
        say so."""
        try:
            self._record_strangers(self._context.gpu.loaded())
        except HostError:
            return False
        return self.strangers.are_at_work(shared=True, now=self._context.clock.monotonic())

    def _record_strangers(self, loaded: Collection[LoadedModel]) -> None:
        ours = {runner.key.model for runner in self._runners.values()}
        self.strangers.record(loaded, ours=ours, now=self._context.clock.monotonic())

    def _remember(self, conn: Connection) -> None:
        """What an earlier worker of this host left loaded, as the database knows it."""
        self._started = True
        rows = read_hosts(conn, self._context.clock.now())
        row = next((row for row in rows if row.name == self._host), None)
        if row is None:
            return
        for key, memory in row.residents.items():
            self._runners[key] = Runner(RunnerKey.parse(key), memory=memory)
        self.used = row.resident

    def mark_used(self, runner_key: str) -> None:
        """It answered just now, so it is loaded."""
        if runner_key in self._runners:
            self._runners[runner_key].used_at = self._context.clock.monotonic()

    def add_wait(self, runner_key: str, seconds: float) -> bool:
        """A job waited ``seconds`` for its runner. Whether that was so long that the job must have loaded it; else the wait
        is remembered as a usual one."""
        waits = self.runner(runner_key).waits
        load = self._history.paces.load_seconds(runner_key)
        if looks_reloaded(seconds, usual=waits, load=load):
            return True
        waits.append(seconds)
        return False

    def doubt(self) -> None:
        """The host failed: it is looked at as soon as the slots are dry, and each runner before it is used again."""
        self.look_soon()
        for runner in self._runners.values():
            runner.used_at = float("-inf")

    def confirm(self, runner_key: str, *, dry: bool) -> HostError | None:
        """See that the runner is really there, so that nothing is loaded as a side effect of a job.

        While the slots are ``dry`` it is loaded again where it has gone. While others run it is only looked for: a load
        must not be sent then, and what has gone is forgotten, for the next choice to see. Raises DatabaseFailure, HostLost.
        """
        if self._context.clock.monotonic() - self.runner(runner_key).used_at < CONFIRM_AFTER:
            return None
        if dry:
            return self.load(runner_key)
        try:
            if any(model.name == self.runner(runner_key).key.model for model in self._context.gpu.loaded()):
                self.mark_used(runner_key)
                return None
        except HostError as error:
            return error
        self._forget(runner_key)
        with self._session.write() as conn:
            self._record(conn)
        return None

    def use(self, runner_key: str) -> None:
        """Jobs are claimed for it from now on; the other hosts see that. Raises DatabaseFailure, HostLost."""
        if self.used == runner_key:
            return
        with self._session.write() as conn:
            record_use(conn, self._host, runner_key)
        self.used = runner_key

    def drop(self, runner_key: str) -> None:
        """The runner was unloaded, or is taken to be dead. Raises DatabaseFailure, HostLost."""
        run_id = self.runner(runner_key).run_id
        self._forget(runner_key)
        with self._session.write() as conn:
            if run_id is not None:
                close_run(conn, run_id, now=self._context.clock.now())
            self._record(conn)

    # -- loading --------------------------------------------------------------------------------------------------

    def intend(
        self, conn: Connection, runner_key: str | None, *, seconds: float = 0.0, starved: bool = False
    ) -> None:
        """Publish what will be loaded, in about ``seconds``, or that nothing will. Under the fleet's lock."""
        now = self._context.clock.now()
        until = None if runner_key is None else now + timedelta(seconds=seconds)
        publish_intent(conn, self._host, runner_key, now=now, until=until, starved=starved)
        self.intent = runner_key

    def begin(self, conn: Connection, decision: LoadRunner, *, seconds: float) -> None:
        """Publish what will be loaded, and end the runs of what is left. Called under the fleet's lock."""
        now = self._context.clock.now()
        self.intend(conn, decision.runner_key, seconds=seconds, starved=decision.starved)
        for key in decision.evict:
            run_id = self.runner(key).run_id
            if run_id is not None:
                close_run(conn, run_id, now=now)
            self._forget(key)
        run_id = open_run(
            conn,
            host=self._host,
            runner_key=decision.runner_key,
            reason=decision.reason,
            now=now,
            beside=self._runners,
        )
        self._loading = Runner(RunnerKey.parse(decision.runner_key), run_id)
        self._record(conn)
        emit("runner.loading", host=self._host, runner_key=decision.runner_key, reason=decision.reason)

    def load(self, runner_key: str) -> HostError | None:
        """Load it, or see that it is loaded; the failure where that does not work. Raises DatabaseFailure, HostLost."""
        began = self._context.clock.monotonic()
        resident = self._runners.get(runner_key)
        runner = resident or self._loading
        if runner is None or runner.key.text != runner_key:
            runner = Runner(RunnerKey.parse(runner_key))
        keep = {other.key.model for other in self._runners.values()}
        try:
            loaded = load_runner(
                self._context.gpu, runner.key, host=self._host, timings=self._context.timings, keep=keep
            )
        except HostError as error:
            self._load_failed(runner, error, self._context.clock.monotonic() - began)
            return error
        runner.window, runner.memory = loaded.window, loaded.memory or runner.memory
        self._runners[runner_key], self._loading = runner, None
        self.mark_used(runner_key)
        if resident is not None:
            return None
        self.loads += 1
        self.used = runner_key
        self._history.paces.add_load(runner_key, loaded.seconds, loaded.memory)
        emit("runner.loaded", host=self._host, runner_key=runner_key, seconds=loaded.seconds)
        now = self._context.clock.now()
        with self._session.write() as conn:
            self._record(conn)
            self.intend(conn, None)
            record_load(conn, self._host, seconds=loaded.seconds, now=now)
            add_load(conn, self._host, seconds=loaded.seconds, now=now)
            clear_block(conn, self._host, runner_key)
            if runner.run_id is not None:
                loaded_run(conn, runner.run_id, load_time=timedelta(seconds=loaded.seconds))
        self._make_room(runner_key)
        return None

    def _make_room(self, runner_key: str) -> None:
        """What it takes is known now, and the slots are dry. Raises DatabaseFailure, HostLost."""
        context = self._context
        for key in without_room(self._runners, runner_key, context.host.memory):
            with suppress(HostError):  # the host is looked at before it is used again
                model = self.runner(key).key.model
                unload_runner(context.gpu, model, host=self._host, timings=context.timings)
            self.drop(key)

    def _load_failed(self, runner: Runner, error: HostError, seconds: float) -> None:
        emit(
            "runner.load_failed",
            host=self._host,
            runner_key=runner.key.text,
            code=error.code,
            message=error.message[:300],
            seconds=seconds,
        )
        self._forget(runner.key.text)
        self._loading = None
        now = self._context.clock.now()
        with self._session.write() as conn:
            self.intend(conn, None)
            self._record(conn)
            if runner.run_id is not None:
                close_run(conn, runner.run_id, now=now, error=f"{error.code}: {error.message[:300]}")

    def block(self, runner_key: str, error: HostError) -> None:
        """Leave a runner key alone on this host for a while, longer with each failure in a row."""
        now = self._context.clock.now()
        with self._session.write() as conn:
            failures, until = block_failures(conn, self._host, runner_key)
            if until is not None and until > now:
                return  # it failed in several slots at once, of one cause
            failures += 1
            block_key(
                conn,
                self._host,
                runner_key,
                until=now + load_pause(failures),
                reason=f"{error.code}: {error.message[:300]}",
                failures=failures,
            )

    # -- how long it stays ----------------------------------------------------------------------------------------

    def keep_hints(self, jobs: Iterable[ClaimedJob]) -> None:
        """Remember how long the jobs of this run want the model to stay."""
        if self.used is None:
            return
        hints = [keep_alive_seconds(job.request.get("keep_alive")) for job in jobs]
        earlier = self._history.hints.get(self.used)
        best = strongest(hint for hint in (earlier, *hints) if hint is not None)
        if best is not None:
            self._history.hints[self.used] = best

    def apply_keep_alive(self, needed: Collection[str] = ()) -> None:
        """The strongest hint of each run, with the runner's own options: other options would reload it.

        A runner that is ``needed`` has work left: it stays as long as after any load, and its hint is kept for the end
        of that work.
        """
        for key, hint in tuple(self._history.hints.items()):
            runner = self._runners.get(key)
            if key in needed:
                continue
            del self._history.hints[key]
            if runner is None:
                continue
            runner.used_at = float("-inf")  # it may be gone when it is used next
            try:
                self._context.gpu.apply_keep_alive(runner.key, hint)
            except HostError as error:
                emit("host.unreachable", host=self._host, message=error.message)

    def _forget(self, runner_key: str) -> None:
        self._runners.pop(runner_key, None)
        self._history.hints.pop(runner_key, None)
        if self.used == runner_key:
            self.used = None

    def _record(self, conn: Connection) -> None:
        held = {key: runner.memory for key, runner in self._runners.items()}
        record_residents(conn, self._host, held, self.used, now=self._context.clock.now())

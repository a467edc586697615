"""What does the host hold, and how does it come to hold something else?

A load is a decision: published for the other hosts to see, done by an empty prompt with the runner's exact options while
the slots are dry, timed, and kept as a run. A load that fails costs no job anything: none was claimed for it.
"""

from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from worker.clock import Clock
from worker.domain.hosts import HostModel, LoadedModel
from worker.domain.jobs import ClaimedJob
from worker.domain.runners import RunnerKey
from worker.domain.timings import Timings
from worker.errors import HostError
from worker.observability.events import emit
from worker.ollama.client import OllamaHost
from worker.policy.facts import LoadRunner
from worker.policy.keep_alive import keep_alive_seconds, strongest
from worker.policy.reloads import KEPT, looks_reloaded
from worker.policy.retry import load_pause
from worker.serving.load import load_runner
from worker.serving.session import HostSession
from worker.serving.standing import Standing
from worker.storage.engine import Connection
from worker.storage.host_rows import read_hosts
from worker.storage.hosts import (
    block_failures,
    block_key,
    clear_block,
    publish_intent,
    record_load,
    record_probe,
    record_residents,
    record_use,
)
from worker.storage.rollups import add_load
from worker.storage.runs import close_run, loaded_run, open_run, resume_run

CONFIRM_AFTER = 30.0
"""Seconds without a call after which a runner is loaded again before it is used: free while it is there (5 ms)."""


@dataclass
class Runner:
    """One that the host has loaded."""

    key: RunnerKey
    run_id: int | None = None
    window: int | None = None
    """The context length it really has, where the host tells."""
    memory: int | None = None

    @property
    def num_ctx(self) -> int | None:
        """The window it was loaded with, as the requests have to name it."""
        window = dict(self.key.options).get("num_ctx")
        return None if window is None else int(window)

    used_at: float = float("-inf")
    """When it answered last, on the process's monotonic clock."""
    waits: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT))
    """Seconds that the last jobs waited for it, those left out that loaded it."""


class Residency:
    """The runners that a host holds, the runs that go with them, and the hints their jobs gave."""

    def __init__(
        self,
        session: HostSession,
        gpu: OllamaHost,
        clock: Clock,
        timings: Timings,
        standing: Standing,
    ) -> None:
        self._session, self._host, self._gpu = session, session.host, gpu
        self._clock, self._timings, self._standing = clock, timings, standing
        self._intent: str | None = None
        self._started = False
        self._runners: dict[str, Runner] = {}
        self._loading: Runner | None = None
        self.used: str | None = None
        """The runner key that jobs were last claimed for."""
        self.strangers: Mapping[str, float] = {}
        """Models that somebody else has loaded here → when a look saw last that they had been used."""
        self._expiry: Mapping[str, datetime | None] = {}
        self.loads = 0

    @property
    def held(self) -> Sequence[str]:
        """Runner keys of all that is loaded."""
        return list(self._runners)

    def runner(self, runner_key: str) -> Runner:
        """The runner of that key; one that nothing is known of where it has gone."""
        return self._runners.get(runner_key) or Runner(RunnerKey.parse(runner_key))

    # -- looking --------------------------------------------------------------------------------------------------

    def seen(self, version: str, models: Sequence[HostModel], loaded: Sequence[LoadedModel]) -> None:
        """Keep what a look at the host found; runners that are no longer there are forgotten."""
        there = {model.name: model for model in loaded}
        now = self._clock.now()
        with self._session.write() as conn:
            record_probe(conn, self._host, version=version, models=models, now=now)
            if not self._started:
                self._remember(conn)
            for key, runner in list(self._runners.items()):
                found = there.get(runner.key.model)
                if found is None:
                    gone = runner.run_id or resume_run(conn, host=self._host, runner_key=key)
                    if gone is not None:
                        close_run(conn, gone, now=now)
                    self._forget(key)
                    continue
                runner.window, runner.memory = found.context_length, found.size or runner.memory
                if runner.run_id is None:
                    runner.run_id = resume_run(conn, host=self._host, runner_key=key)
            self._record(conn)
        self.see_strangers(loaded)

    def see_strangers(self, loaded: Collection[LoadedModel]) -> None:
        """A model is in use while the time at which the host would unload it moves."""
        ours = {runner.key.model for runner in self._runners.values()}
        expiry = {model.name: model.expires_at for model in loaded if model.name not in ours}
        now = self._clock.monotonic()
        self.strangers = {
            name: self.strangers[name] if name in self.strangers and at == self._expiry.get(name) else now
            for name, at in expiry.items()
        }
        self._expiry = expiry

    def _remember(self, conn: Connection) -> None:
        """What an earlier worker of this host left loaded, as the database knows it."""
        self._started = True
        rows = read_hosts(conn, self._clock.now(), models=())
        row = next((row for row in rows if row.name == self._host), None)
        if row is None:
            return
        for key, memory in row.residents.items():
            self._runners[key] = Runner(RunnerKey.parse(key), memory=memory)
        self.used = row.resident

    def answered(self, runner_key: str) -> None:
        """It answered just now, so it is there."""
        if runner_key in self._runners:
            self._runners[runner_key].used_at = self._clock.monotonic()

    def reloaded(self, runner_key: str, seconds: float) -> bool:
        """Whether a job that waited ``seconds`` for its runner loaded it; else the wait is remembered as usual."""
        waits = self.runner(runner_key).waits
        load = self._standing.paces.load_seconds(runner_key)
        if looks_reloaded(seconds, usual=waits, load=load):
            return True
        waits.append(seconds)
        return False

    def doubted(self) -> None:
        """The host failed: whether anything is still there has to be seen before it is used again."""
        for runner in self._runners.values():
            runner.used_at = float("-inf")

    def confirm(self, runner_key: str, *, dry: bool) -> HostError | None:
        """See that the runner is really there, so that nothing is loaded as a side effect of a job.

        While the slots are ``dry`` it is loaded again where it has gone. While others run it is only looked for: a load
        must not be sent then, and what has gone is forgotten, for the next choice to see. Raises DatabaseFailure, HostLost.
        """
        if self._clock.monotonic() - self.runner(runner_key).used_at < CONFIRM_AFTER:
            return None
        if dry:
            return self.load(runner_key)
        try:
            if any(model.name == self.runner(runner_key).key.model for model in self._gpu.loaded()):
                self.answered(runner_key)
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

    def gone(self, runner_key: str) -> None:
        """It was unloaded, or is taken to be dead. Raises DatabaseFailure, HostLost."""
        run_id = self.runner(runner_key).run_id
        self._forget(runner_key)
        with self._session.write() as conn:
            if run_id is not None:
                close_run(conn, run_id, now=self._clock.now())
            self._record(conn)

    # -- loading --------------------------------------------------------------------------------------------------

    @property
    def intent(self) -> str | None:
        """The runner key that was published to be loaded next."""
        return self._intent

    def intend(
        self, conn: Connection, runner_key: str | None, *, seconds: float = 0.0, starved: bool = False
    ) -> None:
        """Publish what will be loaded, in about ``seconds``, or that nothing will. Under the fleet's lock."""
        now = self._clock.now()
        until = None if runner_key is None else now + timedelta(seconds=seconds)
        publish_intent(conn, self._host, runner_key, now=now, until=until, starved=starved)
        self._intent = runner_key

    def begin(self, conn: Connection, decision: LoadRunner, *, seconds: float) -> None:
        """Publish what will be loaded, and end the runs of what is left. Called under the fleet's lock."""
        now = self._clock.now()
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
        """Load it, or see that it is there; the failure where that does not work. Raises DatabaseFailure, HostLost."""
        began = self._clock.monotonic()
        was_there = self._runners.get(runner_key)
        runner = was_there or self._loading
        if runner is None or runner.key.text != runner_key:
            runner = Runner(RunnerKey.parse(runner_key))
        keep = {other.key.model for other in self._runners.values()}
        try:
            loaded = load_runner(self._gpu, runner.key, host=self._host, timings=self._timings, keep=keep)
        except HostError as error:
            self._load_failed(runner, error, self._clock.monotonic() - began)
            return error
        runner.window, runner.memory = loaded.window, loaded.memory or runner.memory
        self._runners[runner_key], self._loading = runner, None
        self.answered(runner_key)
        if was_there is not None:
            return None
        self.loads += 1
        self.used = runner_key
        self._standing.paces.loaded(runner_key, loaded.seconds, loaded.memory)
        emit("runner.loaded", host=self._host, runner_key=runner_key, seconds=loaded.seconds)
        now = self._clock.now()
        with self._session.write() as conn:
            self._record(conn)
            self.intend(conn, None)
            record_load(conn, self._host, seconds=loaded.seconds, now=now)
            add_load(conn, self._host, seconds=loaded.seconds, now=now)
            clear_block(conn, self._host, runner_key)
            if runner.run_id is not None:
                loaded_run(conn, runner.run_id, load_time=timedelta(seconds=loaded.seconds))
        return None

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
        now = self._clock.now()
        with self._session.write() as conn:
            self.intend(conn, None)
            self._record(conn)
            if runner.run_id is not None:
                close_run(conn, runner.run_id, now=now, error=f"{error.code}: {error.message[:300]}")

    def block(self, runner_key: str, error: HostError) -> None:
        """Leave a runner key alone on this host for a while, longer with each failure in a row."""
        now = self._clock.now()
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

    def hinted(self, jobs: Iterable[ClaimedJob]) -> None:
        """Remember how long the jobs of this run want the model to stay."""
        if self.used is None:
            return
        hints = [keep_alive_seconds(job.request.get("keep_alive")) for job in jobs]
        earlier = self._standing.hints.get(self.used)
        best = strongest(hint for hint in (earlier, *hints) if hint is not None)
        if best is not None:
            self._standing.hints[self.used] = best

    def apply_keep_alive(self, needed: Collection[str] = ()) -> None:
        """The strongest hint of each run, with the runner's own options: other options would reload it.

        A runner that is ``needed`` has work left: it stays as long as after any load, and its hint is kept for the end
        of that work.
        """
        for key, hint in tuple(self._standing.hints.items()):
            runner = self._runners.get(key)
            if key in needed:
                continue
            del self._standing.hints[key]
            if runner is None:
                continue
            runner.used_at = float("-inf")  # it may be gone when it is used next
            try:
                self._gpu.apply_keep_alive(runner.key, hint)
            except HostError as error:
                emit("host.unreachable", host=self._host, message=error.message)

    def _forget(self, runner_key: str) -> None:
        self._runners.pop(runner_key, None)
        self._standing.hints.pop(runner_key, None)
        if self.used == runner_key:
            self.used = None

    def _record(self, conn: Connection) -> None:
        held = {key: runner.memory for key, runner in self._runners.items()}
        record_residents(conn, self._host, held, self.used, now=self._clock.now())

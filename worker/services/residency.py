"""What does the host hold, and how does it come to hold something else?

A load is a decision: published for the other hosts to see, done by an empty prompt with the runner's exact options while
the slots are dry, timed, and kept as a run. A load that fails costs no job anything: none was claimed for it.
"""

from collections.abc import Iterable, Sequence
from datetime import timedelta

from worker.clock import Clock
from worker.domain.hosts import HostModel, LoadedModel
from worker.domain.jobs import ClaimedJob
from worker.domain.runners import RunnerKey
from worker.domain.timings import Timings
from worker.errors import HostError
from worker.observability.events import emit
from worker.ollama.client import OllamaHost
from worker.policy.choose import LoadRunner
from worker.policy.keep_alive import keep_alive_seconds, strongest
from worker.policy.retry import load_pause
from worker.services.load import load_runner
from worker.services.standing import Standing
from worker.storage.engine import Connection, Database
from worker.storage.hosts import (
    block_failures,
    block_key,
    clear_block,
    host_views,
    publish_intent,
    record_probe,
    record_resident,
)
from worker.storage.runs import close_run, loaded_run, open_run, resume_run

CONFIRM_AFTER = 30.0
"""Seconds without a call after which a runner is loaded again before it is used: free while it is there (5 ms)."""


class Residency:
    """The runner that a host holds, the run that goes with it, and the hints its jobs gave."""

    def __init__(
        self,
        database: Database,
        host: str,
        gpu: OllamaHost,
        clock: Clock,
        timings: Timings,
        standing: Standing,
    ) -> None:
        self._database, self._host, self._gpu = database, host, gpu
        self._clock, self._timings, self._standing = clock, timings, standing
        self._used_at = float("-inf")
        self._intent: str | None = None
        self.runner_key: str | None = None
        self.window: int | None = None
        """The context length it really has, where the host tells."""
        self.run_id: int | None = None
        self.loads = 0

    def seen(self, version: str, models: Sequence[HostModel], loaded: Sequence[LoadedModel]) -> None:
        """Keep what a look at the host found; a runner that is no longer there is forgotten."""
        held = {model.name: model for model in loaded}
        now = self._clock.now()
        with self._database.write() as conn:
            record_probe(conn, self._host, version=version, models=models, now=now)
            if self.runner_key is None:
                views = {view.name: view for view in host_views(conn, now)}
                self.runner_key = views[self._host].resident if self._host in views else None
            if self.runner_key is not None and RunnerKey.parse(self.runner_key).model not in held:
                gone = self.run_id or resume_run(conn, host=self._host, runner_key=self.runner_key)
                if gone is not None:
                    close_run(conn, gone, now=now)
                self._forget()
                record_resident(conn, self._host, None, now=now)
            if self.runner_key is not None and self.run_id is None:
                self.run_id = resume_run(conn, host=self._host, runner_key=self.runner_key)
        if self.runner_key is not None:
            self.window = held[RunnerKey.parse(self.runner_key).model].context_length

    def used(self) -> None:
        """It answered just now, so it is there."""
        self._used_at = self._clock.monotonic()

    def doubted(self) -> None:
        """It failed: whether it is still there has to be seen before it is used again."""
        self._used_at = float("-inf")

    def confirm(self, runner_key: str) -> HostError | None:
        """See that the runner is really there, so that nothing is loaded as a side effect of a job.

        Called while the slots are dry.
        """
        if self._clock.monotonic() - self._used_at < CONFIRM_AFTER:
            return None
        return self.load(runner_key)

    @property
    def intent(self) -> str | None:
        """The runner key that was published to be loaded next."""
        return self._intent

    def intend(self, conn: Connection, runner_key: str | None) -> None:
        """Publish what will be loaded once the slots are dry, or that nothing will. Under the fleet's lock."""
        publish_intent(conn, self._host, runner_key, now=self._clock.now())
        self._intent = runner_key

    def begin(self, conn: Connection, decision: LoadRunner) -> None:
        """Publish what will be loaded, and end the run of what is left. Called under the fleet's lock."""
        now = self._clock.now()
        self.intend(conn, decision.runner_key)
        if self.run_id is not None:
            close_run(conn, self.run_id, now=now)
        self._forget()
        self.run_id = open_run(
            conn, host=self._host, runner_key=decision.runner_key, reason=decision.reason, now=now
        )
        emit("runner.loading", host=self._host, runner_key=decision.runner_key, reason=decision.reason)

    def load(self, runner_key: str) -> HostError | None:
        """Load it, or see that it is there; the failure where that does not work. Raises DatabaseUnavailable."""
        began = self._clock.monotonic()
        try:
            loaded = load_runner(
                self._gpu, RunnerKey.parse(runner_key), host=self._host, timings=self._timings
            )
        except HostError as error:
            self._load_failed(runner_key, error, self._clock.monotonic() - began)
            return error
        was_there = self.runner_key == runner_key
        self.runner_key, self.window = runner_key, loaded.window
        self.used()
        if was_there:
            return None
        self.loads += 1
        self._standing.paces.loaded(runner_key, loaded.seconds)
        emit("runner.loaded", host=self._host, runner_key=runner_key, seconds=loaded.seconds)
        now = self._clock.now()
        with self._database.write() as conn:
            record_resident(conn, self._host, runner_key, now=now)
            self.intend(conn, None)
            clear_block(conn, self._host, runner_key)
            if self.run_id is not None:
                loaded_run(conn, self.run_id, load_time=timedelta(seconds=loaded.seconds))
        return None

    def _load_failed(self, runner_key: str, error: HostError, seconds: float) -> None:
        emit(
            "runner.load_failed",
            host=self._host,
            runner_key=runner_key,
            code=error.code,
            message=error.message[:300],
            seconds=seconds,
        )
        run_id = self.run_id
        self._forget()
        now = self._clock.now()
        with self._database.write() as conn:
            self.intend(conn, None)
            record_resident(conn, self._host, None, now=now)
            if run_id is not None:
                close_run(conn, run_id, now=now, error=f"{error.code}: {error.message[:300]}")

    def block(self, runner_key: str, error: HostError) -> None:
        """Leave a runner key alone on this host for a while, longer with each failure in a row."""
        now = self._clock.now()
        with self._database.write() as conn:
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

    def hinted(self, jobs: Iterable[ClaimedJob]) -> None:
        """Remember how long the jobs of this run want the model to stay."""
        hints = [keep_alive_seconds(job.request.get("keep_alive")) for job in jobs]
        best = strongest([*self._standing.hints, *(hint for hint in hints if hint is not None)])
        self._standing.hints = [] if best is None else [best]

    def apply_keep_alive(self) -> None:
        """The strongest hint of the run, with the runner's own options: other options would reload it."""
        if not self._standing.hints or self.runner_key is None:
            return
        try:
            self._gpu.apply_keep_alive(RunnerKey.parse(self.runner_key), self._standing.hints[0])
        except HostError as error:
            emit("host.unreachable", host=self._host, message=error.message)
        self._standing.hints = []

    def _forget(self) -> None:
        self.runner_key, self.window, self.run_id = None, None, None
        self._standing.hints = []
        self.doubted()

"""Serves one host: looks at it, asks the policy what to do next, does it, until there is no work or time is up.

One thread decides, claims and stores; the slots' threads only ask the host. So there is one writer per host, and
no lock between a claim and a finish. Messages never carry work: whoever calls :func:`serve_host` finds it in SQL.
"""

import threading
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from worker.clock import Clock
from worker.domain.attempts import Retried, Succeeded
from worker.domain.hosts import Host, HostModel
from worker.domain.jobs import ClaimedJob
from worker.domain.runners import RunnerKey
from worker.domain.timings import Timings
from worker.errors import CODES, Code, DatabaseUnavailable, HostError
from worker.observability.events import emit
from worker.ollama.client import Call, OllamaHost
from worker.policy.choose import Facts, LoadRunner, RunJobs, Wait, choose
from worker.policy.keep_alive import keep_alive_seconds, strongest
from worker.policy.retry import host_pause, load_pause
from worker.services.attempt import Ending, attempt_job
from worker.services.heartbeat import Heartbeat
from worker.services.load import load_runner
from worker.services.pace import Paces
from worker.services.slots import Slots
from worker.services.store import Store
from worker.storage.backlog import read_backlog
from worker.storage.claims import claim_jobs, leave_host, release_jobs, take_host
from worker.storage.engine import Database
from worker.storage.hosts import (
    block_key,
    clear_block,
    host_views,
    lock_fleet,
    publish_intent,
    record_probe,
    record_resident,
    record_unreachable,
)
from worker.storage.runs import close_run, loaded_run, open_run, resume_run

CONFIRM_AFTER = 30.0
"""Seconds without a call after which a runner is loaded again before it is used: free while it is there (5 ms)."""
PROBE_EVERY = 60.0
SHORT_CALL = 0.05


@dataclass(frozen=True, slots=True)
class Served:
    """What one pass over a host did."""

    host: str
    jobs: int
    loads: int
    reason: str


def serve_host(
    database: Database,
    host: Host,
    *,
    gpu: OllamaHost,
    clock: Clock,
    timings: Timings,
    stop: threading.Event,
    wake: threading.Event | None = None,
    paces: Paces | None = None,
    store: Store | None = None,
    fail_on_cut: bool = False,
    batch_id: int | None = None,
) -> Served:
    """Serve ``host`` until it has no work for ``timings.linger`` seconds, its budget is spent or ``stop`` is set.

    Returns at once when somebody else serves it. ``batch_id`` keeps to one batch; ``wake`` cuts a linger short.
    Never raises for what a host does; raises DatabaseUnavailable when the database is away before anything was
    claimed.
    """
    token = uuid.uuid4().hex
    now = clock.now()
    with database.write() as conn:
        if not take_host(conn, host=host.name, token=token, now=now, until=now + _seconds(timings.lease)):
            return Served(host.name, 0, 0, "served by another worker")
    serving = _Serving(
        database,
        host,
        gpu,
        clock,
        timings,
        stop,
        wake,
        token,
        paces or Paces(),
        store or Store(database, host.name, clock=clock),
        fail_on_cut,
        batch_id,
    )
    try:
        return serving.run()
    finally:
        serving.leave()


def _seconds(value: float) -> timedelta:
    return timedelta(seconds=value)


class _Serving:
    """The state of one pass: what is loaded, what runs, what is known of the host."""

    def __init__(
        self,
        database: Database,
        host: Host,
        gpu: OllamaHost,
        clock: Clock,
        timings: Timings,
        stop: threading.Event,
        wake: threading.Event | None,
        token: str,
        paces: Paces,
        store: Store,
        fail_on_cut: bool,
        batch_id: int | None,
    ) -> None:
        self.database, self.host, self.gpu, self.clock, self.timings = database, host, gpu, clock, timings
        self.stop, self.wake, self.token, self.paces = stop, wake, token, paces
        self.store, self.fail_on_cut, self.batch_id = store, fail_on_cut, batch_id
        self.slots = Slots(host.slots, self._attempt, name=host.name)
        self.models: dict[str, HostModel] = {}
        self.probed_at = float("-inf")
        self.resident: str | None = None
        self.window: int | None = None
        self.run_id: int | None = None
        self.hints: list[float] = []
        self.used_at = float("-inf")
        self.failures = 0
        self.load_failures: dict[str, int] = {}
        self.paused_until = float("-inf")
        self.low_water = host.slots
        self.jobs = 0
        self.loads = 0

    # -- the loop ---------------------------------------------------------------------------------------------

    def run(self) -> Served:
        began = idle_since = self.clock.monotonic()
        heartbeat = Heartbeat(
            self.database,
            host=self.host.name,
            token=self.token,
            timings=self.timings,
            clock=self.clock,
            cancel=self.slots.abort,
        )
        with heartbeat:
            if not self._look():
                return self._served("unreachable")
            emit("host.serving", host=self.host.name, slots=self.host.slots)
            while True:
                now = self.clock.monotonic()
                if self.stop.is_set() or heartbeat.lost.is_set() or now - began > self.timings.budget:
                    self._drain()
                    return self._served("stopped" if self.stop.is_set() else "budget spent")
                if (self.slots.ready < self.low_water and self._step()) or self.slots.unfinished:
                    idle_since = now
                elif now - idle_since >= self.timings.linger:
                    self._apply_keep_alive()
                    return self._served("no work")
                self._collect()

    def _step(self) -> bool:
        """Ask the policy once and do what it says; False when there was nothing to do, or no database to ask."""
        if self.clock.monotonic() < self.paused_until:
            return False
        try:
            return self._choose_and_do()
        except DatabaseUnavailable as error:
            emit("database.unavailable", host=self.host.name, message=str(error))
            return False

    def _choose_and_do(self) -> bool:
        stale = self.clock.monotonic() - self.probed_at > PROBE_EVERY
        if stale and not self.slots.unfinished and not self._look():
            return False
        match choose(self._facts()):
            case RunJobs() as decision:
                return self._run_jobs(decision)
            case LoadRunner():
                # Ollama never kills a busy runner: a load sent now would wait for the running jobs with the
                # host's whole queue behind it. So the slots run dry first.
                return True if self.slots.unfinished else self._switch()
            case Wait():
                return False

    def _collect(self) -> None:
        """Wait for endings and store them, short calls in groups."""
        endings = self.slots.endings(self._wait())
        if endings and endings[-1].seconds < SHORT_CALL and self.slots.unfinished:
            until = self.clock.monotonic() + self.timings.group
            while self.slots.ready >= self.low_water // 2 and (left := until - self.clock.monotonic()) > 0:
                endings += self.slots.endings(left)
        if endings:
            self._take(endings)
        self.store.flush()

    def _wait(self) -> float:
        if self.slots.unfinished:
            return self.timings.idle_poll
        if self.wake is not None:
            self.wake.wait(self.timings.idle_poll)
            self.wake.clear()
            return 0.0
        self.stop.wait(self.timings.idle_poll)
        return 0.0

    def _drain(self) -> None:
        """Give back what no slot has taken, let the running calls end and store them."""
        self._give_back()
        while self.slots.unfinished:
            endings = self.slots.endings(self.timings.idle_poll)
            if endings:
                self._take(endings)

    def _served(self, reason: str) -> Served:
        return Served(self.host.name, self.jobs, self.loads, reason)

    def leave(self) -> None:
        """Give the serving lease back. What cannot be stored now is in the spool by then."""
        self.slots.close()
        self.store.close()
        emit("host.left", host=self.host.name, jobs=self.jobs, loads=self.loads)
        try:
            with self.database.write() as conn:
                leave_host(conn, host=self.host.name, token=self.token, now=self.clock.now())
        except DatabaseUnavailable as error:
            emit("database.unavailable", host=self.host.name, message=str(error))

    # -- looking ----------------------------------------------------------------------------------------------

    def _look(self) -> bool:
        """See what the host has and holds; False when it cannot be reached."""
        try:
            version, models, loaded = self.gpu.version(), self.gpu.models(), self.gpu.loaded()
        except HostError as error:
            emit("host.unreachable", host=self.host.name, message=error.message)
            with self.database.write() as conn:
                record_unreachable(conn, self.host.name, message=error.message, now=self.clock.now())
            self._pause(error)
            return False
        self.probed_at = self.clock.monotonic()
        self.models = {model.name: model for model in models}
        held = {model.name: model for model in loaded}
        with self.database.write() as conn:
            record_probe(conn, self.host.name, version=version, models=models, now=self.clock.now())
            if self.resident is None:
                mine = next((v for v in host_views(conn, self.clock.now()) if v.name == self.host.name), None)
                self.resident = mine.resident if mine is not None else None
            if self.resident is not None and RunnerKey.parse(self.resident).model not in held:
                self._forget_resident()
                record_resident(conn, self.host.name, None, now=self.clock.now())
            if self.resident is not None and self.run_id is None:
                self.run_id = resume_run(conn, host=self.host.name, runner_key=self.resident)
        if self.resident is not None:
            self.window = held[RunnerKey.parse(self.resident).model].context_length
        return True

    def _facts(self) -> Facts:
        with self.database.read() as conn:
            return self._facts_in(conn)

    def _facts_in(self, conn) -> Facts:  # type: ignore[no-untyped-def]
        now = self.clock.now()
        views = host_views(conn, now)
        mine = next(view for view in views if view.name == self.host.name)
        return Facts(
            host=mine,
            slots=self.host.slots,
            others=[view for view in views if view.name != self.host.name],
            backlog=read_backlog(conn, now=now, batch_id=self.batch_id),
            now=now,
            paces=self.paces.known,
        )

    # -- running ----------------------------------------------------------------------------------------------

    def _run_jobs(self, decision: RunJobs) -> bool:
        if not self._confirm(decision.runner_key):
            return False
        now = self.clock.now()
        with self.database.write() as conn:
            claimed = claim_jobs(
                conn,
                host=self.host.name,
                runner_key=decision.runner_key,
                limit=decision.jobs,
                token=self.token,
                now=now,
                lease_until=now + _seconds(self.timings.lease),
                priorities=decision.priorities,
                batch_id=self.batch_id,
            )
        if not claimed:
            return False
        emit("job.claimed", host=self.host.name, runner_key=decision.runner_key, jobs=len(claimed))
        self.low_water = max(self.host.slots, len(claimed) // 2)
        for job in claimed:
            hint = keep_alive_seconds(job.request.get("keep_alive"))
            if hint is not None:
                self.hints = [strongest([*self.hints, hint]) or 0.0]
        self.slots.hand_over(claimed)
        return True

    def _confirm(self, runner_key: str) -> bool:
        """See that the runner is really there: nothing is loaded as a side effect of a job."""
        if self.clock.monotonic() - self.used_at < CONFIRM_AFTER or self.slots.unfinished:
            return True
        return self._load(runner_key, self.run_id)

    def _attempt(self, job: ClaimedJob, call: Call) -> Ending:
        return attempt_job(
            job,
            ask=lambda request, call: self.gpu.generate(request, call=call),
            call=call,
            host=self.host.name,
            host_model=self.models.get(job.model),
            window=self.window,
            clock=self.clock,
            run_id=self.run_id,
            fail_on_cut=self.fail_on_cut,
        )

    def _take(self, endings: Sequence[Ending]) -> None:
        """Store how jobs ended, then learn from it and let the host answer for its faults.

        In that order: what a host generated must be safe before anything else may fail.
        """
        self.used_at = self.clock.monotonic()
        self.jobs += len(endings)
        self.store.add([ending.finish for ending in endings])
        self.store.flush()
        try:
            for ending in endings:
                if isinstance(ending.finish.outcome, Succeeded):
                    self.failures = 0
                    if self.resident is not None:
                        self.paces.served(self.resident, ending.seconds)
                elif ending.error is not None:
                    self._answer_for(ending, ending.error)
        except DatabaseUnavailable as error:
            emit("database.unavailable", host=self.host.name, message=str(error))

    def _answer_for(self, ending: Ending, error: HostError) -> None:
        finish = ending.finish
        emit(
            "job.failed",
            host=self.host.name,
            job=finish.job_id,
            attempt=finish.attempt,
            code=error.code,
            message=error.message[:300],
        )
        if error.code is Code.WORKER_LOST or not isinstance(finish.outcome, Retried):
            return
        match CODES[error.code].fault:
            case "host":
                self.used_at = float("-inf")
                self._pause(error)
            case "runner" if self.resident is not None:
                self._block(self.resident, error)
            case _:
                pass

    def _pause(self, error: HostError) -> None:
        """The host steps back; jobs that no slot has taken go to whoever is well."""
        self.failures += 1
        pause = host_pause(self.failures)
        self.paused_until = self.clock.monotonic() + min(pause.total_seconds(), self.timings.lease / 3)
        emit("host.paused", host=self.host.name, seconds=pause.total_seconds(), code=error.code)
        self._give_back()

    def _give_back(self) -> None:
        unstarted = self.slots.take_back()
        if not unstarted:
            return
        try:
            with self.database.write() as conn:
                release_jobs(
                    conn, token=self.token, job_ids=[job.id for job in unstarted], now=self.clock.now()
                )
        except DatabaseUnavailable as error:
            emit("database.unavailable", host=self.host.name, message=str(error))
            return  # the leases run out and rescue takes them up
        emit("job.released", host=self.host.name, jobs=len(unstarted))

    # -- loading ----------------------------------------------------------------------------------------------

    def _switch(self) -> bool:
        """Decide a load under the fleet's lock, publish it, and do it."""
        with self.database.write() as conn:
            lock_fleet(conn)
            decision = choose(self._facts_in(conn))
            if not isinstance(decision, LoadRunner):
                return True
            now = self.clock.now()
            publish_intent(conn, self.host.name, decision.runner_key, now=now)
            if self.run_id is not None:
                close_run(conn, self.run_id, now=now)
            self.run_id = open_run(
                conn, host=self.host.name, runner_key=decision.runner_key, reason=decision.reason, now=now
            )
        emit("runner.loading", host=self.host.name, runner_key=decision.runner_key, reason=decision.reason)
        self._forget_resident(keep_run=True)
        return self._load(decision.runner_key, self.run_id)

    def _load(self, runner_key: str, run_id: int | None) -> bool:
        began = self.clock.monotonic()
        try:
            loaded = load_runner(
                self.gpu, RunnerKey.parse(runner_key), host=self.host.name, timings=self.timings
            )
        except HostError as error:
            self._load_failed(runner_key, run_id, error, self.clock.monotonic() - began)
            return False
        was_resident = self.resident == runner_key
        self.resident, self.window, self.used_at = runner_key, loaded.window, self.clock.monotonic()
        self.load_failures.pop(runner_key, None)
        if was_resident:
            return True
        self.loads += 1
        self.paces.loaded(runner_key, loaded.seconds)
        now = self.clock.now()
        with self.database.write() as conn:
            record_resident(conn, self.host.name, runner_key, now=now)
            publish_intent(conn, self.host.name, None, now=now)
            clear_block(conn, self.host.name, runner_key)
            if run_id is not None:
                loaded_run(conn, run_id, load_time=_seconds(loaded.seconds))
        emit("runner.loaded", host=self.host.name, runner_key=runner_key, seconds=loaded.seconds)
        return True

    def _load_failed(self, runner_key: str, run_id: int | None, error: HostError, seconds: float) -> None:
        """No job pays for a load that failed: none was claimed for it."""
        emit(
            "runner.load_failed",
            host=self.host.name,
            runner_key=runner_key,
            code=error.code,
            message=error.message[:300],
            seconds=seconds,
        )
        self._forget_resident()
        with self.database.write() as conn:
            publish_intent(conn, self.host.name, None, now=self.clock.now())
            record_resident(conn, self.host.name, None, now=self.clock.now())
            if run_id is not None:
                close_run(conn, run_id, now=self.clock.now(), error=f"{error.code}: {error.message[:300]}")
        if CODES[error.code].fault == "host":
            self._pause(error)
        else:
            self._block(runner_key, error)

    def _block(self, runner_key: str, error: HostError) -> None:
        failures = self.load_failures[runner_key] = self.load_failures.get(runner_key, 0) + 1
        until = self.clock.now() + load_pause(failures)
        if error.code is Code.MODEL_MISSING:
            self.probed_at = float("-inf")
        with self.database.write() as conn:
            block_key(
                conn,
                self.host.name,
                runner_key,
                until=until,
                reason=f"{error.code}: {error.message[:300]}",
                failures=failures,
            )
        self._give_back()

    def _forget_resident(self, *, keep_run: bool = False) -> None:
        self.resident, self.window, self.used_at, self.hints = None, None, float("-inf"), []
        if not keep_run:
            self.run_id = None

    def _apply_keep_alive(self) -> None:
        """The strongest hint of the run, with the runner's own options: other options would reload it."""
        hint = strongest(self.hints)
        if hint is None or self.resident is None:
            return
        try:
            self.gpu.apply_keep_alive(RunnerKey.parse(self.resident), hint)
        except HostError as error:
            emit("host.unreachable", host=self.host.name, message=error.message)
        self.hints = []

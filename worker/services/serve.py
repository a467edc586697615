"""Serves one host: looks at it, asks the policy what to do next, does it, until there is no work or time is up.

One thread decides, claims and stores; the slots' threads only ask the host. So there is one writer per host, and
no lock between a claim and a finish. Messages never carry work: whoever calls :func:`serve_host` finds it in SQL.
"""

import threading
import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta

from worker.clock import Clock
from worker.domain.attempts import Retried, Succeeded
from worker.domain.hosts import Host, HostModel
from worker.domain.jobs import ClaimedJob
from worker.domain.timings import Timings
from worker.errors import CODES, Code, DatabaseUnavailable, HostError
from worker.observability.events import emit
from worker.ollama.client import Call, OllamaHost
from worker.policy.choose import Facts, LoadRunner, RunJobs, Wait, choose
from worker.services.attempt import Ending, attempt_job
from worker.services.brake import apply_brakes, withdraw
from worker.services.claims import Claims
from worker.services.heartbeat import Heartbeat
from worker.services.pace import Paces
from worker.services.residency import Residency
from worker.services.slots import Slots
from worker.services.standing import Standing
from worker.services.store import Store
from worker.storage.backlog import read_backlog
from worker.storage.claims import leave_host, take_host
from worker.storage.engine import Connection, Database
from worker.storage.hosts import host_views, lock_fleet, record_unreachable
from worker.storage.paces import read_paces, save_paces

PROBE_EVERY = 60.0
PACES_EVERY = 10.0
"""Seconds between two looks at how fast the other hosts are; a pace that was never known is told at once."""
SHORT_CALL = 0.05
"""Seconds. Outcomes of shorter calls are stored in groups."""
AHEAD_BELOW = 0.5
"""Seconds. Shorter jobs are claimed ahead of free slots; a longer one waits where any host may take it."""


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
    standing: Standing | None = None,
    store: Store | None = None,
    fail_on_cut: bool = False,
    batch_id: int | None = None,
) -> Served:
    """Serve ``host`` until it has no work for ``timings.linger`` seconds, its budget is spent or ``stop`` is set.

    Returns at once when somebody else serves it, or where it steps back after a failure. ``standing`` is what this
    process knows of the host from earlier passes; ``batch_id`` keeps to one batch; ``wake`` cuts a linger short.
    Never raises for what a host does; raises DatabaseUnavailable when the database is away before anything was
    claimed.
    """
    standing = standing or Standing(Paces(host.name))
    if standing.paused(clock.monotonic()):
        return Served(host.name, 0, 0, "stepping back")
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
        standing,
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
        standing: Standing,
        store: Store,
        fail_on_cut: bool,
        batch_id: int | None,
    ) -> None:
        self.database, self.host, self.gpu, self.clock, self.timings = database, host, gpu, clock, timings
        self.stop, self.wake, self.token, self.standing = stop, wake, token, standing
        self.paces = standing.paces
        self.store, self.fail_on_cut, self.batch_id = store, fail_on_cut, batch_id
        self.residency = Residency(database, host.name, gpu, clock, timings, standing)
        self.slots = Slots(host.slots, self._attempt, name=host.name)
        self.claims = Claims(
            database,
            host=host.name,
            token=token,
            slots=self.slots,
            store=store,
            clock=clock,
            timings=timings,
            batch_id=batch_id,
        )
        self.models: dict[str, HostModel] = {}
        self.probed_at = float("-inf")
        self.paces_at = float("-inf")
        self.low_water = host.slots
        self.jobs = 0

    # -- the loop ---------------------------------------------------------------------------------------------

    def run(self) -> Served:
        began = idle_since = self.clock.monotonic()
        heartbeat = Heartbeat(
            self.database,
            host=self.host.name,
            token=self.token,
            timings=self.timings,
            clock=self.clock,
            held=self.claims.held,
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
                if not self.standing.paused(now):
                    self.slots.resume()
                done = self._wants_more() and self._step()
                if done or self.slots.unfinished:
                    idle_since = now
                elif now - idle_since >= self.timings.linger:
                    self.residency.apply_keep_alive()
                    return self._served("no work")
                if self.slots.unfinished or not done:
                    self._collect()

    def _wants_more(self) -> bool:
        """Short jobs are claimed before a slot idles, long ones when one is free."""
        if self._may_claim_ahead():
            return self.slots.ready < self.low_water
        return self.slots.unfinished < self.slots.count

    def _may_claim_ahead(self) -> bool:
        seconds = self.paces.service_seconds(self.residency.runner_key)
        return seconds is not None and seconds < AHEAD_BELOW

    def _step(self) -> bool:
        """Ask the policy once and do what it says; False when there was nothing to do, or no database to ask."""
        if self.standing.paused(self.clock.monotonic()):
            return False
        try:
            return self._choose_and_do()
        except DatabaseUnavailable as error:
            self.claims.doubted()
            emit("database.unavailable", host=self.host.name, message=str(error))
            return False

    def _choose_and_do(self) -> bool:
        if not self.store.flush():
            return False  # a rescued job must not be asked again while its answer waits here
        self.claims.release_strays()
        self._exchange_paces()
        stale = self.clock.monotonic() - self.probed_at > PROBE_EVERY
        if stale and not self.slots.unfinished and not self._look():
            return False
        match choose(self._facts()):
            case RunJobs() as decision:
                if self.residency.intent is not None:
                    self._intend(None)
                return self._run_jobs(decision)
            case LoadRunner() as decision:
                # Ollama never kills a busy runner: a load sent now would wait for the running jobs with the
                # host's whole queue behind it. So the slots run dry first; the others see what for, else they
                # would all run dry for one load.
                if not self.slots.unfinished:
                    return self._switch()
                if self.residency.intent != decision.runner_key:
                    self._intend(decision.runner_key)
                return True
            case Wait():
                return False

    def _collect(self) -> None:
        """Wait for endings and store them, short calls in groups."""
        endings = self.slots.endings(self._wait())
        if endings and endings[-1].seconds < SHORT_CALL and self.slots.unfinished:
            until = self.clock.monotonic() + self.timings.group
            while self.slots.ready > self.low_water // 2 and (left := until - self.clock.monotonic()) > 0:
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
        self.claims.give_back()
        while self.slots.unfinished:
            endings = self.slots.endings(self.timings.idle_poll)
            if endings:
                self._take(endings)

    def _served(self, reason: str) -> Served:
        return Served(self.host.name, self.jobs, self.residency.loads, reason)

    def leave(self) -> None:
        """Give the serving lease back. What cannot be stored now is in the spool by then."""
        self.slots.close()
        self.store.close()
        emit("host.left", host=self.host.name, jobs=self.jobs, loads=self.residency.loads)
        try:
            self.claims.release_strays()
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
        self.residency.seen(version, models, loaded)
        return True

    def _facts(self) -> Facts:
        with self.database.read() as conn:
            return self._facts_in(conn)

    def _facts_in(self, conn: Connection) -> Facts:
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

    def _exchange_paces(self) -> None:
        """Tell the others how fast this host is, and hear it of them."""
        now = self.clock.monotonic()
        if now - self.paces_at < PACES_EVERY and not self.paces.newly_known:
            return
        seen = self.paces.unsaved()
        if seen:
            with self.database.write() as conn:
                save_paces(conn, seen, now=self.clock.now())
        with self.database.read() as conn:
            self.paces.learn(read_paces(conn))
        self.paces_at = now

    # -- running ----------------------------------------------------------------------------------------------

    def _run_jobs(self, decision: RunJobs) -> bool:
        if not self.slots.unfinished and not self._ready(
            decision.runner_key, self.residency.confirm(decision.runner_key)
        ):
            return False
        free = self.slots.count - self.slots.unfinished
        claimed = self.claims.claim(
            decision, limit=decision.jobs if self._may_claim_ahead() else min(decision.jobs, free)
        )
        if not claimed:
            return False
        self.low_water = max(self.host.slots, len(claimed) // 2)
        self.residency.hinted(claimed)
        self.slots.hand_over(claimed)
        return True

    def _attempt(self, job: ClaimedJob, call: Call) -> Ending:
        return attempt_job(
            job,
            ask=lambda request, call: self.gpu.generate(request, call=call),
            call=call,
            host=self.host.name,
            host_model=self.models.get(job.model),
            window=self.residency.window,
            clock=self.clock,
            run_id=self.residency.run_id,
            fail_on_cut=self.fail_on_cut,
        )

    def _take(self, endings: Sequence[Ending]) -> None:
        """Store how jobs ended, then learn from it and let the host answer for its faults.

        In that order: what a host generated must be safe before anything else may fail.
        """
        self.residency.used()
        self.jobs += len(endings)
        self.store.add([ending.finish for ending in endings])
        self.store.flush()
        failed = [ending.error for ending in endings if ending.is_the_hosts and ending.error is not None]
        if failed:
            self.residency.doubted()
            self._pause(failed[-1])
        try:
            self._brake({ending.finish.batch_id for ending in endings if ending.has_failed})
            for ending in endings:
                if isinstance(ending.finish.outcome, Succeeded):
                    self._succeeded(ending.seconds)
                elif ending.error is not None:
                    self._answer_for(ending, ending.error)
        except DatabaseUnavailable as error:
            emit("database.unavailable", host=self.host.name, message=str(error))

    def _brake(self, batch_ids: Collection[int]) -> None:
        """Batches whose jobs only fail stop here, before more of them is tried."""
        if batch_ids and apply_brakes(self.database, batch_ids, clock=self.clock):
            self.claims.give_back()
            withdraw(self.database)  # what was given back is queued, and its batch is paused

    def _succeeded(self, seconds: float) -> None:
        self.standing.answered(self.clock.monotonic())
        if self.residency.runner_key is not None:
            self.paces.served(self.residency.runner_key, seconds)

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
        if CODES[error.code].fault == "runner" and self.residency.runner_key is not None:
            self._block(self.residency.runner_key, error)

    def _pause(self, error: HostError) -> None:
        """The host steps back; jobs that no slot has taken go to whoever is well."""
        seconds = self.standing.failed(self.clock.monotonic(), at_most=self.timings.lease / 3)
        if seconds is not None:
            emit("host.paused", host=self.host.name, seconds=seconds, code=error.code)
        self.claims.give_back()

    # -- loading ----------------------------------------------------------------------------------------------

    def _intend(self, runner_key: str | None) -> None:
        """Publish the load that the slots run dry for, if it is still the right one seen under the fleet's lock."""
        with self.database.write() as conn:
            lock_fleet(conn)
            if runner_key is not None:
                decision = choose(self._facts_in(conn))
                if not isinstance(decision, LoadRunner):
                    return
                runner_key = decision.runner_key
            self.residency.intend(conn, runner_key)

    def _switch(self) -> bool:
        """Decide a load under the fleet's lock, publish it, and do it."""
        with self.database.write() as conn:
            lock_fleet(conn)
            decision = choose(self._facts_in(conn))
            if not isinstance(decision, LoadRunner):
                return isinstance(decision, RunJobs)
            self.residency.begin(conn, decision)
        return self._ready(decision.runner_key, self.residency.load(decision.runner_key))

    def _ready(self, runner_key: str, error: HostError | None) -> bool:
        """Whether the runner is there; if not, the host or the runner key on it steps back."""
        if error is None:
            return True
        if CODES[error.code].fault == "host":
            self._pause(error)
        else:
            self._block(runner_key, error)
        return False

    def _block(self, runner_key: str, error: HostError) -> None:
        if error.code is Code.MODEL_MISSING:
            self.probed_at = float("-inf")
        self.residency.block(runner_key, error)
        self.claims.give_back()

"""Serves one host: looks at it, asks the policy what to do next, does it, until there is no work.

One thread decides, claims and stores; the slots' threads only ask the host. So there is one writer per host, and
no lock between a claim and a finish. Messages never carry work: whoever calls :func:`serve_host` finds it in SQL.
"""

import threading
import uuid
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

from worker.clock import Clock
from worker.domain.attempts import Retried, Succeeded
from worker.domain.hosts import Host
from worker.domain.jobs import ClaimedJob, Priority
from worker.domain.replies import Result
from worker.domain.timings import Timings
from worker.errors import CODES, Code, DatabaseFailure, HostError, HostLost
from worker.maintenance.withdraw import withdraw
from worker.observability.events import emit, emit_failure
from worker.ollama.client import Call, OllamaHost
from worker.policy.choose import choose
from worker.policy.facts import LoadRunner, RunJobs, Wait
from worker.policy.parallel import Waited
from worker.policy.picture import Picture
from worker.policy.serving import (
    PROBE_EVERY,
    SHARED_PROBE_EVERY,
    End,
    HandedOver,
    Situation,
    Step,
    claims_ahead,
    next_step,
    suspect_first,
)
from worker.policy.sharing import LET_IN, STEP_BACK, must_run_dry, others_are_at_work
from worker.replies.families import FAMILIES, Marks
from worker.serving.attempt import Ending, attempt_jobs
from worker.serving.brake import apply_brakes
from worker.serving.breaker import Breaker
from worker.serving.claims import Claims
from worker.serving.facts import Seen
from worker.serving.heartbeat import Heartbeat
from worker.serving.pace import Paces
from worker.serving.residency import Residency
from worker.serving.reuse import Reuse
from worker.serving.session import HostSession
from worker.serving.sight import Sight
from worker.serving.slots import Ended, Slots
from worker.serving.standing import Standing
from worker.serving.store import Store
from worker.storage.claims import leave_host, take_host
from worker.storage.engine import Connection, Database
from worker.storage.hosts import get_host, quarantine_of, record_unreachable

SHORT_CALL = 0.05
"""Seconds. Outcomes of shorter calls are stored in groups."""
STEADY = 10
"""Polls during which a host that found its load not worth it looks at nothing more urgent."""
TAKEN = "served by another worker"
CHANGED = "host changed"
LEASES_LOST = "leases lost"
"""Why a pass ended."""


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
    families: Sequence[Marks] = FAMILIES,
    batch_id: int | None = None,
) -> Served:
    """Serve ``host`` until it has no work for ``timings.linger`` seconds or ``stop`` is set, however long that takes.

    Returns at once when somebody else serves it, where it steps back after a failure, and where the database has other
    settings for it by now (``CHANGED``: to be called again with these). ``standing`` is what this
    process knows of the host from earlier passes; ``batch_id`` keeps to one batch; ``wake`` cuts a linger short.
    A defect, in whatever thread, is raised once the running calls have ended and are stored, and the host was given back.
    Never raises for what a host does; raises DatabaseFailure when the database is away before anything was
    claimed.
    """
    standing = standing or Standing(Paces(host.name))
    if standing.paused(clock.monotonic()):
        return Served(host.name, 0, 0, "stepping back")
    token = uuid.uuid4().hex
    now = clock.now()
    with database.write() as conn:
        standing.quarantines, until = quarantine_of(conn, host.name)
        if until is not None and until > now:
            return Served(host.name, 0, 0, "in quarantine")
        if not take_host(conn, host=host.name, token=token, now=now, until=now + _seconds(timings.lease)):
            return Served(host.name, 0, 0, TAKEN)
        if get_host(conn, host.name) != host:
            leave_host(conn, host=host.name, token=token, now=now)
            return Served(host.name, 0, 0, CHANGED)
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
        families,
        batch_id,
    )
    try:
        return serving.run()
    finally:
        serving.leave()


def _waited(result: Result) -> Waited:
    """What the reply's total says beyond its parts: the request waited for a place."""
    spent = result.load_seconds + result.prompt_eval_seconds + result.eval_seconds
    return Waited(max(0.0, result.total_seconds - spent), result.total_seconds)


def _until_loaded(seen: Seen, decision: LoadRunner) -> float:
    """Seconds until the load is done, as it is expected."""
    picture = Picture(seen.facts)
    work = picture.work.get(decision.runner_key)
    return 0.0 if work is None else picture.setup(work).seconds


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
        families: Sequence[Marks],
        batch_id: int | None,
    ) -> None:
        self.database, self.host, self.gpu, self.clock, self.timings = database, host, gpu, clock, timings
        self.stop, self.wake, self.token, self.standing = stop, wake, token, standing
        self.paces = standing.paces
        self.store, self.fail_on_cut, self.batch_id = store, fail_on_cut, batch_id
        self.families = families
        self.session = HostSession(database, host.name, token)
        self.residency = Residency(self.session, gpu, clock, timings, standing)
        self.breaker = Breaker(self.session, gpu, self.residency, standing, clock, timings)
        self.slots = Slots(
            host.slots,
            self._attempt,
            name=host.name,
            clock=clock,
            leased_until=clock.monotonic() + timings.lease,
        )
        self.sight = Sight(database, self.session, host, self.paces, clock=clock, batch_id=batch_id)
        self.reuse = Reuse(
            database,
            host.name,
            self.sight,
            clock=clock,
            stop=stop,
            batch_id=batch_id,
            cut_fails=fail_on_cut,
        )
        self.claims = Claims(
            database,
            host=host.name,
            token=token,
            slots=self.slots,
            store=store,
            clock=clock,
            timings=timings,
            batch_id=batch_id,
            reuse=self.reuse,
        )
        self.handed = HandedOver(host.slots)
        self.gives_way = False
        """Somebody else uses the host: nothing new is started before the slots are dry."""
        self.idle_since = self.dry_at = self.looked_for_others_at = clock.monotonic()
        self.admitted_at = self.probed_at = float("-inf")
        self.leases_lost = threading.Event()
        """Jobs that run here are no longer ours. The pass ends: what is claimed anew bears a new token, so that a late
        answer of the old one is told from it, and its attempt is not overwritten by our own claim."""
        self.jobs = 0

    # -- the loop ---------------------------------------------------------------------------------------------

    def run(self) -> Served:
        heartbeat = Heartbeat(
            self.database,
            session=self.session,
            host=self.host,
            timings=self.timings,
            clock=self.clock,
            held=self.claims.held,
            cancel=self.slots.abort,
            renewed=self._renewed,
            asked=lambda: self.slots.running,
        )
        with heartbeat:
            try:
                return self._turn()
            except HostLost:
                self._drain()
                return self._served(TAKEN)
            except Exception as error:
                # a defect ends the pass; what the host generates meanwhile is kept all the same
                emit("serving.failed", host=self.host.name, message=f"{type(error).__name__}: {error}"[:300])
                self._drain(learn=False)
                with suppress(
                    Exception
                ):  # whatever is broken, the runners leave when their jobs asked for it
                    self._apply_keep_alive()
                raise

    def _turn(self) -> Served:
        """Observe, decide, act, until the pass ends. Raises HostLost, and what a thread of the pass failed with."""
        if not self._look():
            return self._served("unreachable")
        emit("host.serving", host=self.host.name, slots=self.host.slots)
        tried, moved = frozenset[Step](), False
        while True:
            if (failure := self.session.failure or self.slots.failure) is not None:
                raise failure
            now = self._situation(tried, moved)
            if not now.paused:
                self.slots.resume()
            match next_step(now):
                case End(reason):
                    return self._end(reason)
                case Step.COLLECT:
                    self._collect()
                    tried, moved = frozenset(), False
                case Step.MEND if not self._mend():
                    return self._served("in quarantine")
                case step:
                    moved = self._do(step) or moved
                    tried |= {step}
            if moved or self.slots.unfinished:
                self.idle_since = now.now
            if moved and not self.slots.unfinished:  # a model was loaded: there is no job to wait for
                tried, moved = frozenset(), False

    def _situation(self, tried: frozenset[Step], moved: bool) -> Situation:
        now = self.clock.monotonic()
        return Situation(
            now,
            unfinished=self.slots.unfinished,
            ready=self.slots.ready,
            limit=self.slots.limit,
            handed=self.handed,
            idle_since=self.idle_since,
            linger=self.timings.linger,
            ending=self._ending(),
            leased=self.slots.leased,
            paused=self.standing.paused(now),
            broken=self.breaker.due,
            fresh=self.handed.grouped and self.slots.fresh,
            job_seconds=self.paces.service_seconds(self.residency.used),
            shared=self.host.shared,
            gives_way=self.gives_way,
            intends=self.residency.intent is not None,
            dry_at=self.dry_at,
            looked_for_others_at=self.looked_for_others_at,
            admitted_at=self.admitted_at,
            admit_every=self.timings.idle_poll,
            tried=tried,
            moved=moved,
        )

    def _do(self, step: Step) -> bool:
        """Whether it changed something."""
        match step:
            case Step.CHOOSE:
                return self._choose()
            case Step.ADMIT:
                return self._admit()
            case Step.LOOK_FOR_OTHERS:
                self._look_for_others()
        return False

    def _end(self, reason: str) -> Served:
        self._drain()
        if self.session.lost.is_set():
            return self._served(TAKEN)
        self._apply_keep_alive()
        return self._served(reason)

    def _ending(self) -> str | None:
        """Why the pass ends although there may be work; None where it goes on."""
        if self.session.lost.is_set():
            return TAKEN
        if self.stop.is_set():
            return "stopped"
        if self.session.changed.is_set():
            return CHANGED
        return LEASES_LOST if self.leases_lost.is_set() else None

    def _apply_keep_alive(self) -> None:
        """The pass ends: runners stay as long as their jobs asked for, but those that the next pass goes on with.

        A run that was stopped has no next pass.
        """
        if self.stop.is_set() and self.batch_id is not None:
            self.residency.apply_keep_alive()
            return
        needed = frozenset(self.residency.held)
        try:
            decision = choose(self._see().facts)
            needed = frozenset({decision.runner_key} if isinstance(decision, RunJobs) else ())
        except DatabaseFailure as error:
            emit_failure(error, host=self.host.name)
        self.residency.apply_keep_alive(needed)

    def _renewed(self, lost: frozenset[int], leased_until: float) -> None:
        """Told by the heartbeat's thread. What seems lost may have been claimed anew just now: then it is a stray."""
        self.slots.renewed(lost, leased_until)
        if lost:
            self.claims.doubted()
        if lost & self.slots.held:
            self.leases_lost.set()

    def _mend(self) -> bool:
        """Unload what fell silent; False where the host goes into quarantine."""
        try:
            return self.breaker.mend()
        except DatabaseFailure as error:
            emit_failure(error, host=self.host.name)
            return True

    def _look_for_others(self) -> None:
        """Bulk jobs run on a host that people use too. Once one of them does, nothing new is started: what runs goes to its
        end, what has no slot yet goes back, and with dry slots ``_look_again`` leaves the host to them."""
        now = self.looked_for_others_at = self.clock.monotonic()
        try:
            self.residency.see_strangers(self.gpu.loaded())
        except HostError:
            return  # whatever it is, the calls that run tell it
        if others_are_at_work(True, self.residency.strangers.values(), now=now):
            self.gives_way = True
            self.claims.give_back()

    def _choose(self) -> bool:
        """Ask the policy once and do what it says; False when there was nothing to do, or no database to ask."""
        try:
            return self._choose_and_do()
        except DatabaseFailure as error:
            self.claims.doubted()
            emit_failure(error, host=self.host.name)
            return False

    def _choose_and_do(self) -> bool:
        if not self.store.flush():
            return False  # a rescued job must not be asked again while its answer waits here
        self.claims.release_strays()
        self.sight.exchange_paces()
        if not self.slots.unfinished and not self._look_again():
            return False
        if self.reuse.look(dry=not self.slots.unfinished):
            return True
        seen = self._see()
        match choose(seen.facts):
            case RunJobs() as decision:
                if self.residency.intent is not None:
                    self._intend(None)
                    # else the two decisions might alternate, each with a claim or a release, for as long as both hold
                    self.admitted_at = self.clock.monotonic() + STEADY * self.timings.idle_poll
                return self._run_jobs(decision, seen)
            case LoadRunner() as decision:
                if not self.slots.unfinished:
                    return self._switch()
                self._run_dry(decision)
                return True
            case Wait():
                if self.residency.intent is not None:  # what it ran dry for is no longer worth a load
                    self._intend(None)
                if seen.facts.host.draining:
                    self.claims.give_back()
                return False

    def _run_dry(self, decision: LoadRunner) -> None:
        """Ollama never kills a busy runner: a load sent now would wait for the running jobs with the host's whole queue
        behind it. So the slots run dry first; the others see what for, else they would all run dry for one load.
        """
        if self.residency.intent != decision.runner_key:
            self._intend(decision.runner_key)
            self.claims.give_back()

    def _admit(self) -> bool:
        """The host has jobs enough. An interactive one whose runner is here is asked beside them all the same, and for
        one that needs a load, or work that must not wait, the slots run dry."""
        self.admitted_at = self.clock.monotonic()
        try:
            seen = self._see()
            match choose(seen.facts):
                case RunJobs(priorities=(Priority.INTERACTIVE,)) as decision:
                    return self.slots.unfinished <= self.slots.limit and self._run_jobs(decision, seen)
                case LoadRunner() as decision:
                    self._run_dry(decision)
        except DatabaseFailure as error:
            self.claims.doubted()
            emit_failure(error, host=self.host.name)
        return False

    def _collect(self) -> None:
        """Wait for endings and store them, short calls in groups."""
        endings = self.slots.endings(self._wait())
        if endings and endings[-1].ending.seconds < SHORT_CALL and self.slots.unfinished:
            until = self.clock.monotonic() + self.timings.group
            while (
                self.slots.ready > self.handed.low_water // 2 and (left := until - self.clock.monotonic()) > 0
            ):
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

    def _drain(self, *, learn: bool = True) -> None:
        """Give back what no slot has taken, let the running calls end and store them, and ``learn`` from them."""
        self.claims.give_back()
        while self.slots.unfinished:
            endings = self.slots.endings(self.timings.idle_poll)
            if endings and learn:
                self._take(endings)
            elif endings:
                self._store([one.ending for one in endings])

    def _served(self, reason: str) -> Served:
        return Served(self.host.name, self.jobs, self.residency.loads, reason)

    def leave(self) -> None:
        """Give the serving lease back. What cannot be stored now is in the spool by then."""
        self.slots.close()
        self.store.close()
        emit("host.left", host=self.host.name, jobs=self.jobs, loads=self.residency.loads)
        try:
            self.claims.release_strays()
            if self.session.lost.is_set():
                return
            self.sight.keep_paces()
            with self.database.write() as conn:
                leave_host(conn, host=self.host.name, token=self.token, now=self.clock.now())
        except DatabaseFailure as error:
            emit_failure(error, host=self.host.name)
        except HostLost:
            pass  # there is nothing to give back

    def _look_again(self) -> bool:
        """Nothing runs: the time to see what the host has become. False where it cannot be used now."""
        now = self.clock.monotonic()
        every = SHARED_PROBE_EVERY if self.host.shared else PROBE_EVERY
        if must_run_dry(self.host.shared, dry_at=self.dry_at, now=now, bulk=self.handed.bulk):
            # A request that waits for another model gets in only if none of ours follows at once.
            self.stop.wait(LET_IN)
            every = 0.0
        self.dry_at = now
        self.gives_way = False
        if now - self.probed_at > every and not self._look():
            return False
        strangers = self.residency.strangers
        if others_are_at_work(self.host.shared, strangers.values(), now=now):
            self.standing.step_back(now, STEP_BACK)
            emit("host.yielded", host=self.host.name, models=sorted(strangers), seconds=STEP_BACK)
            return False
        return True

    # -- looking ----------------------------------------------------------------------------------------------

    def _look(self) -> bool:
        """See what the host has and holds; False when it cannot be reached."""
        try:
            version, models, loaded = self.gpu.version(), self.gpu.models(), self.gpu.loaded()
        except HostError as error:
            emit("host.unreachable", host=self.host.name, message=error.message)
            with self.session.write() as conn:
                record_unreachable(
                    conn, self.host.name, message=error.message, now=self.clock.now(), token=self.token
                )
            self._pause(error)
            return False
        self.probed_at = self.clock.monotonic()
        self.sight.models = {model.name: model for model in models}
        self.residency.seen(version, models, loaded)
        return True

    def _see(self, conn: Connection | None = None) -> Seen:
        return self.sight.facts(self.slots.in_flight, self.residency.used, conn)

    # -- running ----------------------------------------------------------------------------------------------

    def _run_jobs(self, decision: RunJobs, seen: Seen) -> bool:
        key = decision.runner_key
        if not self._ready(key, self.residency.confirm(key, dry=not self.slots.unfinished)):
            return False
        if key not in self.residency.held:
            return True  # it has gone while others run: to be decided anew
        self.residency.use(key)
        self.slots.limit = 1 if self.standing.quarantines else self.sight.slots_of(key)
        claimed, alone = self._claim(decision, seen.members.get(key, (key,)))
        self.handed = HandedOver(
            low_water=max(self.slots.limit, len(claimed) // 2) if claimed else self.handed.low_water,
            alone=alone,
            grouped=decision.whole and bool(claimed) and not alone,
            bulk=all(job.priority is Priority.BULK for job in claimed),
        )
        if not claimed:
            return False
        self.residency.hinted(claimed)
        self.reuse.handed_over(claimed)
        self.slots.hand_over(claimed, key)
        return True

    def _claim(self, decision: RunJobs, members: tuple[str, ...]) -> tuple[Sequence[ClaimedJob], bool]:
        """Jobs of these runner keys, and whether it is a suspect, which runs alone."""
        dry = not self.slots.unfinished
        if suspect_first(dry=dry, after_suspect=self.handed.alone, priorities=decision.priorities) and (
            claimed := self.claims.claim_suspect(members)
        ):
            return claimed, True
        free = max(1, self.slots.limit - self.slots.unfinished)
        ahead = decision.whole or claims_ahead(self.paces.service_seconds(decision.runner_key))
        claimed = self.claims.claim(
            decision,
            members,
            limit=decision.jobs if ahead else min(decision.jobs, free),
        )
        if claimed or not dry:
            return claimed, False
        claimed = self.claims.claim_suspect(members)
        return claimed, bool(claimed)

    def _attempt(self, job: ClaimedJob, runner_key: str, call: Call) -> Ending:
        runner = self.residency.runner(runner_key)
        (ending,) = attempt_jobs(
            [job],
            ask=self.gpu.ask,
            call=call,
            host=self.host.name,
            host_model=self.sight.models.get(job.model),
            window=runner.window,
            clock=self.clock,
            run_id=runner.run_id,
            fail_on_cut=self.fail_on_cut,
            num_ctx=runner.num_ctx,
            families=self.families,
            bounds=self.gpu.bounds,
        )
        return ending

    def _take(self, ended: Sequence[Ended]) -> None:
        """Store how jobs ended, then learn from it and let the host answer for its faults.

        In that order: what a host generated must be safe before anything else may fail.
        """
        for one in ended:
            self.residency.answered(one.runner_key)
        endings = [one.ending for one in ended]
        self._store(endings)
        failed = [
            (one.runner_key, one.ending.error)
            for one in ended
            if one.ending.is_the_hosts and one.ending.error is not None
        ]
        if failed:
            self.residency.doubted()
            self.breaker.failed(failed)
            self.claims.give_back()
        try:
            self.claims.answer_alike(ending.finish.job_id for ending in endings)
            self._brake({ending.finish.batch_id for ending in endings if ending.has_failed})
            for one in ended:
                if isinstance(one.ending.finish.outcome, Succeeded):
                    self._succeeded(one, one.ending.finish.outcome.result)
                elif one.ending.error is not None:
                    self._answer_for(one, one.ending.error)
        except DatabaseFailure as error:
            emit_failure(error, host=self.host.name)
        except HostLost:
            pass  # the outcomes are stored; the loop ends at its next turn

    def _store(self, endings: Sequence[Ending]) -> None:
        self.jobs += len(endings)
        self.store.add([ending.finish for ending in endings])
        self.store.flush()

    def _brake(self, batch_ids: Collection[int]) -> None:
        """Batches whose jobs only fail stop here, before more of them is tried."""
        if batch_ids and apply_brakes(self.database, batch_ids, clock=self.clock):
            self.claims.give_back()
            withdraw(self.database)  # what was given back is queued, and its batch is paused

    def _succeeded(self, one: Ended, result: Result) -> None:
        self.breaker.answered(one.runner_key, result.output_tokens, result.tokens_per_second)
        self.paces.served(one.runner_key, one.ending.seconds)
        if self.residency.reloaded(one.runner_key, result.load_seconds):
            emit(
                "runner.reloaded",
                host=self.host.name,
                runner_key=one.runner_key,
                seconds=result.load_seconds,
            )
        if one.at_once < self.sight.slots_of(one.runner_key):
            return  # not all slots were in use, so that it could not tell whether there are as many
        slots = self.paces.waited(
            one.runner_key, [_waited(result)], told=self.host.slots, is_told=self.host.slots_told
        )
        if slots is not None:
            emit("host.slots_learned", host=self.host.name, runner_key=one.runner_key, slots=slots)
            if one.runner_key == self.residency.used:
                self.slots.limit = slots

    def _answer_for(self, one: Ended, error: HostError) -> None:
        finish = one.ending.finish
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
        if CODES[error.code].fault == "runner":
            self._block(one.runner_key, error)

    def _pause(self, error: HostError) -> None:
        """The host steps back; jobs that no slot has taken go to whoever is well."""
        self.breaker.failed([("", error)])
        self.claims.give_back()

    # -- loading ----------------------------------------------------------------------------------------------

    def _intend(self, runner_key: str | None) -> None:
        """Publish the load that the slots run dry for, if it is still the right one seen under the fleet's lock."""
        with self.session.write(fleet=True) as conn:
            if runner_key is None:
                self.residency.intend(conn, None)
                return
            seen = self._see(conn)
            decision = choose(seen.facts)
            if isinstance(decision, LoadRunner):
                seconds = _until_loaded(seen, decision)
                self.residency.intend(conn, decision.runner_key, seconds=seconds, starved=decision.starved)

    def _switch(self) -> bool:
        """Decide a load under the fleet's lock, publish it, and do it."""
        with self.session.write(fleet=True) as conn:
            seen = self._see(conn)
            decision = choose(seen.facts)
            if not isinstance(decision, LoadRunner):
                return isinstance(decision, RunJobs)
            self.residency.begin(conn, decision, seconds=_until_loaded(seen, decision))
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

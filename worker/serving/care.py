"""Cares for the models of a host while it is served: works off its parts of operations on models.

The thread that serves the host decides here too, since it alone knows which calls run: so a model never goes from under one.
What needs no runner is left to an errand beside the jobs; the rest is done between two jobs.
"""

from dataclasses import replace

from worker.domain.model_operations import BRINGS, ModelPart, ModelVerb, PartState
from worker.domain.numbers import count_of
from worker.domain.runners import RunnerKey, concrete
from worker.domain.selection import Selection
from worker.errors import Code, DatabaseFailure, HostError
from worker.maintenance.actions import unhold_jobs
from worker.observability.events import emit, emit_failure
from worker.ollama import models
from worker.policy.facts import LoadRunner
from worker.policy.model_care import between_jobs, is_due, next_errand
from worker.serving.claims import Claims
from worker.serving.errands import Errand, failed_part
from worker.serving.load import unload_runner
from worker.serving.machine import Machine
from worker.serving.session import HostSession
from worker.serving.slots import Slots
from worker.storage.backlog import read_backlog
from worker.storage.model_operations import (
    batches_that_hold,
    clear_blocks_of_model,
    is_closed,
    jobs_of_model,
    keep_part,
    open_parts,
)

LOOK_EVERY = 1.0
"""Seconds between two looks at what is to be done."""


class Care:
    """The operations on models of one host. Only the thread that serves the host calls the methods."""

    def __init__(self, session: HostSession, machine: Machine, slots: Slots, claims: Claims) -> None:
        self._session, self._machine, self._slots, self._claims = session, machine, slots, claims
        self._parts: list[ModelPart] = []
        self._closed = False
        self._errand: Errand | None = None
        self._looked_at = float("-inf")

    @property
    def busy(self) -> bool:
        """Something is under way, or can be done as soon as the jobs allow it: the pass does not end."""
        if self._errand is not None:
            return True
        if not self._parts:
            return False
        now = self._session.context.clock.now()
        return any(is_due(part, now=now, closed=self._closed) for part in self._parts)

    def turn(self, *, paused: bool) -> None:
        """Do what can be done now; nothing new while the host steps back (``paused``). Raises HostLost."""
        context = self._session.context
        over = self._errand is not None and self._errand.result is not None
        if not over and context.clock.monotonic() - self._looked_at < LOOK_EVERY:
            return
        try:
            self._take_result()
            self._look()
            if not paused:
                self._begin_errand()
                self._work_between_jobs()
        except DatabaseFailure as error:
            emit_failure(error, host=self._session.host)

    def close(self) -> None:
        """The pass ends: what is under way stops, and whoever serves the host next goes on with it. Raises HostLost,
        DatabaseFailure."""
        errand, self._errand = self._errand, None
        if errand is not None:
            self._keep(errand.close())

    # -- looking --------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        context, host = self._session.context, self._session.host
        now = context.clock.now()
        with context.database.read() as conn:
            self._parts = open_parts(conn, host)
            self._closed = bool(self._parts) and is_closed(conn, host, now)
        self._looked_at = context.clock.monotonic()
        if self._errand is not None and not any(_same(part, self._errand.part) for part in self._parts):
            self._errand.abort()
        removing = {part.model for part in self._parts if part.verb is ModelVerb.REMOVE}
        for model in self._machine.last_look.withheld - removing:
            self._machine.give_again(model)
            if model in self._machine.models:
                self._let_go(model)

    def _keep(self, part: ModelPart) -> None:
        with self._session.write() as conn:
            keep_part(conn, part, now=self._session.context.clock.now())
        if not part.is_open:
            emit(
                "model.operated",
                host=part.host,
                verb=str(part.verb),
                model=part.model,
                state=str(part.state),
                message=(part.error or "")[:300],
            )
            self._parts = [other for other in self._parts if not _same(other, part)]

    def _wait(self, part: ModelPart, why: str) -> None:
        """It waits for this."""
        if part.error != why:
            self._keep(replace(part, error=why))

    # -- beside the jobs ------------------------------------------------------------------------------------------

    def _begin_errand(self) -> None:
        if self._errand is not None:
            return
        part = next_errand(self._parts, now=self._session.context.clock.now(), closed=self._closed)
        if part is None:
            return
        errand = Errand(self._session, part)
        self._keep(errand.part)
        self._errand = errand
        errand.start()

    def _take_result(self) -> None:
        """Store the result of the errand, and wake those who waited for the model."""
        if self._errand is None or (part := self._errand.result) is None:
            return
        if part.state is PartState.DONE and part.verb in BRINGS:
            part = self._brought(part)
        self._keep(part)
        self._errand = None
        if part.state is PartState.DONE and part.verb in BRINGS:
            self._let_go(part.model)

    def _brought(self, part: ModelPart) -> ModelPart:
        """The host has another model by now, or other weights under a name: it is looked at, and so are its runners."""
        before = self._machine.models.get(part.model)
        if self._machine.look_at_models() is not None:
            return part  # it came all the same; the next look finds it
        after = self._machine.models.get(part.model)
        if before is not None and after is not None and before.digest != after.digest:
            self._machine.doubt()
        if after is None:
            return part
        memory = self._session.context.host.memory
        large = memory is not None and after.size > memory
        step = f"larger than the {memory:,} bytes that the host has for models" if large else part.step
        return replace(part, digest=after.digest or None, step=step)

    def _let_go(self, model: str) -> None:
        """Jobs that were held because no host had the model go on."""
        context = self._session.context
        with self._session.write() as conn:
            clear_blocks_of_model(conn, self._session.host, model)
            batches = batches_that_hold(conn, model)
        for batch in batches:
            held = Selection(batch, models=frozenset({model}), codes=frozenset({str(Code.MODEL_MISSING)}))
            unhold_jobs(context.database, held, clock=context.clock)

    # -- between two jobs -----------------------------------------------------------------------------------------

    def _work_between_jobs(self) -> None:
        taken = self._errand.part.names if self._errand is not None else ()
        now = self._session.context.clock.now()
        for part in between_jobs(self._parts, now=now, closed=self._closed, busy=taken):
            try:
                match part.verb:
                    case ModelVerb.REMOVE:
                        self._remove(part)
                    case ModelVerb.STOP:
                        self._stop(part)
                    case _:
                        self._load(part)
            except HostError as error:
                self._keep(failed_part(part, error, moved=False, now=now))

    def _running(self, model: str) -> int:
        """Jobs of a model in the slots, or before them."""
        return sum(jobs for key, jobs in self._slots.in_flight.items() if RunnerKey.parse(key).model == model)

    def _remove(self, part: ModelPart) -> None:
        """No job of it is claimed here from now on; it goes once no call of it runs."""
        context, model = self._session.context, part.model
        if model not in self._machine.last_look.withheld:
            with context.database.read() as conn:
                jobs = {} if part.forced else jobs_of_model(conn, model)
            if jobs:
                counts = ", ".join(count_of(n, f"{state} job") for state, n in sorted(jobs.items()))
                why = f"{model} is in use: {counts}; --force removes it, and holds those that wait"
                self._keep(replace(part, state=PartState.FAILED, error=why))
                return
            self._machine.withhold(model)
        if running := self._running(model):
            self._claims.give_back()
            if running := self._running(model):
                self._wait(part, f"waits for {count_of(running, 'running call')} of {model}")
                return
        if any(loaded.name == model for loaded in context.gpu.loaded()):
            unload_runner(context.gpu, model, host=self._session.host, timings=context.timings)
        try:
            models.remove(context.gpu, model)
        except HostError as error:
            if error.code is not Code.MODEL_MISSING:
                raise
        self._drop(model)
        self._keep(replace(part, state=PartState.DONE, error=None, step="success"))
        self._machine.give_again(model)

    def _stop(self, part: ModelPart) -> None:
        context, model = self._session.context, part.model
        if running := self._running(model):
            self._wait(part, f"waits for {count_of(running, 'running call')} of {model}")
            return
        if not unload_runner(context.gpu, model, host=self._session.host, timings=context.timings):
            raise HostError(Code.HOST_ERROR, f"another client keeps {model} busy")
        self._drop(model)
        self._keep(replace(part, state=PartState.DONE, error=None, step="success"))

    def _drop(self, model: str) -> None:
        for key in self._machine.held:
            if RunnerKey.parse(key).model == model:
                self._machine.drop(key)

    def _load(self, part: ModelPart) -> None:
        """Jobs decide what is loaded: a load that a person wants waits until none runs."""
        machine, host = self._machine, self._session.context.host
        if running := self._slots.unfinished:
            self._wait(part, f"waits for {count_of(running, 'job that runs', 'jobs that run')} there")
            return
        known = machine.models.get(part.model)
        if known is None:
            raise HostError(Code.MODEL_MISSING, f"the host does not have {part.model}")
        if host.memory is not None and known.size > host.memory and not part.forced:
            why = f"{part.model} has {known.size:,} bytes, the host {host.memory:,} for models; --force tries it all the same"
            self._keep(replace(part, state=PartState.FAILED, error=why))
            return
        key = self._key_of(part).text
        if key not in machine.held:
            evict = () if len(machine.held) < host.models_at_once else tuple(machine.held)
            with self._session.write(fleet=True) as conn:
                machine.begin(conn, LoadRunner(key, "caravan models load", evict=evict), seconds=0.0)
        error = machine.load(key)
        if error is not None:
            raise error
        self._keep(
            replace(part, state=PartState.DONE, error=None, step="success", digest=known.digest or None)
        )

    def _key_of(self, part: ModelPart) -> RunnerKey:
        """What jobs that wait for the model need loaded; where none waits, the window that is wanted, or the host's own."""
        window = part.arguments.get("num_ctx")
        if window is not None:
            return RunnerKey(part.model, (("num_ctx", int(window)),))
        context = self._session.context
        with context.database.read() as conn:
            backlog = read_backlog(conn, now=context.clock.now())
        keys = [waiting.runner_key for waiting in backlog if waiting.model == part.model]
        return concrete(RunnerKey.parse(keys[0])) if keys else RunnerKey(part.model)


def _same(first: ModelPart, second: ModelPart) -> bool:
    return (first.operation_id, first.model) == (second.operation_id, second.model)

"""Puts the parts together that serve a host during one pass."""

from collections.abc import Sequence

from worker.domain.jobs import ClaimedJob
from worker.errors import CODES, Code, HostError
from worker.ollama.client import Call
from worker.records import record
from worker.serving.attempt import Ending, attempt_jobs
from worker.serving.care import Care
from worker.serving.claims import Claims
from worker.serving.health import Breaker
from worker.serving.history import HostHistory
from worker.serving.machine import Machine
from worker.serving.outbox import Outbox
from worker.serving.reuse import Reuse
from worker.serving.session import HostSession, ServingContext
from worker.serving.slots import Attempt, Completion, Slots
from worker.serving.view import HostView, Snapshot
from worker.storage.engine import Connection


@record
class Parts:
    """What the steps of the loop work with."""

    session: HostSession
    history: HostHistory
    machine: Machine
    breaker: Breaker
    slots: Slots
    view: HostView
    reuse: Reuse
    claims: Claims
    outbox: Outbox
    care: Care

    @property
    def context(self) -> ServingContext:
        return self.session.context

    def read(self, conn: Connection | None = None) -> Snapshot:
        """The facts as they stand; within ``conn`` where a load is decided. Raises DatabaseFailure."""
        return self.view.facts(self.slots.in_flight, conn)

    def pause(self, error: HostError) -> None:
        """The host steps back; jobs that no slot has taken go to whoever is well."""
        self.breaker.add_failures([("", error)])
        self.claims.give_back()

    def block(self, runner_key: str, error: HostError) -> None:
        """This runner key rests on this host for a while. Raises DatabaseFailure, HostLost."""
        if error.code is Code.MODEL_MISSING:
            self.machine.look_soon()
        self.machine.block(runner_key, error)
        self.claims.give_back()

    def accept(self, runner_key: str, error: HostError | None) -> bool:
        """Whether the runner is there; if not, the host or the runner key on it steps back."""
        if error is None:
            return True
        if CODES[error.code].fault == "host":
            self.pause(error)
        else:
            self.block(runner_key, error)
        return False

    def store(self, completions: Sequence[Completion]) -> None:
        """Store outcomes; the outbox keeps those that the database does not take now."""
        self.outbox.add([ending.finish for completion in completions for ending in completion.endings])
        self.outbox.flush()


def open_parts(context: ServingContext, token: str, history: HostHistory, outbox: Outbox) -> Parts:
    """The parts for a host that this worker serves under ``token``."""
    session = HostSession(context, token)
    machine = Machine(session, history)
    slots = Slots(
        context.host.slots,
        _attempt_on(machine, context),
        name=context.host.name,
        clock=context.clock,
        leased_until=context.clock.monotonic() + context.timings.lease,
    )
    reuse = Reuse(session, machine)
    claims = Claims(session, slots, outbox, reuse)
    return Parts(
        session,
        history,
        machine,
        Breaker(session, machine, history),
        slots,
        HostView(session, machine, history.paces),
        reuse,
        claims,
        outbox,
        Care(session, machine, slots, claims),
    )


def _attempt_on(machine: Machine, context: ServingContext) -> Attempt:
    def attempt(jobs: Sequence[ClaimedJob], runner_key: str, call: Call) -> Sequence[Ending]:
        runner = machine.runner(runner_key)
        return attempt_jobs(
            jobs,
            ask=context.gpu.ask,
            call=call,
            host=context.host.name,
            host_model=machine.models.get(jobs[0].model),
            window=runner.window,
            clock=context.clock,
            run_id=runner.run_id,
            fail_on_cut=context.fail_on_cut,
            num_ctx=runner.num_ctx,
            families=context.families,
        )

    return attempt

"""The circuit breaker of a host: it steps back after a failure, has a silent runner unloaded, and goes into quarantine
where that does not help.

What counts is generation: a server whose runner hangs answers all its other endpoints at once (seen on both lines:
``/api/tags``, ``/api/ps`` and ``/api/version`` while the runner was stopped).
"""

from collections.abc import Sequence

from worker.errors import CODES, Code, HostError
from worker.observability.events import emit
from worker.policy.health import BROKEN, BROKEN_IN_A_ROW, FEW_TOKENS, WEDGED, WEDGED_IN_A_ROW, quarantine
from worker.serving.history import HostHistory
from worker.serving.load import unload_runner
from worker.serving.machine import Machine
from worker.serving.session import HostSession
from worker.storage.hosts import end_quarantine, quarantine_host, record_slow


class Breaker:
    """The circuit breaker of one host. Only the thread that serves it calls the methods."""

    def __init__(self, session: HostSession, machine: Machine, history: HostHistory) -> None:
        self._session, self._host, self._context = session, session.host, session.context
        self._machine, self._history = machine, history

    def add_failures(self, errors: Sequence[tuple[str, HostError]]) -> None:
        """Calls for these runner keys ended by the host's fault, together: one incident. The host steps back."""
        for runner_key, error in errors:
            if error.code in WEDGED and runner_key:
                self._history.wedges.runners[runner_key] = error
                emit(
                    "runner.wedged",
                    host=self._host,
                    runner_key=runner_key,
                    code=error.code,
                    message=error.message,
                )
        own = [error for _, error in errors if CODES[error.code].fault == "host"]
        if not own:
            return
        now = self._context.clock.monotonic()
        retry_after = max(error.numbers.get("retry_after", 0) for error in own)
        seconds = self._history.add_failure(
            now, at_most=self._context.timings.lease / 3, retry_after=retry_after
        )
        if seconds is None:
            return  # it steps back already: what fails together fails of one cause
        emit("host.paused", host=self._host, seconds=seconds, code=own[-1].code)
        broken = next((error for error in own if error.code in BROKEN), None)
        if broken is None:
            return
        self._history.broken += 1
        self._history.wedges.incidents += bool(self._history.wedges.runners)
        if self._history.broken >= BROKEN_IN_A_ROW:
            self._history.condemned = (
                f"{self._history.broken} failures in a row and no answer, last: {broken.message}"
            )

    def mend(self) -> bool:
        """The slots are dry: unload what fell silent, see it gone. False where the host goes into quarantine instead.
        Raises DatabaseFailure, HostLost."""
        reason = self._history.condemned
        for runner_key, error in list(self._history.wedges.runners.items()):
            model = self._machine.runner(runner_key).key.model
            left = self._unload(model)
            if left is not None:
                reason = f"{model} fell silent ({error.message}) and {left}: restart its Ollama"
            elif self._history.wedges.incidents >= WEDGED_IN_A_ROW and reason is None:
                reason = f"{model} fell silent {self._history.wedges.incidents} times in a row, newly loaded too: {error.message}"
            self._machine.drop(runner_key)
            del self._history.wedges.runners[runner_key]
        if reason is None:
            return True
        self._history.condemned = None
        self._quarantine(reason)
        return False

    @property
    def due(self) -> bool:
        """Something has to be mended as soon as the slots are dry."""
        return bool(self._history.wedges.runners) or self._history.condemned is not None

    def add_answer(self, runner_key: str, tokens: int, tokens_per_second: float | None) -> None:
        """The host answered a job. Raises DatabaseFailure, HostLost."""
        was_suspected, slow = self._history.quarantines > 0, self._history.speeds.slow
        self._history.add_answer(self._context.clock.monotonic())
        if was_suspected and not self._history.quarantines:
            with self._session.write() as conn:
                end_quarantine(conn, self._host)
            emit("host.recovered", host=self._host)
        if tokens < FEW_TOKENS or tokens_per_second is None:
            return
        reason = self._history.speeds.answered(runner_key, tokens_per_second)
        if self._history.speeds.slow != slow:
            with self._session.write() as conn:
                record_slow(conn, self._host, reason, now=self._context.clock.now())
            if reason is not None:
                emit("host.slow", host=self._host, reason=reason)

    def _unload(self, model: str) -> str | None:
        """Why it could not be unloaded; None where it has gone, or nobody can be asked: that is for the next look."""
        try:
            if unload_runner(self._context.gpu, model, host=self._host, timings=self._context.timings):
                return None
        except HostError as error:
            if error.code is Code.HOST_UNREACHABLE:
                return None
            return f"cannot be unloaded ({error.message})"
        return f"is still there {self._context.timings.unload:g} s after it was unloaded"

    def _quarantine(self, reason: str) -> None:
        self._history.quarantines += 1
        self._history.broken = self._history.wedges.incidents = 0
        pause = quarantine(self._history.quarantines)
        with self._session.write() as conn:
            quarantine_host(conn, self._host, until=self._context.clock.now() + pause, reason=reason)
        emit("host.quarantined", host=self._host, seconds=pause.total_seconds(), reason=reason[:300])

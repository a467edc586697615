"""What a host does with a model beside its jobs: pull, push, create, copy. One errand at a time, in a thread of its own."""

import threading
from contextlib import suppress
from dataclasses import replace
from datetime import datetime

from worker.domain.model_operations import ModelPart, ModelVerb, PartState
from worker.errors import CODES, Code, DatabaseFailure, HostError, HostLost, in_words
from worker.observability.events import emit
from worker.ollama import models
from worker.ollama.calls import Call
from worker.ollama.client import OllamaHost
from worker.policy.model_care import after_failure
from worker.replies.registries import verdict
from worker.replies.transfers import Transfer
from worker.serving.session import HostSession
from worker.storage.model_operations import keep_part

STORE_EVERY = 1.0
"""Seconds between two times that progress is stored."""
CLOSE_SECONDS = 10.0
_AWAY = frozenset({Code.HOST_UNREACHABLE, Code.HOST_BUSY, Code.NO_FIRST_BYTE})
_BROKEN = _AWAY | {Code.REPLY_CUT, Code.REPLY_STALLED, Code.BAD_REPLY}
"""The connection to the host failed: what it says of connections is not about the registry."""
_FINAL = frozenset(
    {Code.INVALID_REQUEST, Code.UNSUPPORTED, Code.MODEL_MISSING, Code.OUT_OF_MEMORY, Code.LOAD_FAILED}
)


class Errand:
    """A part under way. ``part`` says how far it has come, ``result`` its outcome, once it is over."""

    def __init__(self, session: HostSession, part: ModelPart) -> None:
        self._session = session
        self.part = replace(part, state=PartState.WORKING, error=None, next_at=None)
        self.result: ModelPart | None = None
        self._began_with = part.completed
        self._stored_at = float("-inf")
        self._call = Call()
        self._thread = threading.Thread(target=self._run, name=f"{session.host}-models", daemon=True)

    def start(self) -> None:
        """Begin it."""
        self._thread.start()

    def abort(self) -> None:
        """It was cancelled: end it soon. What was pulled so far stays on the host."""
        self._call.abort(Code.CANCELLED)

    def close(self) -> ModelPart:
        """The pass ends: stop, and say how far it has come. Whoever serves the host next goes on."""
        self._call.abort(Code.WORKER_LOST, reason="the worker is stopping")
        self._thread.join(CLOSE_SECONDS)
        return self.result or replace(self.part, state=PartState.WAITING)

    def _run(self) -> None:
        try:
            run_errand(self._session.context.gpu, self.part, call=self._call, hear=self._hear)
            self.result = replace(self.part, state=PartState.DONE, tries=0, step="success")
        except HostError as error:
            self.result = self._failed(error)
        except Exception as error:
            self.result = replace(self.part, state=PartState.FAILED, error=in_words(error))
            emit("serving.failed", host=self._session.host, message=str(self.result.error)[:300])

    def _failed(self, error: HostError) -> ModelPart:
        if error.code in (Code.WORKER_LOST, Code.CANCELLED):
            return replace(self.part, state=PartState.WAITING)
        return failed_part(
            self.part,
            error,
            moved=self.part.completed > self._began_with,
            now=self._session.context.clock.now(),
        )

    def _hear(self, transfer: Transfer) -> None:
        self.part = replace(self.part, step=transfer.step, completed=transfer.completed, total=transfer.total)
        now = self._session.context.clock.monotonic()
        if now - self._stored_at < STORE_EVERY:
            return
        self._stored_at = now
        try:
            with suppress(DatabaseFailure), self._session.write() as conn:
                if not keep_part(conn, self.part, now=self._session.context.clock.now()):
                    self.abort()
        except HostLost:
            self._call.abort(Code.WORKER_LOST)


def failed_part(part: ModelPart, error: HostError, *, moved: bool, now: datetime) -> ModelPart:
    """The part after a failure of the host, with what it means."""
    meaning = verdict("" if error.code in _BROKEN else error.message)
    why = error.message or CODES[error.code].meaning
    return after_failure(
        part,
        f"{why} ({meaning.advice})" if meaning.advice else why,
        final=error.code not in _AWAY and (meaning.final or error.code in _FINAL),
        away=error.code in _AWAY,
        moved=moved,
        now=now,
    )


def run_errand(gpu: OllamaHost, part: ModelPart, *, call: Call, hear: models.Hear) -> None:
    """Have the host do it. Raises HostError; ValueError for a verb that is no errand."""
    insecure = bool(part.arguments.get("insecure"))
    match part.verb:
        case ModelVerb.PULL:
            written = part.arguments.get("spellings", {}).get(part.model, part.model)
            models.pull(gpu, written, insecure=insecure, call=call, hear=hear)
        case ModelVerb.PUSH:
            models.push(gpu, part.model, insecure=insecure, call=call, hear=hear)
        case ModelVerb.COPY:
            models.copy(gpu, part.arguments["source"], part.model)
        case ModelVerb.CREATE:
            source = part.arguments["source"]
            try:
                gpu.show(source)  # the host would pull what it does not have, without a word of it
            except HostError as error:
                if error.code is Code.MODEL_MISSING:
                    message = f"the host does not have {source}: caravan models pull {source} first"
                    raise HostError(Code.MODEL_MISSING, message) from error
                raise
            models.create(gpu, part.model, part.arguments["recipe"], call=call, hear=hear)
        case _:
            raise ValueError(part.verb)

"""The client of a host: work of any kind, load, unload, and what the host has."""

import json
import threading
from collections.abc import Mapping
from typing import Any, TypeVar

from worker.clock import Clock, SystemClock
from worker.domain.hosts import Access, Host, HostModel, LoadedModel
from worker.domain.runners import RunnerKey, normalise_model
from worker.errors import Code, HostError
from worker.ollama.calls import Call
from worker.ollama.failures import is_dropped, is_refused, while_loading
from worker.ollama.limits import (
    Deadlines,
    Patience,
    patience_to_load,
    patience_to_probe,
    patience_to_pull,
    patience_to_work,
)
from worker.ollama.poison import WITHIN_SECONDS, Suspects
from worker.ollama.probe import ModelDetails, read_loaded, read_models, read_version
from worker.ollama.wire import Wire
from worker.replies import bounds
from worker.replies.stream import ObjectReader, Reader, parse_object
from worker.replies.wording import bad_reply

__all__ = ["Call", "Deadlines", "OllamaHost"]

T = TypeVar("T")

NOT_SPEAKING = "does not support generate"
"""What a host says of a model that makes vectors only."""

_LOOKS, _LOOK_AGAIN = 5, 0.1
"""How often, and after how many seconds, a host that cut us off is asked whether it is there still."""


class OllamaHost:
    """One Ollama server by its URL. Thread-safe. Every method but ``close`` raises HostError and nothing else.

    ``access`` is looked up once, here. Raises SettingsRefused where that fails, or where ``url`` is not valid.

    ``slots`` sizes the connection pool and limits nothing: whoever calls sends no more than that at a time.
    """

    def __init__(
        self,
        url: str,
        *,
        access: Access | None = None,
        slots: int = 1,
        deadlines: Deadlines | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._deadlines = deadlines or Deadlines()
        self._clock = clock or SystemClock()
        self._wire = Wire(url, access=access or Access(), slots=slots, clock=self._clock)
        self._to_work = patience_to_work(self._deadlines)
        self._to_load = patience_to_load(self._deadlines)
        self._to_probe = patience_to_probe(self._deadlines)
        self._suspects = Suspects()
        self._shown: dict[str, ModelDetails] = {}
        self._readers: dict[int, Reader[Any]] = {}

    @classmethod
    def of(cls, host: Host, *, deadlines: Deadlines | None = None) -> "OllamaHost":
        """``host`` as the database knows it, with what it wants to see. Raises SettingsRefused."""
        return cls(host.url, access=host.access, slots=host.slots, deadlines=deadlines)

    @property
    def patience_to_probe(self) -> Patience:
        """The deadlines of what a host answers at once."""
        return self._to_probe

    @property
    def patience_to_pull(self) -> Patience:
        """The deadlines of what takes a host hours, and of which it tells all the time."""
        return patience_to_pull(self._deadlines)

    @property
    def url(self) -> str:
        """Without credentials."""
        return self._wire.url

    def close(self) -> None:
        """End all calls under way with WORKER_LOST and close the connections."""
        self._wire.close()

    # -- work -----------------------------------------------------------------------------------------------

    def ask(
        self,
        path: str,
        body: Mapping[str, Any],
        reader: Reader[T],
        call: Call | None = None,
        *,
        patience: Patience | None = None,
        method: str = "POST",
    ) -> T:
        """Send ``body`` to ``path`` and wait until ``reader`` has the whole reply: the only way to a host for work.

        Raises HostError for anything short of that; ``partial`` is the text that had come. A connection that drops before
        any answer is ``reply_cut``: the request had been sent, and may be what the server died of; with a ``context`` see
        ``poison``. ``patience``: the deadlines of what is no work, such as a load, of which no server dies.
        """
        call = call or Call()
        data = _encoded(body)
        if patience is not None:
            return self._read(path, data, reader, call, patience, method)
        if not body.get("context"):
            return self._work(path, data, reader, call)
        self._suspects.enter(call)
        try:
            return self._work(path, data, reader, call)
        except HostError as error:
            if error.code is Code.REPLY_CUT and is_dropped(error.__cause__):
                raise self._dropped_with_context(call, error) from error
            raise
        finally:
            self._suspects.leave(call)

    def _work(self, path: str, data: bytes, reader: Reader[T], call: Call) -> T:
        self._readers[id(reader)] = call.reader = reader
        try:
            return self._read(path, data, reader, call, self._to_work)
        except HostError as error:
            if error.code is Code.HOST_UNREACHABLE and is_dropped(error.__cause__):
                raise HostError(Code.REPLY_CUT, error.message) from error.__cause__
            raise
        finally:
            del self._readers[id(reader)]

    @property
    def reading(self) -> list[Reader[Any]]:
        """The replies that come in now: ``partial`` is what a job's host has written so far."""
        return list(self._readers.values())

    def _read(
        self, path: str, data: bytes, reader: Reader[T], call: Call, patience: Patience, method: str = "POST"
    ) -> T:
        try:
            with self._wire.open(method, path, data, call=call, patience=patience) as pieces:
                for piece in pieces:
                    if call.first_byte_at is None:
                        call.first_byte()
                    reply = reader.feed(piece)
                    call.chunks = reader.chunks or 0
                    if reply is not None:
                        call.tail()
                        _drain(pieces)
                        return reply
                    if reader.chunks is not None:
                        self._check_pace(call)
                reply = reader.end()
                call.chunks = reader.chunks or 0
                return reply
        except HostError as error:
            error.partial = error.partial or reader.partial
            raise

    def _check_pace(self, call: Call) -> None:
        floor = self._deadlines.floor_tokens_per_second
        if not floor or call.first_byte_at is None:
            return
        now = self._clock.monotonic()
        since, chunks = call.pace_mark or (call.first_byte_at, 0)
        seconds, came = now - since, call.chunks - chunks
        if seconds < self._deadlines.floor_after:
            return
        if came < floor * seconds:
            raise HostError(
                Code.BELOW_FLOOR,
                f"{came} tokens in {seconds:.0f} s, after {chunks} before them; the floor is {floor:g} tokens/s",
            )
        call.pace_mark = (now, call.chunks)

    def _dropped_with_context(self, call: Call, error: HostError) -> HostError:
        now = self._clock.monotonic()
        alone = self._suspects.is_alone(call, now=now)
        quick = call.started_at is not None and now - call.started_at <= WITHIN_SECONDS
        if alone and quick and self._is_gone():
            message = "the host went down over the context: it holds token ids that the model does not have"
            return HostError(Code.CONTEXT_MISMATCH, message)
        return HostError(Code.RUNNER_DIED, f"{error.message}; the request carried a context")

    def _is_gone(self) -> bool:
        for _ in range(_LOOKS):
            try:
                self.version()
            except HostError as error:
                if is_refused(error.__cause__):
                    return True
                threading.Event().wait(
                    _LOOK_AGAIN
                )  # a connection to one that is going down is cut, and then refused
            else:
                return False
        return False

    # -- load and unload ------------------------------------------------------------------------------------

    def load(self, key: RunnerKey, *, keep_alive: float | str) -> float:
        """Have ``key`` loaded, by an empty prompt with its exact options; seconds it took. 5 ms where it is loaded.

        Raises HostError: MODEL_MISSING, OUT_OF_MEMORY, LOAD_FAILED, and what a host does when it is away or busy.
        Hanging up aborts a load on the server (``llm/server.go WaitUntilRunning``), so the deadline is its own.
        """
        began = self._clock.monotonic()
        try:
            self._have_loaded(key, keep_alive)
        except HostError as error:
            raise while_loading(error) from error
        return self._clock.monotonic() - began

    def unload(self, model: str) -> None:
        """Ask for ``model`` to be unloaded when it is idle. The server says yes before it does it, and to any name."""
        request = {
            "model": model,
            "prompt": "",
            "keep_alive": 0,
            "truncate": False,
            "shift": False,
        }
        self._without_prompt(request, "unload", self._to_probe)

    def apply_keep_alive(self, key: RunnerKey, keep_alive: float | str) -> None:
        """Set how long ``key`` stays loaded (seconds; 0 unloads it, negative is for ever). Loads nothing that is not.

        The request repeats the runner options: without them the server would reload the model with its defaults.
        """
        if _wire_number(keep_alive) == 0:
            self.unload(key.model)
        elif any(model.name == normalise_model(key.model) for model in self.loaded()):
            self._have_loaded(key, keep_alive)

    def _have_loaded(self, key: RunnerKey, keep_alive: float | str) -> None:
        """By an empty prompt; a model that makes only vectors refuses that, and is loaded by an empty list of texts."""
        request = _load_request(key, keep_alive)
        try:
            self._without_prompt(request, "load", self._to_load)
        except HostError as error:
            if error.code is not Code.UNSUPPORTED or NOT_SPEAKING not in error.message:
                raise
            texts = {name: value for name, value in request.items() if name not in ("prompt", "shift")}
            reader = ObjectReader()
            self.ask("/api/embed", {**texts, "input": []}, reader, patience=self._to_load)

    def _without_prompt(self, request: Mapping[str, Any], reason: str, patience: Patience) -> None:
        reader = _LoadReader(reason)
        self.ask("/api/generate", {**request, "stream": False}, reader, patience=patience)

    # -- look -----------------------------------------------------------------------------------------------

    def version(self) -> str:
        return read_version(self._ask)

    def models(self) -> list[HostModel]:
        """What it can generate with, names normalised; cloud models left out."""
        return read_models(self._ask, self._shown)

    def loaded(self) -> list[LoadedModel]:
        """What it has loaded, names normalised. Not to be polled: it can crash a server before 0.32.4."""
        return read_loaded(self._ask)

    def show(self, model: str) -> dict[str, Any]:
        """What ``/api/show`` says of a model."""
        return self._ask("/api/show", {"model": model})

    def _ask(self, path: str, request: Mapping[str, object] | None) -> dict[str, Any]:
        content = self._wire.read(
            "GET" if request is None else "POST",
            path,
            None if request is None else _encoded(request),
            call=Call(),
            patience=self._to_probe,
            limit=bounds.PROBE_BYTES,
        )
        with self._wire.discreet():
            return parse_object(content)


class _LoadReader(ObjectReader):
    """The answer to an empty prompt: what was done, and no text."""

    def __init__(self, reason: str) -> None:
        super().__init__()
        self._reason = reason

    def end(self) -> dict[str, Any]:
        answer = super().end()
        if answer.get("done") is not True or answer.get("done_reason") != self._reason:
            raise bad_reply(f"no {self._reason!r} for an empty prompt", self._data)
        return answer


def _load_request(key: RunnerKey, keep_alive: float | str) -> dict[str, Any]:
    request: dict[str, Any] = {
        "model": key.model,
        "prompt": "",
        "keep_alive": _wire_number(keep_alive),
        "truncate": False,
        "shift": key.shift,
    }
    if key.options:
        request["options"] = dict(key.options)
    return request


def _wire_number(keep_alive: float | str) -> float | str:
    if isinstance(keep_alive, float) and keep_alive.is_integer():
        return int(keep_alive)
    return keep_alive


def _encoded(request: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(request, allow_nan=False).encode()
    except (ValueError, TypeError, RecursionError) as error:
        raise HostError(Code.INVALID_REQUEST, f"the request cannot be written as JSON: {error}") from error


def _drain(pieces: Any) -> None:
    """Read the end of the body, so that the connection can be used again. It ends the reply no matter how it goes."""
    try:
        for _ in pieces:
            break
    except HostError:
        pass

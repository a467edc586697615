"""One request, one attempt: for tests that look at a single call."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

from worker.domain.jobs import ClaimedJob
from worker.domain.replies import Reply
from worker.kinds.generate.kind import ReplyReader
from worker.kinds.generate.request import PATH
from worker.ollama.client import Call, OllamaHost
from worker.replies.stream import Reader
from worker.serving.attempt import Ending, attempt_jobs

T = TypeVar("T")


def generate(host: OllamaHost, request: Mapping[str, Any], *, call: Call | None = None) -> Reply:
    """The whole reply to a request to ``/api/generate``."""
    return host.ask(PATH, {**request, "stream": True}, ReplyReader(), call)


def attempt_job(
    job: ClaimedJob, *, ask: Callable[[Mapping[str, Any], Call], Any], call: Call, **more: Any
) -> Ending:
    """How the try of one job ends, where ``ask`` says what comes of each body."""

    def answered(path: str, body: Mapping[str, Any], reader: Reader[T], call: Call) -> T:
        return cast(T, ask(body, call))

    (ending,) = attempt_jobs([job], ask=answered, call=call, **more)
    return ending

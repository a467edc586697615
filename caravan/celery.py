"""Submit jobs from a program that knows only the broker: ``from caravan.celery import submit``.

It needs Celery, and neither a database nor anything else of Caravan's. The jobs go to the queue ``submit`` of the broker;
``caravan control`` of the fleet stores them as a batch and answers.
"""

import hashlib
import json
import os
import ssl
import time
import uuid
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import islice
from typing import Any, Unpack

from api_schemas.python_values import job_fields, json_text, schema_of
from api_schemas.submissions import SubmissionFields, read_submission
from api_schemas.submit_message import MOST_JOBS, SubmitAnswer, SubmitProblem

try:
    import redis
    from celery import Celery
    from kombu import Exchange, Queue
    from kombu.exceptions import OperationalError
except ImportError as error:
    raise ImportError(
        "caravan.celery needs Celery and its Redis client. Install them with: pip install 'caravan-ollama[fleet]'"
    ) from error

__all__ = ["SubmissionRefused", "SubmitAnswer", "SubmitProblem", "submit"]

QUEUE = "submit"
TASK = "caravan.submit"
IN_FLIGHT = 4
"""Parts that are sent before the first of them is answered: the broker holds no more of an input at a time."""
MORE_SECONDS = 1.0
"""Added to the time-out for each part, when the last one is waited for: all jobs are checked and stored then."""
_LOOKS = (0.01, 0.25)
"""Seconds between two looks for an answer: the first, and the longest."""
_PREFIX = "caravan:"


class SubmissionRefused(ValueError):
    """Nothing of the jobs runs; ``problems`` says where and why. The refusal is stored as ``batch``, where there is one."""

    def __init__(
        self, problems: Iterable[SubmitProblem], *, batch: int | None = None, more_problems: int = 0
    ) -> None:
        self.problems = tuple(problems)
        self.batch = batch
        self.more_problems = more_problems
        shown = [f"line {one.line}: {one.message}" if one.line else one.message for one in self.problems[:5]]
        more = len(self.problems) + more_problems - len(shown)
        super().__init__("; ".join([*shown, *([f"and {more} more"] if more else [])]))


def submit(
    jobs: Iterable[Any],
    *,
    broker_url: str | None = None,
    timeout: float = 60.0,
    model: str | Iterable[str] | None = None,
    **fields: Unpack[SubmissionFields],
) -> SubmitAnswer:
    """Submit jobs as one batch and return the outcome: its number, key, and how many jobs it has.

    ``jobs``: dictionaries with the fields of a job line, pydantic models of them, or bare prompts; with ``prompt``, a
    template, they are its rows. Any iterable, of any length: it is read once, and 1,000 jobs at a time are in memory.
    ``model`` and the other ``fields`` of a submission hold for jobs that say nothing else. ``broker_url`` is that of
    the fleet; default: ``CARAVAN_BROKER_URL``. ``timeout``: seconds in which ``caravan control`` has to answer.

    Idempotent: with the same ``key`` it is one batch, however often it is submitted. Without one the key is a hash of the
    jobs and of what is said beside them.
    Raises SubmissionRefused with the problems by line; TimeoutError where nobody answers; ConnectionError where the
    broker cannot be reached, or the fleet's database is away. After both the same call may be made again. Raises ValueError
    without a broker, TypeError for one job instead of several, RuntimeError where ``caravan control`` failed at the message.
    """
    submission = _submission(model, fields)
    broker = _broker(broker_url or os.environ.get("CARAVAN_BROKER_URL", ""))  # noqa: TID251 - settings need the application
    digest = hashlib.sha256(json.dumps(submission, sort_keys=True).encode())
    parts = _parts(jobs, digest)
    try:
        return _send(broker, parts, submission, digest, timeout)
    except (OperationalError, redis.RedisError) as error:
        raise ConnectionError(f"the broker cannot be reached: {error}") from error


def _send(
    broker: "Broker", parts: Iterator[list[Any]], fields: dict[str, Any], digest: Any, timeout: float
) -> SubmitAnswer:
    part = next(parts, [])
    following = next(parts, None)
    if following is None:
        return _answer(broker, broker.send({"jobs": part, **_key(fields, digest)}), timeout)
    upload, number = uuid.uuid4().hex, 1
    sent: deque[str] = deque()
    while following is not None:
        sent.append(broker.send({"upload": upload, "part": number, "jobs": part}))
        if len(sent) == IN_FLIGHT:
            _answer(broker, sent.popleft(), timeout)
        part, following, number = following, next(parts, None), number + 1
    while sent:
        _answer(broker, sent.popleft(), timeout)
    last = {"upload": upload, "part": number, "parts": number, "jobs": part, **_key(fields, digest)}
    return _answer(broker, broker.send(last), timeout + MORE_SECONDS * number)


def _submission(model: str | Iterable[str] | None, fields: Mapping[str, Any]) -> dict[str, Any]:
    """What holds for all jobs, as plain values. Raises SubmissionRefused."""
    values = {name: value for name, value in fields.items() if value is not None}
    if model is not None:
        values["models"] = [model] if isinstance(model, str) else list(model)
    if "format" in values:
        values["format"] = schema_of(values["format"])
    submission = read_submission(values)
    if isinstance(submission, list):
        raise SubmissionRefused(
            SubmitProblem(line=one.line, field=one.field, code=one.code, message=one.message)
            for one in submission
        )
    plain: dict[str, Any] = submission.model_dump(mode="json", exclude_defaults=True)
    return plain


def _key(fields: dict[str, Any], digest: Any) -> dict[str, Any]:
    key = fields.get("key") or f"celery-{digest.hexdigest()[:32]}"
    return {"key": key, "submission": {name: value for name, value in fields.items() if name != "key"}}


def _parts(jobs: Iterable[Any], digest: Any) -> Iterator[list[Any]]:
    """The jobs as plain values, so many as one message takes at a time."""
    if isinstance(jobs, str | bytes | Mapping) or hasattr(jobs, "model_dump"):
        raise TypeError(
            f"expected a list of jobs, or anything else to iterate over; got one {type(jobs).__name__}"
        )
    numbered = enumerate(jobs, start=1)
    while chunk := list(islice(numbered, MOST_JOBS)):
        part = []
        for number, job in chunk:
            try:
                text = json_text(job_fields(job))
            except (TypeError, ValueError, RecursionError) as error:
                wrong = SubmitProblem(line=number, field="", code="invalid_value", message=str(error))
                raise SubmissionRefused([wrong]) from error
            digest.update(text.encode("utf-8", "surrogatepass") + b"\n")
            part.append(json.loads(text))
        yield part


def _answer(broker: "Broker", message_id: str, timeout: float) -> SubmitAnswer:
    """Raises SubmissionRefused, TimeoutError, ConnectionError."""
    message = broker.wait(message_id, timeout)
    if message is None:
        raise TimeoutError(
            f"no answer within {timeout:g} s: does caravan control run? The jobs may still be taken in; "
            "submit them again with the same key"
        )
    answer = SubmitAnswer.model_validate(message)
    if answer.unavailable is not None:
        raise ConnectionError(f"the fleet could not store the jobs: {answer.unavailable}")
    if answer.state == "refused":
        raise SubmissionRefused(answer.problems, batch=answer.batch, more_problems=answer.more_problems)
    return answer


class Broker:
    """Sends messages and looks for their answers.

    The answers are results of Celery tasks, read from Redis itself: Celery's own waiting gives up for good when the
    connection is lost, and asks for a restart of the application.
    """

    def __init__(self, url: str) -> None:
        self._app = Celery("caravan-producer", set_as_current=False)
        self._app.conf.update(
            broker_url=url,
            broker_transport_options={
                "global_keyprefix": _PREFIX,
                "socket_connect_timeout": 5,
                "socket_timeout": 15,
            },
            task_queues=[Queue(QUEUE, Exchange(QUEUE, type="direct"), routing_key=QUEUE)],
            task_serializer="json",
            task_publish_retry_policy={
                "max_retries": 2,
                "interval_start": 0,
                "interval_step": 0.2,
                "interval_max": 0.5,
            },
        )
        if url.startswith("rediss://"):
            self._app.conf.broker_use_ssl = {"ssl_cert_reqs": ssl.CERT_REQUIRED}
        self._answers = redis.Redis.from_url(url, socket_connect_timeout=5, socket_timeout=15)

    def send(self, arguments: dict[str, Any]) -> str:
        """The id of the message. Raises kombu's OperationalError."""
        return str(self._app.send_task(TASK, kwargs=arguments, queue=QUEUE, ignore_result=False).id)

    def wait(self, message_id: str, timeout: float) -> dict[str, Any] | None:
        """The answer; None where there is none within ``timeout`` seconds. A broker that is away for less is waited for.
        Raises RedisError; RuntimeError where the task failed."""
        key, until = f"{_PREFIX}celery-task-meta-{message_id}", time.monotonic() + timeout
        pause, longest = _LOOKS
        while True:
            lost: redis.RedisError | None = None
            try:
                found: Any = self._answers.get(key)
                if found is not None:
                    self._answers.delete(key)
                    result = json.loads(found)
                    if result["status"] != "SUCCESS":
                        raise RuntimeError(f"caravan control could not take the message: {result['result']}")
                    answer: dict[str, Any] = result["result"]
                    return answer
            except redis.RedisError as error:
                lost = error
            left = until - time.monotonic()
            if left <= 0:
                if lost is not None:
                    raise lost
                return None
            time.sleep(min(pause, left))  # noqa: TID251 - the producer waits
            pause = min(pause * 1.5, longest)


@lru_cache(maxsize=8)
def _broker(url: str) -> Broker:
    if not url:
        raise ValueError(
            "no broker: give broker_url, or set CARAVAN_BROKER_URL, e.g. redis://127.0.0.1:6379/0"
        )
    return Broker(url)

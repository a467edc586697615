"""What a kind of request has to say of itself.

Everything that differs between kinds is asked here; the heart of Caravan (claims, slots, fence, spool) knows none of
them by name. A kind is pure: it builds requests and reads replies, and whoever serves a host sends them.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol, TypeVar

from api_schemas.shapes import LineShape
from worker.domain.attempts import Outcome
from worker.domain.hosts import HostModel
from worker.domain.jobs import ClaimedJob, NewJob, request_digest
from worker.domain.reuse import is_repeatable, reuse_key
from worker.domain.runners import RunnerKey, runner_key
from worker.errors import HostError
from worker.policy.context_window import OVERHEAD, bucket
from worker.records import record
from worker.replies.families import FAMILIES, Marks
from worker.replies.stream import Reader

T = TypeVar("T")


class Ask(Protocol):
    """Sends one request and waits for its reply. Raises HostError, and nothing else."""

    def __call__(self, path: str, body: Mapping[str, Any], reader: Reader[T]) -> T: ...


@record
class Place:
    """Where jobs are asked: what is known of the host's model and of its runner, and what is taken for an answer."""

    now: datetime
    model: HostModel | None = None
    window: int | None = None
    """Tokens that the runner has room for, as the host says."""
    num_ctx: int | None = None
    """The window that was loaded, where Caravan named it: any other would reload the model."""
    fail_on_cut: bool = False
    families: Sequence[Marks] = FAMILIES


@record
class Expected:
    """Tokens that a job is expected to take."""

    prompt: int
    answer: int
    """At most."""


Answer = Outcome | HostError
"""How a job ended; or the failure of its try, for the policy of retries to decide."""


class Kind(ABC):
    """One kind of request. Its instance stands in ``worker.kinds.registry``."""

    name: str
    """As it stands in ``jobs.kind``."""
    shape: LineShape
    """The fields of a job line, and how they are checked. ``shape.text`` makes of them the readable text of a job, which
    is shown, and found by a search."""
    capability: str = "completion"
    """What ``/api/show`` has to list of a model."""
    overhead: int = OVERHEAD
    """Tokens that ``expected`` adds to those of a prompt, for what the model's template puts around it."""
    jobs_a_call: int = 1
    """Jobs that one call may carry."""
    tokens_a_call: int | None = None
    """Tokens of their prompts, as expected, that one call may carry; one job is asked whatever its length."""

    # -- before a job is stored -----------------------------------------------------------------------------------

    @abstractmethod
    def expected(self, prompt: str, request: Mapping[str, Any], *, thinking: bool) -> Expected:
        """Tokens of a job; ``thinking``: the model can reason."""

    def needs(self, request: Mapping[str, Any]) -> tuple[str, ...]:
        """Capabilities beyond ``capability`` that a model must have for this request, as ``/api/show`` names them."""
        return ()

    def runner_key(self, model: str, request: Mapping[str, Any], *, window: int | None = None) -> RunnerKey:
        """What a host must have loaded to serve such a job at once. Kinds with equal keys share a runner."""
        return runner_key(model, request, window=window)

    def digest(self, job: NewJob) -> bytes:
        """16 bytes, other for all that asks something else: it distinguishes a changed input from an equal one."""
        return request_digest(job)

    def reuse_key(self, runner_key: str, prompt: str, request: Mapping[str, Any]) -> bytes:
        """16 bytes, equal for jobs of which one may take the other's answer, if the same weights gave it."""
        return reuse_key(runner_key, prompt, request, kind=self.name)

    def is_repeatable(self, request: Mapping[str, Any]) -> bool:
        """Whether a host that is asked this twice says the same."""
        return is_repeatable(request)

    # -- while a job is asked -------------------------------------------------------------------------------------

    def joins(self, first: ClaimedJob, other: ClaimedJob) -> bool:
        """Whether ``other``, of the same kind and runner, may go along in the call of ``first``."""
        return True

    @abstractmethod
    def answer(self, jobs: Sequence[ClaimedJob], ask: Ask, place: Place) -> Sequence[Answer]:
        """Ask these jobs, in one call or a bounded number of them; one answer for each, in their order.

        Raises HostError where a failure is that of all of them. One job that fails alone has its failure among the
        answers, and takes no other with it.
        """

    # -- what follows from these ----------------------------------------------------------------------------------

    def window(self, prompt: str, request: Mapping[str, Any], *, thinking: bool, trained: int | None) -> int:
        """The window of a job that names none."""
        tokens = self.expected(prompt, request, thinking=thinking)
        return bucket(tokens.prompt + tokens.answer, trained=trained)

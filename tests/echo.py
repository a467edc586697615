"""A kind of request that only tests know: it gives back what it is asked, several jobs a call.

This is all that a kind is: one package, and a line in the registry.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

from api_schemas.job_line import CaravanFields
from api_schemas.shapes import LineShape
from worker.domain.attempts import Succeeded
from worker.domain.jobs import ClaimedJob
from worker.domain.replies import Reply
from worker.errors import Code, HostError
from worker.kinds.base import Answer, Ask, Expected, Kind, Place
from worker.replies.read import read_reply
from worker.replies.stream import ObjectReader

JOBS_A_CALL = 4
PATH = "/api/echo"


class EchoLine(CaravanFields):
    """One text to be given back."""

    kind: Literal["echo"]
    model: str | None = None
    say: str = Field(min_length=1)
    loud: bool | None = None


class Echo(Kind):
    """Several texts in one call; a host refuses single ones."""

    name = "echo"
    shape = LineShape(
        "echo", lambda: EchoLine, lambda fields, request: str(fields["say"]), apart=frozenset({"say"})
    )
    jobs_a_call = JOBS_A_CALL

    def expected(self, prompt: str, request: Mapping[str, Any], *, thinking: bool) -> Expected:
        return Expected(len(prompt), len(prompt))

    def answer(self, jobs: Sequence[ClaimedJob], ask: Ask, place: Place) -> Sequence[Answer]:
        texts = [job.prompt.upper() if job.request.get("loud") else job.prompt for job in jobs]
        said = ask(PATH, {"model": jobs[0].model, "texts": texts}, ObjectReader())
        return [_answer(one) for one in said["echoes"]]


def _answer(echo: str | None) -> Answer:
    if echo is None:
        return HostError(Code.INVALID_REQUEST, "the host says nothing to that")
    reply = Reply("m", echo, "", "stop", None, 1_000, 0, len(echo), 0, len(echo), 1_000, 1)
    return Succeeded(read_reply(reply, expects_reasoning=None, guarded=True))

"""What the kind ``embed`` says of itself."""

from collections.abc import Mapping, Sequence
from typing import Any

from api_schemas.shapes import EMBED
from worker.domain.attempts import Failed, Succeeded
from worker.domain.jobs import ClaimedJob
from worker.domain.replies import Result
from worker.errors import Code, HostError
from worker.kinds.base import Answer, Ask, Expected, Kind, Place
from worker.kinds.embed.reply import Vectors, VectorsReader, common_values, shares
from worker.policy.context_window import estimate_tokens
from worker.replies.vectors import BYTES

PATH = "/api/embed"
TEXTS_A_CALL = 256
TOKENS_A_CALL = 16_384
"""As estimated. A call is as long as its texts: a host that dies in it takes no more than these with it."""
BATCH = 2048
"""Tokens that a newer server reads at once of an embedding model."""
MARKS = 2
"""Tokens that a model puts around each text."""


class Embed(Kind):
    """A text whose vector is wanted. Texts that are asked for in the same way share a call."""

    name = "embed"
    shape = EMBED
    capability = "embedding"
    overhead = MARKS
    jobs_a_call = TEXTS_A_CALL
    tokens_a_call = TOKENS_A_CALL

    def expected(self, prompt: str, request: Mapping[str, Any], *, thinking: bool) -> Expected:
        return Expected(estimate_tokens(prompt) + MARKS, 0)

    def is_repeatable(self, request: Mapping[str, Any]) -> bool:
        return True

    def joins(self, first: ClaimedJob, other: ClaimedJob) -> bool:
        return first.request is other.request or _alike(first.request) == _alike(other.request)

    def answer(self, jobs: Sequence[ClaimedJob], ask: Ask, place: Place) -> Sequence[Answer]:
        return _answers(jobs, ask, place)


def _alike(request: Mapping[str, Any]) -> dict[str, Any]:
    """What of a request is sent for all texts of a call. ``keep_alive`` is applied when the host leaves the model."""
    return {name: value for name, value in request.items() if name != "keep_alive"}


def _answers(jobs: Sequence[ClaimedJob], ask: Ask, place: Place) -> list[Answer]:
    """One answer for each. A host refuses a whole list for one text of it, and does not say which: the list is halved.

    What was answered before the host failed is kept; the host is asked for nothing more then. An inner error may be of one
    text, too, unless two texts meet it alone before anything was answered.
    """
    answers: dict[int, Answer] = {}
    broken = 0
    lists: list[Sequence[ClaimedJob]] = [jobs]
    while lists:
        part = lists.pop()
        try:
            vectors = ask(PATH, _body(part, place), VectorsReader(len(part)))
        except HostError as error:
            broken += error.code is Code.HOST_ERROR and len(part) == 1
            if not _is_of_one(error) or (broken > 1 and not any(map(_is_vector, answers.values()))):
                if not answers:
                    raise
                return [answers.get(job.id, error) for job in jobs]
            if len(part) == 1:
                answers[part[0].id] = _of_batch(error, part[0], place) or error
            else:
                half = len(part) // 2
                lists += (part[half:], part[:half])
        else:
            answers.update(zip((job.id for job in part), _read(part, vectors), strict=True))
    return [answers[job.id] for job in jobs]


def _is_of_one(error: HostError) -> bool:
    """Whether one text may have made the host refuse all: it is too long, or the model makes no numbers of it."""
    return error.code in (Code.CONTEXT_OVERFLOW, Code.INVALID_REQUEST, Code.HOST_ERROR)


def _of_batch(error: HostError, job: ClaimedJob, place: Place) -> HostError | None:
    """A newer server reads a text in one batch, of 2,048 tokens where nobody says otherwise, and calls one that is longer too
    long for the window. An estimate says too much rather than too little, so what fits by it is such a text."""
    window, options = place.window or place.num_ctx, job.request.get("options") or {}
    if error.code is not Code.CONTEXT_OVERFLOW or window is None or "num_batch" in options:
        return None
    if not BATCH < (job.estimate or estimate_tokens(job.prompt)) + MARKS <= window:
        return None
    message = (
        f"{error.message}, or its batch: options num_batch={window} lets the host read so many tokens at once"
    )
    return HostError(error.code, message, status=error.status, numbers=error.numbers)


def _is_vector(answer: Answer) -> bool:
    return isinstance(answer, Succeeded)


def _body(jobs: Sequence[ClaimedJob], place: Place) -> dict[str, Any]:
    body: dict[str, Any] = {
        "model": jobs[0].model,
        "input": [job.prompt for job in jobs],
        **_alike(jobs[0].request),
    }
    body.setdefault("truncate", False)
    if place.num_ctx is not None:  # any other would reload the model
        body["options"] = {"num_ctx": place.num_ctx, **body.get("options", {})}
    return body


def _read(jobs: Sequence[ClaimedJob], vectors: Vectors) -> list[Answer]:
    weights = [job.estimate or estimate_tokens(job.prompt) + MARKS for job in jobs]
    tokens = shares(vectors.tokens, weights)
    common = common_values(vectors, cut=bool(jobs[0].request.get("truncate")))
    wanted = jobs[0].request.get("dimensions")
    answers: list[Answer] = []
    for vector, taken in zip(vectors.vectors, tokens, strict=True):
        if isinstance(vector, str):
            answers.append(Failed(Code.INVALID_OUTPUT, vector))
        elif wanted is not None and len(vector) != wanted * BYTES:
            length = len(vector) // BYTES
            problem = f"dimensions: {wanted:,} were requested, and the model's vector has {length:,}"
            answers.append(Failed(Code.INVALID_OUTPUT, problem))
        else:
            answers.append(Succeeded(Result(**common, prompt_tokens=taken, embedding=vector)))
    return answers

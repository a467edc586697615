"""The kinds that there are."""

from collections.abc import Sequence

from api_schemas.shapes import LineShape
from worker.domain.jobs import ClaimedJob
from worker.kinds.base import Kind
from worker.kinds.chat import Chat
from worker.kinds.embed import Embed
from worker.kinds.generate import Generate

KINDS: dict[str, Kind] = {kind.name: kind for kind in (Generate(), Chat(), Embed())}


def kind_of(name: str) -> Kind:
    """The kind of that name. Raises KeyError for one that this version does not know."""
    return KINDS[name]


def shapes() -> tuple[LineShape, ...]:
    """What lines of job files may be; a line that says nothing is of the first."""
    return tuple(kind.shape for kind in KINDS.values())


def together(waiting: Sequence[ClaimedJob], first: int, runner_of: dict[int, str]) -> list[int]:
    """The places among ``waiting`` of the jobs that one call carries: ``first``, and those behind it that go along."""
    job = waiting[first]
    kind = KINDS.get(job.kind)
    if kind is None or kind.jobs_a_call == 1 or job.losses:
        return [first]
    places, tokens = [first], _tokens(kind, job)
    for place in range(first + 1, len(waiting)):
        other = waiting[place]
        if len(places) >= kind.jobs_a_call:
            break
        alike = other.kind == job.kind and not other.losses and runner_of[other.id] == runner_of[job.id]
        if not alike or other.model != job.model or not kind.joins(job, other):
            continue
        tokens += _tokens(kind, other)
        if kind.tokens_a_call is not None and tokens > kind.tokens_a_call:
            break
        places.append(place)
    return places


def _tokens(kind: Kind, job: ClaimedJob) -> int:
    if kind.tokens_a_call is None:
        return 0
    return job.estimate or kind.expected(job.prompt, job.request, thinking=False).prompt

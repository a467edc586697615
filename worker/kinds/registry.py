"""The kinds that there are. One is imported when the first of its jobs is met."""

from collections.abc import Callable, Sequence

from api_schemas.shapes import CHAT, EMBED, GENERATE, LineShape
from worker.domain.jobs import ClaimedJob
from worker.kinds.base import Kind
from worker.records import record


@record
class Registered:
    """A kind, and what its lines look like."""

    shape: LineShape
    load: Callable[[], Kind]


def _generate() -> Kind:
    from worker.kinds.generate import Generate

    return Generate()


def _chat() -> Kind:
    from worker.kinds.chat import Chat

    return Chat()


def _embed() -> Kind:
    from worker.kinds.embed import Embed

    return Embed()


KINDS = {
    "generate": Registered(GENERATE, _generate),
    "chat": Registered(CHAT, _chat),
    "embed": Registered(EMBED, _embed),
}
_loaded: dict[str, Kind] = {}


def kind_of(name: str) -> Kind:
    """The kind of that name. Raises KeyError for one that this version does not know."""
    if name not in _loaded:
        _loaded[name] = KINDS[name].load()
    return _loaded[name]


def shapes() -> tuple[LineShape, ...]:
    """What lines of job files may be; a line that says nothing is of the first."""
    return tuple(kind.shape for kind in KINDS.values())


def together(waiting: Sequence[ClaimedJob], first: int, runner_of: dict[int, str]) -> list[int]:
    """The places among ``waiting`` of the jobs that one call carries: ``first``, and those behind it that go along."""
    job = waiting[first]
    if job.kind not in KINDS or kind_of(job.kind).jobs_a_call == 1 or job.losses:
        return [first]
    kind = kind_of(job.kind)
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

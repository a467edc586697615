"""Who serves? Hosts are added, listed, looked at."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from worker.clock import Clock
from worker.domain.hosts import Host, HostModel
from worker.errors import HostError, Problem
from worker.ollama.client import OllamaHost
from worker.storage.engine import Database
from worker.storage.hosts import add_host, record_probe, record_unreachable

OpenHost = Callable[[Host], OllamaHost]


@dataclass(frozen=True, slots=True)
class Seen:
    """What a look at a host found; ``error`` where it could not be reached."""

    host: Host
    version: str | None
    models: tuple[HostModel, ...]
    error: str | None


def look_at(host: Host, *, open_host: OpenHost) -> Seen:
    """Ask a host for its version and its models. Never raises for what the host does."""
    gpu = open_host(host)
    try:
        return Seen(host, gpu.version(), tuple(gpu.models()), None)
    except HostError as error:
        return Seen(host, None, (), error.message)
    finally:
        gpu.close()


def register(database: Database, host: Host, *, open_host: OpenHost, clock: Clock) -> Seen:
    """Add ``host``, or change the slots and URL of one of that name, and keep what a look at it found."""
    seen = look_at(host, open_host=open_host)
    with database.write() as conn:
        add_host(conn, host, now=clock.now())
        if seen.error is None and seen.version is not None:
            record_probe(conn, host.name, version=seen.version, models=seen.models, now=clock.now())
        else:
            record_unreachable(conn, host.name, message=seen.error or "no answer", now=clock.now())
    return seen


def missing_models(wanted: Mapping[str, int], have: Iterable[str]) -> list[Problem]:
    """A problem for each wanted model (with the first line that names it) that no host has.

    >>> missing_models({"qwen3:8v": 4}, ["qwen3:8b"])[0].message
    "no host has the model 'qwen3:8v'; did you mean 'qwen3:8b'?"
    """
    names = sorted(set(have))
    problems = []
    for model, line in wanted.items():
        if model in names:
            continue
        near = get_close_matches(model, names, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"they have {', '.join(names) or 'none at all'}"
        problems.append(Problem(line, "model", "model_missing", f"no host has the model {model!r}; {hint}"))
    return problems

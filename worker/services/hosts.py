"""Who serves? Hosts are added, listed, looked at."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches

from worker.clock import Clock
from worker.domain.hosts import Access, Host, HostModel
from worker.errors import HostError, Problem, SettingsRefused
from worker.ollama.client import OllamaHost
from worker.storage.engine import Database
from worker.storage.hosts import add_host, get_host, is_kept, record_probe, record_unreachable, set_host

OpenHost = Callable[[Host], OllamaHost]


@dataclass(frozen=True, slots=True)
class Seen:
    """What a look at a host found; ``error`` where it could not be reached."""

    host: Host
    version: str | None
    models: tuple[HostModel, ...]
    error: str | None


def look_at(host: Host, *, open_host: OpenHost) -> Seen:
    """Ask a host for its version and its models. Never raises for what the host does, nor for a secret that is not
    here: it may be where the host is served."""
    try:
        gpu = open_host(host)
    except SettingsRefused as error:
        return Seen(host, None, (), str(error))
    try:
        return Seen(host, gpu.version(), tuple(gpu.models()), None)
    except HostError as error:
        return Seen(host, None, (), error.message)
    finally:
        gpu.close()


def register(database: Database, host: Host, *, open_host: OpenHost, clock: Clock, kept: bool = True) -> Seen:
    """Add ``host``, or tell anew what one of that name is, and keep what a look at it found.

    Not ``kept``: for one run. A host of that name that was added for good is looked at and left as it was told.
    """
    seen = look_at(host, open_host=open_host)
    with database.write() as conn:
        if kept or not is_kept(conn, host.name):
            add_host(conn, host, now=clock.now(), kept=kept)
    _keep(database, seen, clock.now())
    return seen


def look_again(database: Database, host: Host, *, open_host: OpenHost, clock: Clock) -> Seen:
    """Keep what a look at a host that is known already finds now."""
    seen = look_at(host, open_host=open_host)
    _keep(database, seen, clock.now())
    return seen


def change(
    database: Database,
    name: str,
    *,
    open_host: OpenHost,
    clock: Clock,
    url: str | None = None,
    slots: int | None = None,
    models_at_once: int | None = None,
    memory: int | None = None,
    access: Callable[[Access], Access] | None = None,
    shared: bool | None = None,
) -> Seen:
    """Change what is given of a host (``memory`` 0 forgets it), and keep what a look at it found. Raises NotFound."""
    with database.write() as conn:
        before = get_host(conn, name)
        host = set_host(
            conn,
            name,
            now=clock.now(),
            url=url,
            slots=slots,
            models_at_once=models_at_once,
            memory=memory,
            access=None if access is None else access(before.access),
            shared=shared,
        )
    seen = look_at(host, open_host=open_host)
    _keep(database, seen, clock.now())
    return seen


def _keep(database: Database, seen: Seen, now: datetime) -> None:
    with database.write() as conn:
        if seen.error is None and seen.version is not None:
            record_probe(conn, seen.host.name, version=seen.version, models=seen.models, now=now)
        else:
            record_unreachable(conn, seen.host.name, message=seen.error or "no answer", now=now)


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

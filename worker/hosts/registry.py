"""Who serves? Hosts are added, listed, looked at."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from difflib import get_close_matches

from worker.clock import Clock
from worker.domain.hosts import Access, Host, HostModel
from worker.errors import Conflict, HostError, Problem, SettingsRefused
from worker.ollama.between import is_misplaced
from worker.ollama.client import OllamaHost
from worker.records import record
from worker.storage.engine import Connection, Database
from worker.storage.host_rows import is_stored
from worker.storage.hosts import add_host, get_host, is_permanent, record_probe, record_unreachable, set_host

OpenHost = Callable[[Host], OllamaHost]
MOST_AT_ONCE = 32
"""Hosts that are looked at together."""


@record
class HostLook:
    """What a look at a host found; ``error`` where it could not be reached."""

    host: Host
    version: str | None
    models: tuple[HostModel, ...]
    error: str | None
    misplaced: bool = False
    """The address is wrong: what answers there is no Ollama."""


def look_at(host: Host, *, open_host: OpenHost) -> HostLook:
    """Ask a host for its version and its models. Never raises for what the host does, nor for a secret that is not
    here: it may be where the host is served."""
    try:
        gpu = open_host(host)
    except SettingsRefused as error:
        return HostLook(host, None, (), str(error))
    try:
        return HostLook(host, gpu.version(), tuple(gpu.models()), None)
    except HostError as error:
        return HostLook(host, None, (), error.message, is_misplaced(error))
    finally:
        gpu.close()


def look_at_all(hosts: Sequence[Host], *, open_host: OpenHost) -> list[HostLook]:
    """``look_at`` each of them, in their order, all at once: a host that is away costs its timeout, and no more."""
    if len(hosts) < 2:
        return [look_at(host, open_host=open_host) for host in hosts]
    with ThreadPoolExecutor(MOST_AT_ONCE) as threads:
        return list(threads.map(lambda host: look_at(host, open_host=open_host), hosts))


def register(
    database: Database, host: Host, *, open_host: OpenHost, clock: Clock, reachable_only: bool = False
) -> HostLook:
    """Add ``host`` for good, or change the one of its name, and store what a look at it found.

    ``reachable_only``: a host that does not answer is not added.
    """
    look = look_at(host, open_host=open_host)

    def add(conn: Connection) -> None:
        if look.error is None or not reachable_only or is_permanent(conn, host.name):
            add_host(conn, host, now=clock.now())

    database.transact(add)
    keep_look(database, look, clock.now())
    return look


def register_new(
    database: Database, host: Host, *, open_host: OpenHost, clock: Clock, if_missing: bool = False
) -> HostLook | Host:
    """Add a host for good and store what a look at it found.

    Where a host of that name was added before, raise Conflict, or with ``if_missing`` return that host as it is.
    """

    def add(conn: Connection) -> Host | None:
        if not is_permanent(conn, host.name):
            add_host(conn, host, now=clock.now())
            return None
        before = get_host(conn, host.name)
        if if_missing:
            return before
        raise Conflict(
            f"host {host.name!r} exists already, at {before.url}. "
            f"caravan hosts set {host.name} changes it; "
            "with --if-missing this command leaves it as it is."
        )

    before = database.transact(add)
    if before is not None:
        return before
    look = look_at(host, open_host=open_host)
    keep_look(database, look, clock.now())
    return look


def look_again(
    database: Database, host: Host, *, open_host: OpenHost, clock: Clock, max_age: timedelta
) -> HostLook:
    """Keep what a look at a host that is known already finds now; with ``max_age`` not what was found before, and was
    stored no longer ago."""
    look, now = look_at(host, open_host=open_host), clock.now()
    with database.read() as conn:
        known = is_stored(
            conn, host.name, version=look.version, models=look.models, error=look.error, since=now - max_age
        )
    if not known:
        keep_look(database, look, now)
    return look


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
) -> HostLook:
    """Change what is given of a host (``memory`` 0 forgets it), and keep what a look at it found.

    Raises NotFound; SettingsRefused for a CA file beside an address without TLS.
    """

    def set_options(conn: Connection) -> Host:
        before = get_host(conn, name, lock=access is not None or url is not None)
        changed = before.access if access is None else access(before.access)
        if changed.ca_file is not None and not (url or before.url).startswith("https:"):
            raise SettingsRefused(
                f"--ca-file checks the certificate of an https address, and {name} is at {url or before.url}; "
                "--ca-file none removes it"
            )
        return set_host(
            conn,
            name,
            url=url,
            slots=slots,
            models_at_once=models_at_once,
            memory=memory,
            access=None if access is None else changed,
            shared=shared,
        )

    look = look_at(database.transact(set_options), open_host=open_host)
    keep_look(database, look, clock.now())
    return look


def keep_look(database: Database, look: HostLook, now: datetime) -> None:
    """Store what a look at a host found, where the database knows the host."""

    def keep(conn: Connection) -> None:
        if look.error is None and look.version is not None:
            record_probe(conn, look.host.name, version=look.version, models=look.models, now=now)
        else:
            record_unreachable(conn, look.host.name, message=look.error or "no answer", now=now)

    database.transact(keep)


def missing_models(models: Mapping[str, int], have: Iterable[str]) -> list[Problem]:
    """A problem for each wanted model (with the first line that names it) that no host has.

    >>> missing_models({"qwen3:8v": 4}, ["qwen3:8b"])[0].message
    "no host has the model 'qwen3:8v'; did you mean 'qwen3:8b'?"
    """
    names = sorted(set(have))
    problems = []
    for model, line in models.items():
        if model in names:
            continue
        near = _nearest(model, names)
        hint = f"did you mean {near!r}?" if near else f"they have {', '.join(names) or 'none at all'}"
        problems.append(Problem(line, "model", "model_missing", f"no host has the model {model!r}; {hint}"))
    return problems


def _nearest(model: str, names: Sequence[str]) -> str | None:
    """The model that was probably meant: one whose family is written alike, of whatever size.

    >>> _nearest("lama3.2", ["llama3.2:3b", "llava:7b"]), _nearest("llama", ["codellama:7b", "phi4:14b"])
    ('llama3.2:3b', None)
    >>> _nearest("qwen3:9b", ["qwen2.5:7b", "qwen3:32b", "qwen3:8b"])
    'qwen3:8b'
    """
    family = _family(model)
    alike = [
        name
        for name in names
        if (other := _family(name))
        and (other.startswith(family) or get_close_matches(family, [other], cutoff=0.8))
    ]
    return next(iter(get_close_matches(model, alike, n=1, cutoff=0.0)), None)


def _family(model: str) -> str:
    """A name without its registry, account and tag."""
    return model.rpartition("/")[2].partition(":")[0].lower()


Pull = Callable[[list[str]], None]
"""Begins to bring models to hosts; jobs wait for them."""


def models_check(
    have: Collection[str], pull: Pull | None = None
) -> Callable[[Mapping[str, int]], list[Problem]]:
    """A check that refuses models which no host has; with ``pull`` they are on their way then."""

    def check(models: Mapping[str, int]) -> list[Problem]:
        missing = missing_models(models, have)
        if not missing or pull is None:
            return missing
        pull([model for model in models if model not in have])
        return []

    return check

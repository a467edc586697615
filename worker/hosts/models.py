"""Which models does the fleet have, and what is to be done with them? Operations on models are checked and begun here."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from worker.clock import Clock
from worker.domain.model_operations import BRINGS, ModelOperation, ModelPart, ModelVerb, PartState
from worker.domain.numbers import count_of
from worker.domain.runners import RunnerKey, normalise_model
from worker.errors import Conflict, NotFound, SettingsRefused
from worker.records import record
from worker.storage.engine import Connection, Database
from worker.storage.host_rows import HostRow, read_hosts
from worker.storage.hosts import lock_fleet
from worker.storage.model_operations import begin_models, jobs_of_model, list_model_operations
from worker.storage.reports import DiskModel, list_models

_LONGEST_NAME = 600
_NAME = re.compile(r"[a-z0-9_][a-z0-9._/:-]*")


@record
class FleetModel:
    """A model, as each host that has it tells."""

    name: str
    hosts: tuple[DiskModel, ...]
    loaded: frozenset[str]
    """Hosts that have it loaded, as far as those who serve them know."""

    @property
    def drifts(self) -> bool:
        """The name stands for different weights or settings on different hosts: the digest is what a model is."""
        return len({known.digest for known in self.hosts}) > 1


def fleet_models(conn: Connection, rows: Sequence[HostRow]) -> list[FleetModel]:
    """The models of these hosts by name, as they were last looked at."""
    names = {row.name for row in rows}
    held = {(row.name, RunnerKey.parse(key).model) for row in rows for key in row.residents}
    by_name: dict[str, list[DiskModel]] = {}
    for known in list_models(conn):
        if known.host in names:
            by_name.setdefault(known.name, []).append(known)
    return [
        FleetModel(name, tuple(hosts), frozenset(known.host for known in hosts if (known.host, name) in held))
        for name, hosts in sorted(by_name.items())
    ]


def model_name(text: str) -> str:
    """A model's name as hosts list it. Raises SettingsRefused for what no host takes for one."""
    name = normalise_model(text)
    if not _NAME.fullmatch(name) or len(name) > _LONGEST_NAME:
        raise SettingsRefused(
            f"{text[:100]!r} is not the name of a model. Expected one such as qwen3:8b, team/model:tag or "
            "registry.example/team/model:tag"
        )
    return name


def spellings(texts: Sequence[str]) -> dict[str, str]:
    """Names as they were written, by their names as hosts list them, where these differ in more than a tag: a registry may
    distinguish the case that hosts do not.

    >>> spellings(["qwen3", "hf.co/Qwen/Qwen3-0.6B-GGUF:Q8_0"])
    {'hf.co/qwen/qwen3-0.6b-gguf:q8_0': 'hf.co/Qwen/Qwen3-0.6B-GGUF:Q8_0'}
    """
    written = (text.strip() for text in texts)
    return {model_name(text): text for text in written if text != text.lower()}


def hosts_that_have(conn: Connection, models: Sequence[str], among: Sequence[HostRow]) -> list[str]:
    """The hosts among these that have one of the models. Raises NotFound where none has."""
    have = {known.host for known in list_models(conn) if known.name in models}
    names = [row.name for row in among if row.name in have]
    if not names:
        places = ", ".join(row.name for row in among) or "no host was added"
        raise NotFound(
            f"no host has {' or '.join(models)} (looked at: {places}); caravan models list shows what there is"
        )
    return names


def begin(
    database: Database,
    verb: ModelVerb,
    models: Sequence[str],
    on_hosts: Sequence[str],
    *,
    arguments: Mapping[str, Any],
    clock: Clock,
    principal: str | None = None,
) -> ModelOperation:
    """Decide an operation; whoever serves the hosts works it off. The same one that goes on already is returned.

    Raises Conflict where jobs use a model that is to be removed, unless it is forced, and where another operation on one of
    the models goes on.
    """
    arguments_given = {name: value for name, value in arguments.items() if value not in (None, False)}

    def decide(conn: Connection) -> ModelOperation:
        lock_fleet(conn)  # two commands at once must not begin the same thing twice
        if verb is ModelVerb.REMOVE and not arguments_given.get("force"):
            for model in models:
                _refuse_in_use(conn, model, on_hosts)
        return begin_models(
            conn, verb, models, on_hosts, arguments=arguments_given, now=clock.now(), principal=principal
        )

    return database.transact(decide)


def begin_pull(
    database: Database,
    models: Sequence[str],
    on_hosts: Sequence[str],
    *,
    clock: Clock,
    principal: str | None = None,
) -> list[ModelOperation]:
    """Have models pulled that jobs wait for; a model that an operation brings to one of these hosts already is left to that
    one. Returns the operations that bring them. Raises Conflict where a model is just being removed or moved there.
    """

    def decide(conn: Connection) -> list[ModelOperation]:
        lock_fleet(conn)
        under_way = [
            operation
            for operation in list_model_operations(conn, open_only=True)
            if operation.verb in BRINGS
            and any(
                part.is_open and part.host in on_hosts and part.model in models for part in operation.parts
            )
        ]
        coming = {part.model for operation in under_way for part in operation.parts if part.is_open}
        missing = [model for model in models if model not in coming]
        if not missing:
            return under_way
        begun = begin_models(
            conn, ModelVerb.PULL, missing, on_hosts, arguments={}, now=clock.now(), principal=principal
        )
        return [*under_way, begun]

    return database.transact(decide)


def _refuse_in_use(conn: Connection, model: str, on_hosts: Sequence[str]) -> None:
    jobs = jobs_of_model(conn, model)
    if not jobs:
        return
    others = sorted(
        known.host for known in list_models(conn) if known.name == model and known.host not in on_hosts
    )
    left = f"{', '.join(others)} would still have it" if others else "no other host has it"
    counts = ", ".join(count_of(n, f"{state} job") for state, n in sorted(jobs.items()))
    raise Conflict(
        f"{model} is in use: {counts}; {left}. --force removes it once no call of it runs, and jobs that no host can "
        f"do are held until it is pulled again"
    )


def why_it_waits(part: ModelPart, row: HostRow | None, *, caring: bool) -> str:
    """Why a part does not go on now; empty where it does. ``caring``: this process serves the host."""
    if not part.is_open or row is None:
        return ""
    if row.error and row.unreachable_since is not None:
        return f"cannot be reached: {row.error}"
    if row.in_quarantine:
        return f"is in quarantine: {row.quarantine_reason}"
    if row.closed and not part.at_any_time:
        opens = "" if row.opens_at is None else f" until {row.opens_at.astimezone():%a %H:%M}"
        return f"is closed{opens}; --now does not wait for its hours"
    if part.error:
        again = "" if part.next_at is None else f"; it is tried again at {part.next_at.astimezone():%H:%M:%S}"
        return f"{part.error}{again}"
    if part.state is PartState.WAITING and not caring and not row.serving:
        return "waits for whoever serves it"
    return ""


def rows_of(conn: Connection, database: Database) -> dict[str, HostRow]:
    """All hosts by name."""
    return {row.name: row for row in read_hosts(conn, database.clock().now())}

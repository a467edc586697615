"""Turns what the database says of a host into what the policy knows of it: for the loop that serves, and for whoever explains."""

from collections.abc import Collection, Iterable, Mapping, Sequence

from worker.policy.coalesce import Group, coalesce
from worker.policy.facts import HostFacts
from worker.storage.host_rows import HostRow


def host_facts(
    row: HostRow,
    *,
    slots: int,
    resident: Mapping[str, int],
    speed: float = 1.0,
    loads: Mapping[str, float] | None = None,
) -> HostFacts:
    """The facts of a host. ``resident``: runner keys that it has loaded → jobs in flight of each; ``speed`` and ``loads``
    are what was learned of it."""
    return HostFacts(
        name=row.name,
        slots=slots,
        resident=resident,
        speed=speed,
        models_at_once=row.host.models_at_once,
        memory=row.host.memory,
        sizes={key: size for key, size in row.residents.items() if size is not None},
        loading=row.intent,
        loading_until=None if row.intent_until is None else row.intent_until.timestamp(),
        loading_starved=row.intent_starved,
        serving=row.serving,
        models=row.models if row.looked else None,
        blocked={key: until.timestamp() for key, until in row.blocked.items()},
        draining=row.takes_nothing,
        loads={} if loads is None else loads,
        loaded_at=None if row.loaded_at is None else row.loaded_at.timestamp(),
        loaded_seconds=row.loaded_seconds or 0.0,
    )


def groups_of(
    queued: Sequence[str], row: HostRow, peers: Collection[HostRow], weights: Mapping[str, str]
) -> list[Group]:
    """The queued runner keys by the runner that would serve them on the host of ``row``."""
    return coalesce(
        queued,
        resident=list(row.residents),
        elsewhere={
            key for other in peers if other.serving for key in (*other.residents, other.intent) if key
        },
        blocked=list(row.blocked),
        weights=weights,
    )


def memory_of(own: int | None, elsewhere: Iterable[int], *, size: int | None) -> int | None:
    """Bytes that a runner takes on a host: as seen there, else the most that it took on others, else its model's on disk.

    >>> memory_of(5, [7, 6], size=4), memory_of(None, [7, 6], size=4), memory_of(None, [], size=4)
    (5, 7, 4)
    """
    return own or max(elsewhere, default=size)

"""The hosts that a command or a call means."""

import os
from collections.abc import Sequence
from dataclasses import replace

from worker.domain.address import host_address, host_name
from worker.domain.hosts import Host
from worker.storage.engine import Database
from worker.storage.host_rows import read_hosts
from worker.storage.hosts import get_host, host_at

DEFAULT_HOST = "http://127.0.0.1:11434"


def ollama_host() -> str:
    """The host that Ollama's own tools would use."""
    return os.environ.get("OLLAMA_HOST", "").strip() or DEFAULT_HOST  # noqa: TID251 - Ollama's variable


def permanent_hosts(database: Database) -> list[Host]:
    """The hosts that were added for good and take work."""
    with database.read() as conn:
        rows = read_hosts(conn, database.clock().now())
    return [row.host for row in rows if row.kept and not row.host.draining]


def select_hosts(database: Database, places: Sequence[str] | None, slots: int | None) -> list[Host]:
    """Hosts by URL, or by the name they were added with; where none is named all that were added, else the one at
    OLLAMA_HOST. Raises ValueError for what is neither a name nor a URL.
    """
    places = [places] if isinstance(places, str) else places
    hosts = [] if places else permanent_hosts(database)
    if not hosts:
        with database.read() as conn:
            names = {row.host.name for row in read_hosts(conn, database.clock().now())}
            for place in places or [ollama_host()]:
                if place in names:
                    hosts.append(get_host(conn, place))
                else:
                    address = host_address(place)
                    new = Host(host_name(address), address, auto_slots=True)
                    hosts.append(host_at(conn, address) or new)
    return [host if slots is None else replace(host, slots=slots, auto_slots=False) for host in hosts]

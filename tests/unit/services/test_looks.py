"""Hosts are looked at together."""

import threading
from typing import Any, cast

from worker.domain.hosts import Host
from worker.errors import Code, HostError
from worker.hosts.registry import look_at_all
from worker.ollama.client import OllamaHost


class Together:
    """A host that answers once all of them are asked."""

    def __init__(self, host: Host, barrier: threading.Barrier) -> None:
        self.host, self.barrier = host, barrier

    def version(self) -> str:
        self.barrier.wait(10)
        if self.host.name == "gpu-2":
            raise HostError(Code.HOST_UNREACHABLE, "refused")
        return f"0.33-{self.host.name}"

    def models(self) -> list[Any]:
        return []

    def close(self) -> None:
        """Nothing is open."""


def test_all_hosts_are_looked_at_at_once_and_come_back_in_their_order() -> None:
    hosts = [Host(f"gpu-{n}", f"http://gpu-{n}:11434", slots=1) for n in range(4)]
    barrier = threading.Barrier(len(hosts))

    looks = look_at_all(hosts, open_host=lambda host: cast(OllamaHost, Together(host, barrier)))

    assert [look.version for look in looks] == ["0.33-gpu-0", "0.33-gpu-1", None, "0.33-gpu-3"]
    assert [look.error for look in looks] == [None, None, "refused", None]

"""Runs each periodic service once, in the order of the real list; what a service raises is raised."""

from collections import Counter
from collections.abc import Collection, Sequence
from datetime import timedelta

from worker.clock import Clock
from worker.dispatch.services import batch_services, urgent_services
from worker.maintenance.service import Service
from worker.storage.engine import Database


def run_services(database: Database, clock: Clock, services: Sequence[Service]) -> Counter[str]:
    """What all of them changed, by the words of their counts."""
    total: Counter[str] = Counter()
    for service in services:
        total.update(service.run_once(database, clock))
    return total


def tick(database: Database, *, clock: Clock, lease: float | None = None) -> Counter[str]:
    """One pass of the core's urgent services."""
    return run_services(database, clock, urgent_services(lease=lease, wake=lambda hosts: None))


def tidy(
    database: Database,
    *,
    clock: Clock,
    hosts: Collection[str] | None = None,
    batch_id: int | None = None,
    keep: timedelta | None = None,
) -> Counter[str]:
    """One pass of the core's chores."""
    return run_services(database, clock, batch_services(keep=keep, hosts=lambda: hosts, batch_id=batch_id))

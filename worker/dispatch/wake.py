"""Asking a host's worker to look at the database."""

from collections.abc import Iterable

from celery import Celery
from kombu.exceptions import OperationalError

from worker.dispatch.app import host_queue
from worker.observability.events import emit

PRODUCER_SECONDS = 3.0
"""How long who submits waits for a broker that says nothing: its batch is stored, and the next tick wakes the hosts."""


def wake_hosts(app: Celery, hosts: Iterable[str]) -> int:
    """Publish a wake-up for each host, after the commit; returns how many went out.

    It does not expire: that would be a time by the clock of this machine. A broker that is away costs seconds (its
    time-outs) and nothing else: the next tick finds the rows.
    """
    woken = 0
    for host in hosts:
        try:
            # nobody waits for its result: else Celery asks the store of results too, and gives up with a RuntimeError
            app.send_task("caravan.serve", args=[host], queue=host_queue(host), ignore_result=True)
        except (OperationalError, OSError) as error:
            emit("broker.unavailable", message=str(error))
            return woken
        woken += 1
    return woken

"""Queues the messages about the end of a firing."""

from datetime import datetime

from worker.domain.notices import Addressee, Channel, When
from worker.domain.schedules import ScheduleSpec
from worker.storage.engine import Connection
from worker.storage.notices import promise_of_firing


def addressees(spec: ScheduleSpec) -> tuple[Addressee, ...]:
    """Those whom a schedule names."""
    when: When = "always" if spec.notify == "always" else "failure"
    return (
        *(Addressee(Channel.MAIL, address, when) for address in spec.mail_to),
        *(Addressee(Channel.WEBHOOK, address, when, spec.webhook_key) for address in spec.webhook),
        *((Addressee(Channel.COMMAND, spec.command, when),) if spec.command else ()),
    )


def promise(conn: Connection, firing_id: int, spec: ScheduleSpec, *, now: datetime) -> None:
    """Tell them, in the transaction that ends the firing: either both happen or neither."""
    promise_of_firing(conn, firing_id, addressees(spec), now=now)

"""Who is to be told of which batch or firing: an outbox. What stands here is sent at least once, whoever dies in between."""

import uuid
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from sqlalchemy import Row, Select, bindparam, exists, insert, or_, select, update
from sqlalchemy.engine import Connection

from worker.domain.notices import Addressee, Channel, Notice, NoticeState
from worker.errors import UnreadableRow
from worker.records import from_row
from worker.storage.tables import batches, notices, operations
from worker.storage.types import UtcTime
from worker.storage.unreadable import readable, reading_row, unreadable

LEASE = timedelta(minutes=2)
"""How long one who took a notice may be about it, before somebody else tries."""


def promise_notices(conn: Connection, batch_id: int, to: Collection[Addressee], *, now: datetime) -> None:
    """Tell these when the batch is over. Saying it again changes nothing but when and with which key; of a batch that
    goes on they get another message."""
    goes_on = conn.scalar(select(batches.c.finished_at.is_(None)).where(batches.c.id == batch_id))
    again = {"state": str(NoticeState.WAITING), "tries": 0, "next_at": now, "settled_at": None, "error": None}
    for addressee in to:
        changed = conn.execute(
            update(notices)
            .where(
                notices.c.batch_id == batch_id,
                notices.c.channel == str(addressee.channel),
                notices.c.target == addressee.target,
            )
            .values(on_what=addressee.when, secret=addressee.secret)
        )
        if changed.rowcount and goes_on:
            conn.execute(
                update(notices)
                .where(
                    notices.c.batch_id == batch_id,
                    notices.c.channel == str(addressee.channel),
                    notices.c.target == addressee.target,
                    notices.c.state != str(NoticeState.WAITING),
                )
                .values(**again, message_id=_message_id())
            )
        if not changed.rowcount:
            conn.execute(
                insert(notices).values(
                    batch_id=batch_id,
                    channel=str(addressee.channel),
                    target=addressee.target,
                    on_what=addressee.when,
                    secret=addressee.secret,
                    message_id=_message_id(),
                    state=str(NoticeState.WAITING),
                    next_at=now,
                )
            )


def promise_of_firing(conn: Connection, firing_id: int, to: Collection[Addressee], *, now: datetime) -> None:
    """Tell these of a firing, in the transaction that ends it."""
    if not to:
        return
    conn.execute(
        insert(notices),
        [
            {
                "firing_id": firing_id,
                "channel": str(notice.channel),
                "target": notice.target,
                "on_what": notice.when,
                "secret": notice.secret,
                "message_id": _message_id(),
                "state": str(NoticeState.WAITING),
                "next_at": now,
            }
            for notice in dict.fromkeys(to)
        ],
    )


def due_notices(
    conn: Connection,
    *,
    now: datetime,
    limit: int,
    batch_id: int | None = None,
    firing_id: int | None = None,
) -> Sequence[Notice]:
    """Those whose batch or firing is over and whose next try is due, the oldest first."""
    query = (
        _notices()
        .outerjoin(batches, batches.c.id == notices.c.batch_id)
        .where(
            notices.c.state == str(NoticeState.WAITING),
            notices.c.channel.in_([str(channel) for channel in Channel]),  # not those of a newer version
            notices.c.next_at <= bindparam("now", now, type_=UtcTime),
            or_(notices.c.batch_id.is_(None), batches.c.state.in_(("finished", "cancelled"))),
            # while its rows still follow, its counts are not those that it comes to
            ~exists().where(operations.c.batch_id == notices.c.batch_id, operations.c.ended_at.is_(None)),
        )
        .order_by(notices.c.next_at)
        .limit(limit)
    )
    if batch_id is not None:
        query = query.where(notices.c.batch_id == batch_id)
    if firing_id is not None:
        query = query.where(notices.c.firing_id == firing_id)
    return readable(conn.execute(query), _notice)


def list_notices(conn: Connection, batch_id: int) -> Sequence[Notice]:
    """All of a batch, and of the firing that it is of."""
    from worker.storage.tables.schedules import firings

    of_firing = select(firings.c.id).where(firings.c.batch_id == batch_id)
    query = (
        _notices()
        .where(or_(notices.c.batch_id == batch_id, notices.c.firing_id.in_(of_firing)))
        .order_by(notices.c.id)
    )
    return readable(conn.execute(query), _notice)


def take_notice(conn: Connection, notice: Notice, *, now: datetime) -> bool:
    """Be the one that sends it; False where somebody else is."""
    taken = conn.execute(
        update(notices)
        .where(
            notices.c.id == notice.id,
            notices.c.state == str(NoticeState.WAITING),
            notices.c.next_at == notice.next_at,
        )
        .values(next_at=now + LEASE, tries=notices.c.tries + 1)
    )
    return bool(taken.rowcount)


def settle_notice(
    conn: Connection,
    notice_id: int,
    state: NoticeState,
    *,
    now: datetime,
    error: str | None = None,
    next_at: datetime | None = None,
) -> None:
    """What came of a try; ``next_at``: when it is tried again."""
    conn.execute(
        update(notices)
        .where(notices.c.id == notice_id)
        .values(
            state=str(state),
            error=error,
            next_at=next_at or now,
            settled_at=None if state is NoticeState.WAITING else now,
        )
    )


def _message_id() -> str:
    return f"msg_{uuid.uuid4().hex}"


def _notices() -> Select[tuple[object, ...]]:
    return select(notices)


def _notice(row: Row[tuple[object, ...]]) -> Notice:
    with reading_row("notices", row.id):
        return from_row(
            Notice,
            row,
            to=Addressee(Channel(row.channel), row.target, row.on_what, row.secret),
            state=NoticeState(row.state),
        )


def unreadable_notices(conn: Connection) -> list[UnreadableRow]:
    """Notices that wait and that this version cannot read."""
    waiting = _notices().where(notices.c.state == str(NoticeState.WAITING))
    return unreadable(conn.execute(waiting), _notice)

"""Sends the messages about batches and firings that are over.

Sent at least once: a notice is taken for two minutes, sent, and then settled; who dies in between leaves it to the next.
"""

import json
from dataclasses import asdict
from datetime import UTC, datetime

from worker.clock import Clock
from worker.domain.notices import Addressee, Channel, Means, Message, News, Notice, NoticeState
from worker.errors import NotFound, SettingsRefused
from worker.notify.bounded import DeliveryError
from worker.notify.command import run_command
from worker.notify.mail import mail_addresses, mail_server, send_mail
from worker.notify.webhook import Gone, post, webhook_key, webhook_url
from worker.observability.events import emit
from worker.ollama.secrets import resolved
from worker.policy.notices import headline, letter, next_wait
from worker.records import record
from worker.schedules.report import message_of_firing
from worker.storage.answers import answer_counts
from worker.storage.batches import get_batch
from worker.storage.counts import batch_progress
from worker.storage.engine import Connection, Database
from worker.storage.notices import due_notices, settle_notice, take_notice
from worker.storage.reports import failures_by_code
from worker.storage.results import model_figures

AT_ONCE = 20
"""Notices that are looked at in one pass."""


@record
class Delivered:
    """What one pass did."""

    sent: int = 0
    failed: int = 0


def check_addressee(to: Addressee, means: Means) -> None:
    """Raise SettingsRefused for one who could never be told."""
    match to.channel:
        case Channel.WEBHOOK:
            webhook_url(to.target)
        case Channel.MAIL:
            mail_addresses(to.target, "--mail-to")
            if not means.telling.smtp_url:
                raise SettingsRefused("--mail-to needs a mail server: set CARAVAN_SMTP_URL")
            mail_server(means.telling.smtp_url)
        case Channel.COMMAND:
            if not means.commands:
                raise SettingsRefused(
                    "--notify-command: this fleet runs no commands; CARAVAN_NOTIFY_COMMANDS=true allows it"
                )


def read_news(conn: Connection, batch_id: int) -> News:
    """What came of a batch. Raises NotFound."""
    batch = get_batch(conn, batch_id)
    figures = model_figures(conn, batch_id)
    return News(
        batch=batch.id,
        key=batch.key,
        name=batch.name,
        state=str(batch.state),
        counts={str(state): n for state, n in batch_progress(conn, batch_id).counts.items() if n},
        failures=failures_by_code(conn, batch_id),
        created_at=batch.created_at,
        finished_at=batch.finished_at or batch.created_at,
        prompt_tokens=sum(figure.prompt_tokens for figure in figures),
        output_tokens=sum(figure.output_tokens for figure in figures),
        eval_seconds=sum(figure.eval_seconds for figure in figures),
        answers=answer_counts(conn, batch_id),
    )


def message_of(news: News) -> Message:
    """The message about a batch."""
    return Message(
        event=news.event,
        summary=headline(news),
        text=letter(news),
        data={
            "batch": news.batch,
            "key": news.key,
            "name": news.name,
            "state": news.state,
            "summary": headline(news),
            "counts": dict(news.counts),
            "failures": dict(news.failures),
            "answers": asdict(news.answers),
            "created_at": news.created_at.isoformat(),
            "finished_at": news.finished_at.isoformat(),
            "seconds": round(news.seconds, 3),
            "prompt_tokens": news.prompt_tokens,
            "output_tokens": news.output_tokens,
            "eval_seconds": round(news.eval_seconds, 3),
            **news.more,
        },
        is_bad=news.is_bad,
        about={"BATCH_EVENT": news.event, "BATCH": str(news.batch), "BATCH_SUMMARY": headline(news)},
    )


def body(message: Message, *, at: datetime) -> bytes:
    """Of a webhook, and what a command reads: type, timestamp and data, as Standard Webhooks has it."""
    plain = {
        "type": message.event,
        "timestamp": at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "data": message.data,
    }
    return json.dumps(plain, ensure_ascii=False, separators=(",", ":"), default=str).encode()


def deliver_notices(
    database: Database,
    *,
    clock: Clock,
    means: Means,
    batch_id: int | None = None,
    firing_id: int | None = None,
) -> Delivered:
    """Tell those that are to be told by now, or of these those of one batch or firing. Raises DatabaseUnavailable."""
    now = clock.now()
    with database.read() as conn:
        due = due_notices(conn, now=now, limit=AT_ONCE, batch_id=batch_id, firing_id=firing_id)
    sent = failed = 0
    for notice in due:
        if notice.to.channel is Channel.COMMAND and not means.commands:
            continue  # somebody else may run it
        with database.write() as conn:
            taken = take_notice(conn, notice, now=clock.now())
        if not taken:
            continue
        if _deliver(database, notice, clock=clock, means=means):
            sent += 1
        else:
            failed += 1
    return Delivered(sent, failed)


def _deliver(database: Database, notice: Notice, *, clock: Clock, means: Means) -> bool:
    try:
        message = _message(database, notice, now=clock.now())
    except NotFound:
        return True  # it was deleted meanwhile, and its notices with it
    about = {"batch": notice.batch_id, "firing": notice.firing_id, "channel": str(notice.to.channel)}
    if notice.to.when == "failure" and not message.is_bad:
        with database.write() as conn:
            settle_notice(conn, notice.id, NoticeState.SKIPPED, now=clock.now())
        return True
    try:
        _send(notice, message, now=clock.now(), means=means)
    except (DeliveryError, SettingsRefused) as error:
        tries = notice.tries + 1
        wait = None if isinstance(error, Gone) else next_wait(tries)
        state = NoticeState.GIVEN_UP if wait is None else NoticeState.WAITING
        now = clock.now()
        with database.write() as conn:
            settle_notice(
                conn,
                notice.id,
                state,
                now=now,
                error=str(error)[:1000],
                next_at=None if wait is None else now + wait,
            )
        emit("notice.given_up" if wait is None else "notice.failed", **about, tries=tries, message=str(error))
        return False
    with database.write() as conn:
        settle_notice(conn, notice.id, NoticeState.DELIVERED, now=clock.now())
    emit("notice.delivered", **about)
    return True


def _message(database: Database, notice: Notice, *, now: datetime) -> Message:
    if notice.firing_id is not None:
        return message_of_firing(database, notice.firing_id, now=now)
    assert notice.batch_id is not None  # the table's check ``about``
    with database.read() as conn:
        return message_of(read_news(conn, notice.batch_id))


def _send(notice: Notice, message: Message, *, now: datetime, means: Means) -> None:
    to = notice.to
    match to.channel:
        case Channel.WEBHOOK:
            secret = _value(to.secret or means.webhook_key)
            key = webhook_key(secret) if secret else None
            post(to.target, body(message, at=now), message_id=notice.message_id, at=now, key=key)
        case Channel.MAIL:
            if not means.telling.smtp_url:
                raise DeliveryError("CARAVAN_SMTP_URL is not set where notices are sent")
            server = mail_server(means.telling.smtp_url)
            password = None if server.secret is None else resolved(server.secret)
            send_mail(
                server,
                mail_addresses(to.target),
                subject=message.summary,
                text=message.text,
                password=password,
            )
        case Channel.COMMAND:
            run_command(to.target, body(message, at=now), about=message.about)


def _value(secret: str) -> str:
    return resolved(secret) if secret.startswith(("env:", "file:")) else secret

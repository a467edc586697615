"""Who wanted to know that a batch is over, and is told now?

Sent at least once: a notice is taken for two minutes, sent, and then settled; who dies in between leaves it to the next.
"""

import json
from dataclasses import dataclass
from datetime import UTC, datetime

from worker.clock import Clock
from worker.domain.notices import Addressee, Channel, Means, News, Notice, NoticeState
from worker.errors import SettingsRefused
from worker.notify.bounded import NotSent
from worker.notify.command import run_command
from worker.notify.mail import mail_addresses, mail_server, send_mail
from worker.notify.webhook import Gone, post, webhook_key, webhook_url
from worker.observability.events import emit
from worker.ollama.secrets import resolved
from worker.policy.notices import headline, letter, next_wait
from worker.storage.batches import get_batch
from worker.storage.counts import batch_progress
from worker.storage.engine import Connection, Database
from worker.storage.notices import due_notices, settle_notice, take_notice
from worker.storage.reports import failures_by_code
from worker.storage.results import model_figures

AT_ONCE = 20
"""Notices that are looked at in one pass."""


@dataclass(frozen=True, slots=True)
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
            mail_addresses(to.target)
            if not means.telling.smtp_url:
                raise SettingsRefused("--mail-to: CARAVAN_SMTP_URL says through which server; it is not set")
            mail_server(means.telling.smtp_url)
        case Channel.COMMAND:
            if not means.commands:
                raise SettingsRefused(
                    "--notify-command: nobody runs commands on this fleet; CARAVAN_NOTIFY_COMMANDS=true allows it"
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
        prompt_tokens=sum(one.prompt_tokens for one in figures),
        output_tokens=sum(one.output_tokens for one in figures),
        eval_seconds=sum(one.eval_seconds for one in figures),
    )


def message(news: News, *, at: datetime) -> bytes:
    """The body of a webhook, and what a command reads: type, timestamp and data, as Standard Webhooks has it."""
    plain = {
        "type": news.event,
        "timestamp": at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "data": {
            "batch": news.batch,
            "key": news.key,
            "name": news.name,
            "state": news.state,
            "summary": headline(news),
            "counts": dict(news.counts),
            "failures": dict(news.failures),
            "created_at": news.created_at.isoformat(),
            "finished_at": news.finished_at.isoformat(),
            "seconds": round(news.seconds, 3),
            "prompt_tokens": news.prompt_tokens,
            "output_tokens": news.output_tokens,
            "eval_seconds": round(news.eval_seconds, 3),
            **news.more,
        },
    }
    return json.dumps(plain, ensure_ascii=False, separators=(",", ":")).encode()


def deliver_notices(
    database: Database, *, clock: Clock, means: Means, batch_id: int | None = None, limit: int = AT_ONCE
) -> Delivered:
    """Tell those that are to be told by now. Raises DatabaseUnavailable."""
    now = clock.now()
    with database.read() as conn:
        due = due_notices(conn, now=now, limit=limit, batch_id=batch_id)
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
    with database.read() as conn:
        news = read_news(conn, notice.batch_id)
    told = {"batch": notice.batch_id, "channel": str(notice.to.channel)}
    if notice.to.when == "failure" and not news.is_bad:
        with database.write() as conn:
            settle_notice(conn, notice.id, NoticeState.SKIPPED, now=clock.now())
        return True
    try:
        _send(notice, news, now=clock.now(), means=means)
    except (NotSent, SettingsRefused) as error:
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
        emit("notice.given_up" if wait is None else "notice.failed", **told, tries=tries, message=str(error))
        return False
    with database.write() as conn:
        settle_notice(conn, notice.id, NoticeState.DELIVERED, now=clock.now())
    emit("notice.delivered", **told)
    return True


def _send(notice: Notice, news: News, *, now: datetime, means: Means) -> None:
    to = notice.to
    match to.channel:
        case Channel.WEBHOOK:
            secret = _value(to.secret or means.webhook_key)
            key = webhook_key(secret) if secret else None
            post(to.target, message(news, at=now), message_id=notice.message_id, at=now, key=key)
        case Channel.MAIL:
            if not means.telling.smtp_url:
                raise NotSent("CARAVAN_SMTP_URL is not set where notices are sent")
            server = mail_server(means.telling.smtp_url)
            password = None if server.secret is None else resolved(server.secret)
            send_mail(
                server,
                mail_addresses(to.target),
                subject=headline(news),
                text=letter(news),
                password=password,
            )
        case Channel.COMMAND:
            about = {
                "BATCH_EVENT": news.event,
                "BATCH": str(news.batch),
                "BATCH_SUMMARY": headline(news),
            }
            run_command(to.target, message(news, at=now), about=about)


def _value(secret: str) -> str:
    return resolved(secret) if secret.startswith(("env:", "file:")) else secret

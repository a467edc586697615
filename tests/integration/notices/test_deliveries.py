"""Those who are to be told that a batch is over, on both databases, by real servers and commands."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.clocks import FakeClock
from tests.integration.storage.conftest import NOW, Store, cancel_batch, new_job
from tests.servers.pinged import pinged_here
from tests.servers.smtp import mail_server_here
from worker.domain.attempts import Failed
from worker.domain.health import Telling
from worker.domain.notices import Addressee, Channel, Means, Notice, NoticeState
from worker.errors import Code, SettingsRefused
from worker.reports.notices import Delivered, check_addressee, deliver_notices
from worker.storage.batches import finish_batches
from worker.storage.notices import due_notices, list_notices, promise_notices, take_notice

MEANS = Means(Telling(), commands=True)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOW)


@pytest.fixture
def hook() -> Iterator[str]:
    with pinged_here() as seen:
        yield seen.url


def webhook(url: str, **more: object) -> Addressee:
    return replace(Addressee(Channel.WEBHOOK, f"{url}/hook"), **more)  # type: ignore[arg-type]


def promised(store: Store, *to: Addressee, jobs: int = 2) -> int:
    batch = store.submit(*(new_job(n + 1) for n in range(jobs)))
    with store.database.write() as conn:
        promise_notices(conn, batch, to, now=NOW)
    return batch


def end(store: Store, *, failed: int = 0) -> None:
    for n, job in enumerate(store.claim()):
        store.finish(job, Failed(Code.CUT, "cut") if n < failed else None)
    with store.database.write() as conn:
        finish_batches(conn, now=NOW)


def deliver(store: Store, clock: FakeClock, means: Means = MEANS) -> Delivered:
    return deliver_notices(store.database, clock=clock, means=means)


def notices(store: Store, batch: int) -> list[Notice]:
    with store.database.read() as conn:
        return list(list_notices(conn, batch))


def test_a_webhook_is_told_once_when_the_batch_is_over_and_not_before(store: Store, clock: FakeClock) -> None:
    with pinged_here() as seen:
        batch = promised(store, webhook(seen.url))
        assert deliver(store, clock) == Delivered()

        end(store, failed=1)

        assert deliver(store, clock) == Delivered(sent=1)
        assert deliver(store, clock) == Delivered()
    [(headers, body)] = seen.posts
    [notice] = notices(store, batch)
    said = json.loads(body)
    assert (notice.state, headers["webhook-id"]) == (NoticeState.DELIVERED, notice.message_id)
    assert said["type"] == "batch.finished"
    assert said["data"]["counts"] == {"succeeded": 1, "failed": 1}
    assert said["data"]["failures"] == {"cut": 1}
    assert said["data"]["summary"] == "b: 1 of 2 answered, 1 failed"


def test_a_receiver_that_is_away_is_tried_again_with_the_same_id_and_given_up_in_the_end(
    store: Store, clock: FakeClock
) -> None:
    with pinged_here(status=503) as seen:
        batch = promised(store, webhook(seen.url))
        end(store)

        assert deliver(store, clock) == Delivered(failed=1)
        assert deliver(store, clock) == Delivered(), "not before its time"
        clock.advance(6)
        assert deliver(store, clock) == Delivered(failed=1)
        for _ in range(8):
            clock.advance(24 * 3600 + 1)
            assert deliver(store, clock) == Delivered(failed=1)
        clock.advance(7 * 24 * 3600)
        assert deliver(store, clock) == Delivered()

    [notice] = notices(store, batch)
    assert (notice.state, notice.tries) == (NoticeState.GIVEN_UP, 10)
    assert notice.error is not None
    assert "503" in notice.error
    assert len({headers["webhook-id"] for headers, _ in seen.posts}) == 1


def test_a_receiver_that_says_410_is_asked_no_more(store: Store, clock: FakeClock) -> None:
    with pinged_here(status=410) as seen:
        batch = promised(store, webhook(seen.url))
        end(store)
        deliver(store, clock)

    assert notices(store, batch)[0].state == NoticeState.GIVEN_UP


def test_who_dies_while_sending_leaves_it_to_the_next(store: Store, clock: FakeClock) -> None:
    with pinged_here() as seen:
        promised(store, webhook(seen.url))
        end(store)
        with store.database.write() as conn:
            [notice] = due_notices(conn, now=NOW, limit=9)
            assert take_notice(conn, notice, now=NOW)
            assert not take_notice(conn, notice, now=NOW), "two send it not at once"

        assert deliver(store, clock) == Delivered()
        clock.advance(121)
        assert deliver(store, clock) == Delivered(sent=1)


def test_who_wants_failures_alone_hears_of_a_cancelled_batch_and_not_of_a_good_one(
    store: Store, clock: FakeClock
) -> None:
    with pinged_here() as seen:
        good = promised(store, webhook(seen.url, when="failure"))
        end(store)
        cancelled = promised(store, webhook(seen.url, when="failure"))
        with store.database.write() as conn:
            cancel_batch(conn, cancelled, now=NOW)
        deliver(store, clock)

    assert notices(store, good)[0].state == NoticeState.SKIPPED
    [(_, body)] = seen.posts
    assert json.loads(body)["type"] == "batch.cancelled"


def test_a_mail_says_what_came_of_it(store: Store, clock: FakeClock) -> None:
    with mail_server_here() as box:
        means = Means(Telling(smtp_url=f"smtp://127.0.0.1:{box.port}/?from=a@b.c&starttls=never"))
        promised(store, Addressee(Channel.MAIL, "ops@example.org"))
        end(store, failed=1)

        assert deliver(store, clock, means) == Delivered(sent=1)

    assert (box.subjects, box.recipients) == (["b: 1 of 2 answered, 1 failed"], ["ops@example.org"])
    assert "1 × cut" in box.mails[0].get_content()


def test_a_command_is_run_where_commands_are_allowed_and_waits_where_they_are_not(
    store: Store, clock: FakeClock, tmp_path: Path
) -> None:
    batch = promised(store, Addressee(Channel.COMMAND, f'cat > {tmp_path}/got; echo "$BATCH_SUMMARY"'))
    end(store)

    assert deliver(store, clock, Means(Telling())) == Delivered()
    assert deliver(store, clock) == Delivered(sent=1)

    assert json.loads((tmp_path / "got").read_text())["data"]["batch"] == batch


def test_a_key_that_is_not_here_is_said_and_the_notice_waits(
    store: Store, clock: FakeClock, hook: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = promised(store, webhook(hook, secret="env:HOOK_KEY"))
    end(store)

    assert deliver(store, clock) == Delivered(failed=1)
    [notice] = notices(store, batch)
    assert notice.error is not None
    assert "env:HOOK_KEY" in notice.error
    monkeypatch.setenv("HOOK_KEY", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    clock.advance(6)
    assert deliver(store, clock) == Delivered(sent=1)


def test_promised_again_it_is_told_once_and_of_a_batch_that_goes_on_once_more(
    store: Store, clock: FakeClock, hook: str
) -> None:
    batch = promised(store, webhook(hook))
    with store.database.write() as conn:
        promise_notices(conn, batch, [webhook(hook, when="failure")], now=NOW)
    assert [one.to.when for one in notices(store, batch)] == ["failure"]
    end(store, failed=1)
    deliver(store, clock)
    with store.database.write() as conn:
        promise_notices(conn, batch, [webhook(hook)], now=NOW)
    assert deliver(store, clock) == Delivered(), "it is over, and was told"

    from worker.domain.selection import Selection
    from worker.maintenance.actions import retry_jobs

    retry_jobs(store.database, Selection(batch_id=batch), clock=clock)
    with store.database.write() as conn:
        promise_notices(conn, batch, [webhook(hook)], now=NOW)

    assert notices(store, batch)[0].state == NoticeState.WAITING


@pytest.mark.parametrize(
    ("to", "match"),
    [
        (Addressee(Channel.WEBHOOK, "ftp://h"), "--webhook"),
        (Addressee(Channel.MAIL, "ops@example.org"), "CARAVAN_SMTP_URL"),
        (Addressee(Channel.MAIL, "nobody"), "not a valid mail address"),
        (Addressee(Channel.COMMAND, "true"), "CARAVAN_NOTIFY_COMMANDS"),
    ],
)
def test_who_could_never_be_told_is_refused_at_the_door(to: Addressee, match: str) -> None:
    with pytest.raises(SettingsRefused, match=match):
        check_addressee(to, Means(Telling()))

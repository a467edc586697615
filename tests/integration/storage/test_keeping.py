"""What goes, what stays, and what is left alone: pruned batches and deleted jobs."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from api_schemas.submissions import Submission
from tests.clocks import FakeClock
from tests.door import submit_file
from tests.integration.storage.conftest import NOW, Store, cancel_batch, ending, new_job, refuse_batch
from tests.maintenance import tidy
from worker.domain.attempts import Failed
from worker.domain.batches import BatchState
from worker.domain.jobs import JobState
from worker.domain.selection import Selection
from worker.errors import Code, Conflict, Problem
from worker.exports.results import result_lines
from worker.maintenance.keeping import (
    Gone,
    delete_jobs,
    due_batches,
    give_room_back,
    named_batches,
    prune,
    prune_due,
)
from worker.maintenance.number import number_all
from worker.serving.outbox import Outbox
from worker.serving.spool import Spool
from worker.storage import keeping
from worker.storage.arrivals import read_arrivals
from worker.storage.batches import batch_of_key, create_batch, finish_batches, get_batch
from worker.storage.check import check_database
from worker.storage.copy import copied_tables
from worker.storage.counts import fold_counts
from worker.storage.keeping import forget_jobs, prune_some

DAY = 86_400.0


def answered(store: Store, jobs: int = 4, *, failed: int = 1, **fields: Any) -> int:
    """A finished batch, numbered and counted: one of its jobs failed."""
    batch = store.submit(*(new_job(n, metadata={"customer": n % 2}, **fields) for n in range(1, jobs + 1)))
    claimed = store.claim(jobs)
    for job in claimed[:failed]:
        store.finish(job, Failed(Code.UNSUPPORTED, "no vision", partial="half of it"))
    for job in claimed[failed:]:
        store.finish(job, digest="d1")
    number_all(store.database)
    with store.database.write() as conn:
        fold_counts(conn)
        finish_batches(conn, now=store.now)
    return batch


def clock(store: Store) -> FakeClock:
    return FakeClock(store.now)


def no_rest(_: float) -> None:
    """Nobody is waited for in a test."""


def pruned(store: Store, *batches: int) -> Gone:
    return prune(store.database, batches, clock=clock(store), rest=no_rest)


def deleted(store: Store, chosen: Selection, **more: Any) -> Gone:
    return delete_jobs(store.database, [chosen], clock=clock(store), rest=no_rest, **more)


def promises(store: Store) -> list[str]:
    return [f"{one.name} {one.places}" for one in check_database(store.database, now=store.now) if one.broken]


def rows(store: Store, query: str, **values: Any) -> list[Any]:
    with store.database.read() as conn:
        return [tuple(row) for row in conn.execute(text(query), values)]


TEXTS = ("jobs", "payloads", "results", "attempts", "numbered_results", "fresh_results", "reusable")


def test_a_pruned_batch_keeps_its_counts_and_loses_its_texts(store: Store) -> None:
    batch = answered(store)
    before = rows(
        store, "SELECT jobs, succeeded, failed, output_tokens, gpu_seconds, cut FROM report_batches"
    )
    days = rows(store, "SELECT * FROM report_models_daily")

    gone = pruned(store, batch)

    assert gone == Gone(4, (batch,))
    assert [rows(store, f"SELECT count(*) FROM {table}") for table in TEXTS] == [[(0,)]] * len(TEXTS)
    assert store.counts() == {JobState.SUCCEEDED: 3, JobState.FAILED: 1}
    after = rows(store, "SELECT jobs, succeeded, failed, output_tokens, gpu_seconds, cut FROM report_batches")
    assert after == before and rows(store, "SELECT * FROM report_models_daily") == days
    assert rows(store, "SELECT pruned FROM report_batches WHERE pruned_at IS NOT NULL") == [(4,)]
    assert promises(store) == []


def test_a_pruned_batch_is_pruned_once(store: Store) -> None:
    batch = answered(store)
    pruned(store, batch)

    assert pruned(store, batch).jobs == 0
    assert named_batches(store.database, [batch]).batches == ()


@pytest.mark.parametrize(
    ("keep", "default", "after_days", "due"),
    [
        (None, None, 900, False),
        (None, 30, 29, False),
        (None, 30, 31, True),
        (7, None, 8, True),
        (7, 30, 6, False),
        (60, 30, 31, False),
        (0, 30, 900, False),
    ],
)
def test_a_batch_is_kept_as_long_as_it_says_or_else_as_all_are(
    store: Store, keep: int | None, default: int | None, after_days: int, due: bool
) -> None:
    batch = answered(store)
    with store.database.write() as conn:
        conn.execute(
            text("UPDATE batches SET keep_seconds = :keep"), {"keep": None if keep is None else keep * DAY}
        )
    store.later(after_days * DAY)

    found = due_batches(
        store.database, clock=clock(store), default=None if default is None else timedelta(days=default)
    )

    assert found.ids == ([batch] if due else [])
    assert found.jobs == (4 if due else 0)


def test_an_age_goes_before_what_batches_say_but_not_before_for_ever(store: Store) -> None:
    one, other = answered(store), answered(store)
    with store.database.write() as conn:
        conn.execute(text("UPDATE batches SET keep_seconds = 0 WHERE id = :id"), {"id": other})
    store.later(3 * DAY)

    found = due_batches(store.database, clock=clock(store), default=None, older_than=timedelta(days=2))

    assert found.ids == [one]


def test_a_batch_that_is_not_over_is_left_alone(store: Store) -> None:
    open_batch = store.submit(new_job(1), new_job(2))
    store.finish(store.claim(1)[0])
    store.later(900 * DAY)

    assert due_batches(store.database, clock=clock(store), default=timedelta(days=1)).ids == []
    assert pruned(store, open_batch) == Gone()
    with pytest.raises(Conflict, match="cancels it first"):
        named_batches(store.database, [open_batch])
    assert rows(store, "SELECT count(*) FROM jobs") == [(2,)]


def test_a_batch_that_is_opened_again_amid_a_prune_keeps_the_rest(store: Store) -> None:
    batch = answered(store, 6, failed=0)
    with store.database.write() as conn:
        prune_some(conn, batch, limit=2)
        conn.execute(text("UPDATE batches SET state = 'open', finished_at = NULL"))

    assert pruned(store, batch) == Gone()
    assert rows(store, "SELECT count(*) FROM jobs") == [(4,)]
    assert promises(store) == []


def test_the_chores_prune_what_is_due_within_their_time(store: Store) -> None:
    answered(store)
    store.later(31 * DAY)

    tidied = tidy(store.database, clock=clock(store), keep=timedelta(days=30))

    assert tidied["pruned"] == 4
    assert promises(store) == []


def test_a_pass_that_takes_too_long_leaves_the_rest_to_the_next(store: Store) -> None:
    answered(store)
    answered(store)
    store.later(31 * DAY)
    slow = clock(store)

    first = prune_due(store.database, clock=slow, default=timedelta(days=1), rest=lambda _: slow.advance(5))
    second = prune_due(store.database, clock=slow, default=timedelta(days=1), rest=no_rest)

    assert (first, second) == (4, 4)


def test_a_refused_batch_loses_its_lines(store: Store) -> None:
    with store.database.write() as conn:
        batch, _ = create_batch(conn, key="k", name="b", source=None, now=NOW)
        refuse_batch(conn, batch.id, [Problem(1, "prompt", "missing", "secret text")], now=NOW)

    pruned(store, batch.id)

    assert rows(store, "SELECT * FROM rejects") == []


def test_the_input_of_a_pruned_batch_can_be_asked_again(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text('{"prompt": "x", "model": "qwen3:8b"}\n')
    recipe = Submission()
    arguments: Any = {"clock": clock(store)}
    first = submit_file(store.database, path, recipe, keep="3d", **arguments).batch
    with store.database.write() as conn:
        cancel_batch(conn, first.id, now=store.now)
    pruned(store, first.id)

    again = submit_file(store.database, path, recipe, **arguments)

    assert again.created and again.batch.id != first.id
    with store.database.read() as conn:
        old = get_batch(conn, first.id)
        assert old.pruned_at == store.now
        assert batch_of_key(conn, again.batch.key) == again.batch
    assert rows(store, "SELECT recipe, keep_seconds FROM batches ORDER BY id")[0] == (None, 3 * DAY)


def test_a_changed_input_is_not_compared_with_a_batch_that_is_pruned(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text('{"prompt": "x", "model": "qwen3:8b"}\n')
    recipe = Submission()

    def nobody_is_asked(*_: Any) -> None:
        raise AssertionError("there is nothing to compare with")

    arguments: Any = {"clock": clock(store), "ask": nobody_is_asked}
    first = submit_file(store.database, path, recipe, **arguments).batch
    with store.database.write() as conn:
        conn.execute(text("UPDATE jobs SET state = 'succeeded', finished_at = submitted_at"))
        conn.execute(text("UPDATE batches SET state = 'finished', finished_at = created_at"))
    pruned(store, first.id)
    path.write_text('{"prompt": "y", "model": "qwen3:8b"}\n')

    changed = submit_file(store.database, path, recipe, **arguments)

    assert changed.created and changed.difference is None


def test_a_key_of_the_producers_own_stays_the_same_batch(store: Store) -> None:
    batch = store.submit(new_job(1), key="nightly-7")
    store.finish(store.claim()[0])
    with store.database.write() as conn:
        finish_batches(conn, now=store.now)
    pruned(store, batch)

    with store.database.write() as conn:
        found, created = create_batch(conn, key="nightly-7", name="b", source=None, now=store.now)

    assert (found.id, created) == (batch, False)


def test_a_reader_that_goes_on_from_a_number_misses_nothing_that_is_there(store: Store) -> None:
    answered(store)
    with store.database.read() as conn:
        cursor = max(number for number, _ in read_arrivals(conn, Selection(), after=0))
    pruned(store, store.batches[-1])
    answered(store)

    with store.database.read() as conn:
        page = read_arrivals(conn, Selection(), after=cursor)

    assert [number for number, _ in page] == [cursor + 1, cursor + 2, cursor + 3, cursor + 4]


# -- on request -------------------------------------------------------------------------------------------------------


def test_jobs_are_deleted_by_what_their_metadata_says(store: Store) -> None:
    batch = answered(store)

    gone = deleted(store, Selection(batch, metadata=(("customer", "1"),)))

    assert gone == Gone(2)
    assert [line["metadata"] for line in result_lines(store.database, Selection(batch))] == [
        {"customer": 0}
    ] * 2
    assert store.counts() == {JobState.SUCCEEDED: 3, JobState.FAILED: 1}
    assert promises(store) == []


@pytest.mark.parametrize(
    ("chosen", "left"),
    [
        ({"states": frozenset({JobState.FAILED})}, ["c2", "c3", "c4"]),
        ({"codes": frozenset({"unsupported"})}, ["c2", "c3", "c4"]),
        ({"custom_ids": frozenset({"c2", "c4"})}, ["c1", "c3"]),
        ({"models": frozenset({"other:1"})}, ["c1", "c2", "c3", "c4"]),
        ({}, []),
    ],
)
def test_jobs_are_deleted_by_what_is_said_of_them(
    store: Store, chosen: dict[str, Any], left: list[str]
) -> None:
    batch = answered(store)

    deleted(store, Selection(batch, **chosen))

    assert [line["custom_id"] for line in result_lines(store.database, Selection(batch))] == left
    assert promises(store) == []


def test_what_waits_is_cancelled_and_what_runs_is_ended_before_it_is_deleted(store: Store) -> None:
    batch = store.submit(new_job(1), new_job(2), new_job(3))
    running, done = store.claim(2)
    store.finish(done)

    gone = deleted(store, Selection(batch), wait=0)

    assert gone == Gone(3, (batch,))
    assert store.counts() == {JobState.CANCELLED: 2, JobState.SUCCEEDED: 1}
    assert store.finish(running).refused == [running.id]
    assert rows(store, "SELECT count(*) FROM attempts") == [(0,)]
    assert promises(store) == []


def test_what_was_answered_a_moment_ago_is_counted_before_it_goes(store: Store) -> None:
    batch = store.submit(new_job(1))
    store.finish(store.claim()[0])

    deleted(store, Selection(batch))

    assert rows(store, "SELECT output_tokens, jobs, pruned FROM report_batches") == [(4, 1, 1)]


def test_a_running_job_that_ends_in_time_is_not_cut_off(store: Store) -> None:
    batch = store.submit(new_job(1))
    [job] = store.claim()

    def worker_hangs_up(_: float) -> None:
        store.finish(job)

    time = clock(store)
    delete_jobs(store.database, [Selection(batch)], clock=time, rest=worker_hangs_up)

    assert store.counts() == {JobState.CANCELLED: 1}
    assert promises(store) == []


def test_what_lies_in_a_spool_of_a_deleted_job_is_not_stored(store: Store, tmp_path: Path) -> None:
    batch = store.submit(new_job(1))
    [job] = store.claim()
    spool = Spool(tmp_path / "gpu-1.jsonl")
    spool.write([ending(job)])
    deleted(store, Selection(batch), wait=0)

    outbox = Outbox(store.database, "gpu-1", clock=clock(store), spool=Spool(tmp_path / "gpu-1.jsonl"))

    assert outbox.flush() and outbox.accepted == 0
    assert rows(store, "SELECT count(*) FROM results") == [(0,)]
    assert not (tmp_path / "gpu-1.jsonl").exists()


def test_a_batch_some_of_whose_jobs_were_deleted_ends_with_the_others(store: Store) -> None:
    batch = store.submit(new_job(1), new_job(2))
    deleted(store, Selection(batch, custom_ids=frozenset({"c1"})))
    store.finish(store.claim()[0])

    with store.database.write() as conn:
        assert finish_batches(conn, now=store.now) == [batch]
    with store.database.read() as conn:
        found = get_batch(conn, batch)
    assert (found.state, found.pruned_at) == (BatchState.FINISHED, None)
    assert promises(store) == []


def test_no_row_of_a_deleted_job_is_left_in_any_table(store: Store) -> None:
    batch = answered(store)
    ids = [row[0] for row in rows(store, "SELECT id FROM jobs")]

    with store.database.write() as conn:
        assert forget_jobs(conn, batch, ids) == 4

    for table in copied_tables():
        for column in ("job_id", "id") if table.name == "jobs" else ("job_id",):
            if column in table.c:
                assert rows(store, f"SELECT count(*) FROM {table.name} WHERE {column} >= {ids[0]}") == [(0,)]


# -- beside the work --------------------------------------------------------------------------------------------------


@pytest.mark.thorough
def test_claims_and_finishes_go_on_beside_a_prune_and_a_delete(store: Store) -> None:
    old = answered(store, 3000, failed=10)
    asked = store.submit(*(new_job(n) for n in range(1, 1001)))
    stop = threading.Event()

    def work(token: str) -> int:
        total = 0
        while claimed := store.claim(20, token=token):
            for job in claimed:
                total += len(store.finish(job).accepted)
        return total

    def number() -> None:
        while not stop.is_set():
            number_all(store.database)

    with ThreadPoolExecutor(5) as pool:
        numbering = pool.submit(number)
        workers = [pool.submit(work, f"t{n}") for n in range(2)]
        pruning = pool.submit(prune, store.database, [old], clock=clock(store))
        deleting = pool.submit(
            delete_jobs,
            store.database,
            [Selection(asked, custom_ids=frozenset(f"c{n}" for n in range(1, 1001, 3)))],
            clock=clock(store),
            wait=0.0,
        )
        finished = sum(worker.result() for worker in workers)
        assert pruning.result().jobs == 3000
        assert deleting.result().jobs == 334
        stop.set()
        numbering.result()

    assert sum(store.counts(asked).values()) == 1000
    assert finished >= 666
    assert promises(store) == []


# -- room in a file ---------------------------------------------------------------------------------------------------


def test_a_file_of_sqlite_gets_smaller(store: Store) -> None:
    if store.database.dialect != "sqlite":
        pytest.skip("PostgreSQL gives the room to what comes next")
    batch = answered(store, 60, prompt="x" * 20_000)
    before = keeping.room(store.database)
    pruned(store, batch)

    given = give_room_back(store.database, clock=clock(store), rest=no_rest)

    assert before is not None and before.by_itself
    assert given > before.whole / 2


def test_deleted_text_is_not_in_the_file_any_more(store: Store) -> None:
    if store.database.dialect != "sqlite":
        pytest.skip("PostgreSQL overwrites it when the room is used again")
    batch = answered(store, 50, prompt="a secret of customer 4711 " * 400)
    file = Path(str(store.database.url.database))

    deleted(store, Selection(batch))

    left = b"".join(path.read_bytes() for path in file.parent.glob(f"{file.name}*"))
    assert b"secret of customer" not in left

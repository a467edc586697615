"""Outcomes on their way to the database: nothing that was generated is lost, nothing is stored twice."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import Connection

from tests.clocks import FakeClock
from tests.integration.storage.conftest import NOW, Store, ending, new_job
from worker.domain.attempts import Finish, Succeeded
from worker.domain.jobs import JobState
from worker.errors import DatabaseContended, DatabaseFailure, DatabaseRefused, DatabaseUnavailable
from worker.serving.outbox import Outbox, retry_rejected
from worker.serving.spool import REJECTED, Spool
from worker.storage.engine import Database
from worker.storage.finishes import Finished, finish_jobs


class Fickle:
    """A database that is away until it is told to be back."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.away = True
        self.error: DatabaseFailure = DatabaseUnavailable("the database is away")

    def transact(self, work: Callable[[Connection], Any]) -> Any:
        if self.away:
            raise self.error
        return self._database.transact(work)


@pytest.fixture
def fickle(store: Store) -> Fickle:
    return Fickle(store.database)


def an_outbox(database: Fickle, tmp_path: Path, clock: FakeClock) -> Outbox:
    return Outbox(database, "gpu-1", clock=clock, spool=Spool(tmp_path / "gpu-1.jsonl"))  # type: ignore[arg-type]


@pytest.mark.fault(11)
@pytest.mark.parametrize(
    "error", [DatabaseUnavailable("away"), DatabaseContended("deadlock"), DatabaseRefused("too slow")]
)
def test_what_cannot_be_stored_waits_on_disk_and_is_stored_when_the_database_takes_it(
    store: Store, fickle: Fickle, tmp_path: Path, error: DatabaseFailure
) -> None:
    fickle.error = error
    store.submit(new_job(1), new_job(2))
    clock = FakeClock(NOW)
    outbox = an_outbox(fickle, tmp_path, clock)

    outbox.add([ending(job) for job in store.claim()])
    assert not outbox.flush()
    assert (tmp_path / "gpu-1.jsonl").read_text().count("\n") == 2
    assert outbox.refusal is (error if isinstance(error, DatabaseUnavailable) else None), (
        "whoever looks on is told"
    )
    fickle.away = False
    clock.advance(2)

    assert outbox.flush()
    assert outbox.refusal is None
    assert store.counts() == {JobState.SUCCEEDED: 2}
    assert not (tmp_path / "gpu-1.jsonl").exists()


def test_outcomes_that_take_too_long_together_are_stored_one_by_one(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def finish_few(conn: Connection, group: Sequence[Finish], **more: Any) -> Finished:
        if len(group) > 1:
            raise DatabaseRefused("statement timeout")
        return finish_jobs(conn, group, **more)

    monkeypatch.setattr("worker.serving.outbox.finish_jobs", finish_few)
    store.submit(new_job(1), new_job(2), new_job(3))
    outbox = Outbox(store.database, "gpu-1", clock=FakeClock(NOW), spool=Spool(tmp_path / "gpu-1.jsonl"))

    outbox.add([ending(job) for job in store.claim()])

    assert outbox.flush()
    assert store.counts() == {JobState.SUCCEEDED: 3}


@pytest.mark.fault(11)
def test_a_worker_that_dies_while_the_database_is_away_leaves_its_text_to_the_next_one(
    store: Store, fickle: Fickle, tmp_path: Path
) -> None:
    store.submit(new_job(1))
    dying = an_outbox(fickle, tmp_path, FakeClock(NOW))
    dying.add([ending(job) for job in store.claim()])
    dying.close()
    fickle.away = False

    after = an_outbox(fickle, tmp_path, FakeClock(NOW))

    assert after.flush()
    assert (after.accepted, store.counts()) == (1, {JobState.SUCCEEDED: 1})


def test_a_spool_read_twice_stores_nothing_twice(store: Store, fickle: Fickle, tmp_path: Path) -> None:
    store.submit(new_job(1))
    first = an_outbox(fickle, tmp_path, FakeClock(NOW))
    first.add([ending(job) for job in store.claim()])
    first.flush()
    second = an_outbox(fickle, tmp_path, FakeClock(NOW))
    fickle.away = False

    second.close()
    first.close()

    assert (second.accepted, first.accepted) == (1, 0)


@pytest.mark.fault(30)
def test_a_disk_that_takes_nothing_keeps_the_text_in_memory_until_it_can_be_stored(
    store: Store, fickle: Fickle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.submit(new_job(1))
    clock = FakeClock(NOW)
    outbox = an_outbox(fickle, tmp_path, clock)

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Spool, "write", full)

    outbox.add([ending(job) for job in store.claim()])
    assert not outbox.flush()
    assert outbox.held
    fickle.away = False
    clock.advance(2)

    assert outbox.flush()
    assert store.counts() == {JobState.SUCCEEDED: 1}
    assert not outbox.held


@pytest.mark.fault(11)
def test_an_outcome_that_cannot_be_stored_is_set_aside_and_its_neighbours_are_stored(
    store: Store, fickle: Fickle, tmp_path: Path
) -> None:
    fickle.away = False
    store.submit(*(new_job(number) for number in range(1, 6)))
    outbox = an_outbox(fickle, tmp_path, FakeClock(NOW))
    finishes = [ending(job) for job in store.claim()]
    finishes[2] = beyond_every_column(finishes[2])

    outbox.add(finishes)

    assert outbox.flush()
    assert store.counts() == {JobState.SUCCEEDED: 4, JobState.RUNNING: 1}
    assert outbox.held == frozenset()
    assert Spool(tmp_path / REJECTED / "gpu-1.jsonl").read() == [finishes[2]]
    assert not (tmp_path / "gpu-1.jsonl").exists()


@pytest.mark.fault(11)
def test_what_an_earlier_worker_left_in_the_spool_is_stored_but_for_what_cannot_be(
    store: Store, fickle: Fickle, tmp_path: Path
) -> None:
    store.submit(new_job(1), new_job(2))
    finishes = [ending(job) for job in store.claim()]
    Spool(tmp_path / "gpu-1.jsonl").write([beyond_every_column(finishes[0]), finishes[1]])
    fickle.away = False

    assert an_outbox(fickle, tmp_path, FakeClock(NOW)).flush()
    assert store.counts() == {JobState.SUCCEEDED: 1, JobState.RUNNING: 1}
    assert len(Spool(tmp_path / REJECTED / "gpu-1.jsonl").read()) == 1


def test_answers_that_were_set_aside_are_stored_when_somebody_asks_for_it(
    store: Store, fickle: Fickle, tmp_path: Path
) -> None:
    store.submit(*(new_job(number) for number in range(1, 4)))
    jobs = store.claim()
    good, poison, gone = (ending(job) for job in jobs)
    rejected = tmp_path / "spool" / REJECTED / "gpu-1.jsonl"
    Spool(rejected).write([good, beyond_every_column(poison), gone])
    store.finish(jobs[2])

    retried = retry_rejected(store.database, tmp_path, clock=FakeClock(NOW))

    assert (retried.stored, retried.unwanted, retried.failed) == (1, 1, 1)
    assert retried.files == (rejected,)
    assert [finish.job_id for finish in Spool(rejected).read()] == [poison.job_id, gone.job_id]
    assert store.counts() == {JobState.SUCCEEDED: 2, JobState.RUNNING: 1}


def test_a_file_of_which_all_was_stored_is_gone(store: Store, tmp_path: Path) -> None:
    store.submit(new_job(1))
    rejected = tmp_path / "spool" / REJECTED / "gpu-1.jsonl"
    Spool(rejected).write([ending(job) for job in store.claim()])

    assert retry_rejected(store.database, tmp_path, clock=FakeClock(NOW)).files == ()
    assert not rejected.exists()


def beyond_every_column(finish: Finish) -> Finish:
    """As a defect would make it: a number that neither database can hold."""
    assert isinstance(finish.outcome, Succeeded)
    return replace(finish, outcome=Succeeded(replace(finish.outcome.result, total_duration=2**70)))

"""A command whose transaction met another one begins it again, and nobody hears of it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.clocks import FakeClock
from tests.door import submit_lines
from tests.integration.storage.conftest import KEY, NOW, Store, new_job
from worker.domain.hosts import Host
from worker.domain.jobs import JobState
from worker.domain.selection import Selection
from worker.errors import DatabaseContended, SettingsRefused
from worker.hosts.registry import register_new
from worker.maintenance.actions import cancel_jobs, pause_batch, resume_batch
from worker.ollama.client import OllamaHost
from worker.storage.engine import Connection, Database
from worker.storage.host_rows import read_hosts

CLOCK = FakeClock(NOW)


def nobody(host: Host) -> OllamaHost:
    raise SettingsRefused("nobody is there")


def hold(store: Store) -> object:
    return pause_batch(store.database, store.batches[0], clock=CLOCK)


def go_on(store: Store) -> object:
    pause_batch(store.database, store.batches[0], clock=CLOCK)
    return resume_batch(store.database, store.batches[0], clock=CLOCK)


def cancel(store: Store) -> object:
    return cancel_jobs(store.database, Selection(store.batches[0]), clock=CLOCK)


@pytest.mark.parametrize(
    ("act", "states"),
    [
        (hold, {JobState.SCHEDULED: 3}),
        (go_on, {JobState.QUEUED: 3}),
        (cancel, {JobState.CANCELLED: 3}),
    ],
)
def test_an_action_on_a_batch_is_done_although_another_transaction_is_in_its_way(
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    act: Callable[[Store], object],
    states: dict[JobState, int],
) -> None:
    store.submit(*(new_job(seq) for seq in range(1, 4)))

    with each_contended_once(monkeypatch) as met:
        act(store)

    assert met and store.counts() == states


def test_a_host_is_added_although_another_transaction_is_in_its_way(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with each_contended_once(monkeypatch) as met:
        register_new(store.database, Host("gpu-3", "http://gpu-3:11434"), open_host=nobody, clock=CLOCK)

    with store.database.read() as conn:
        names = [row.name for row in read_hosts(conn, NOW)]
    assert len(met) == 2 and names == ["gpu-1", "gpu-2", "gpu-3"]


def test_a_batch_is_submitted_although_another_transaction_is_in_its_way(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [b'{"custom_id": "a", "prompt": "A"}', b'{"custom_id": "b", "prompt": "B", "after": "a"}']

    with each_contended_once(monkeypatch) as met:
        batch = submit_lines(store.database, lines, key="k", models=(KEY,)).batch.id

    assert met and store.counts(batch) == {JobState.QUEUED: 1, JobState.WAITING: 1}


@contextmanager
def each_contended_once(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Every transaction that changes something is given up at its end, the first time; gives a list of these times."""
    write, times, first = Database.write, list[int](), [True]

    @contextmanager
    def met_once(database: Database) -> Iterator[Connection]:
        with write(database) as conn:
            yield conn
            first[0] = not first[0]
            if not first[0]:
                times.append(len(times))
                raise DatabaseContended("deadlock")

    with monkeypatch.context() as patched:
        patched.setattr(Database, "write", met_once)
        yield times

"""A command whose transaction met another one begins it again, and nobody hears of it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.clocks import FakeClock
from tests.contention import each_contended_once
from tests.door import submit_file, submit_lines
from tests.integration.storage.conftest import KEY, NOW, Store, new_job
from worker.domain.hosts import Host
from worker.domain.jobs import JobState
from worker.domain.selection import Selection
from worker.errors import SettingsRefused
from worker.hosts.registry import register_new
from worker.maintenance.actions import cancel_jobs, pause_batch, resume_batch
from worker.ollama.client import OllamaHost
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


def test_a_batch_is_extended_although_another_transaction_is_in_its_way(
    store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"custom_id": "a", "prompt": "A"}\n{"custom_id": "b", "prompt": "B"}\n')
    first = submit_file(store.database, rows, models=(KEY,)).batch.id
    rows.write_text(
        '{"custom_id": "a", "prompt": "other"}\n{"custom_id": "b", "prompt": "B", "metadata": {"n": 1}}\n'
        '{"custom_id": "c", "prompt": "C", "after": "a"}\n'
    )

    with each_contended_once(monkeypatch) as met:
        receipt = submit_file(store.database, rows, models=(KEY,), on_change="extend")

    assert met and receipt.batch.id == first and receipt.difference is not None
    assert (receipt.difference.new, receipt.difference.changed) == (1, 1)
    assert store.counts(first) == {JobState.QUEUED: 2, JobState.WAITING: 1}

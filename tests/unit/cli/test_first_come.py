"""What the loads of a run are compared with, and when that would cost more than it says."""

from pathlib import Path

import pytest

from tests.integration.storage.conftest import Store, new_job
from worker.cli import summary
from worker.storage.batches import get_batch
from worker.storage.engine import open_database
from worker.storage.migrate import upgrade


def test_a_large_batch_is_not_read_for_a_comparison(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"sqlite:///{tmp_path / 'caravan.db'}"
    upgrade(url)
    store = Store(open_database(url))
    monkeypatch.setattr(summary, "MOST_COMPARED", 3)
    few = store.submit(*(new_job(n, runner_key=f"m{n % 2}:1") for n in range(1, 4)))
    many = store.submit(*(new_job(n) for n in range(1, 5)))
    one_model = store.submit(*(new_job(n) for n in range(1, 4)))

    with store.database.read() as conn:
        loads = 2
        compared = [
            summary._first_come(conn, get_batch(conn, batch), hosts=1, loads=loads) for batch in (few, many)
        ]
        loaded = summary._first_come(conn, get_batch(conn, one_model), hosts=3, loads=0)
        fewer = summary._first_come(conn, get_batch(conn, few), hosts=1, loads=3)
    store.database.close()

    assert compared == ["; first-come-first-served would have done 3", ""]
    assert loaded == "", "one model may have been loaded before"
    assert fewer == "", "nothing is said where it would have done no more"

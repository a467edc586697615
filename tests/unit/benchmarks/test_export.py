"""The benchmark of exports fills a batch and writes it in every form."""

from pathlib import Path

import pytest

from benchmarks.export import FORMS, Export, fill, write
from worker.storage.check import check_database
from worker.storage.engine import open_database
from worker.storage.migrate import upgrade


def test_what_is_filled_is_a_batch_as_any_other(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'caravan.db'}"
    upgrade(url)
    database = open_database(url)

    fill(database, 30)
    checked = check_database(database, now=database.clock().now())
    database.close()

    assert [one for one in checked if one.broken] == []


@pytest.mark.thorough
def test_every_form_is_written_by_a_process_of_its_own(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'caravan.db'}"
    upgrade(url)
    database = open_database(url)
    fill(database, 50)
    database.close()

    written = [write(url, form, tmp_path) for form in FORMS]

    assert [one.rows for one in written] == [50] * len(FORMS)
    assert all(isinstance(one, Export) and one.memory > 10e6 for one in written)
    assert "50 rows" in str(written[0])

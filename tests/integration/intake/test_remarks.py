"""What is said of an input as a whole, once for the batch."""

from pathlib import Path

from worker.door.arrival import arrive
from worker.door.recipe import Recipe
from worker.storage.engine import open_database


def test_stream_is_noted_once_for_a_batch_and_not_for_each_line(tmp_path: Path, migrated_url: str) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text('{"prompt":"a"}\n' + '{"prompt":"b","stream":false}\n' * 3)
    database = open_database(migrated_url)
    try:
        arrived = arrive(
            database,
            path,
            Recipe(models=("m:1",)),
            name=None,
            clock=database.clock(),
            ask=lambda batch, difference: None,
        )
    finally:
        database.close()

    (remark,) = arrived.submitted.remarks
    assert remark.startswith("stream has no effect")
    assert "3 lines" in remark
    assert "line 2" in remark
    assert (arrived.batch.jobs, arrived.submitted.noted) == (4, 0)

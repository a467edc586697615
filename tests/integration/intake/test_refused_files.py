"""A file that is refused leaves nothing behind, however much of it was stored before that was known."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from sqlalchemy import func, select

from api_schemas.submissions import Submission
from tests.door import submit_file
from worker.door.rows import RowFile
from worker.errors import InputRefused, NoHost, Problem
from worker.storage.engine import Database, open_database
from worker.storage.tables import batches, jobs, payloads, rejects

SUBMISSION = Submission(models=("m:1",))


@pytest.fixture
def database(migrated_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    monkeypatch.setattr("worker.door.upload.CHUNK", 10)
    monkeypatch.setattr("worker.door.upload.DROPPING", 0.0)
    monkeypatch.setattr("worker.maintenance.operate.LINES", 20)
    monkeypatch.setattr("worker.door.intake.SAMPLE", 1)
    opened = open_database(migrated_url)
    yield opened
    opened.close()


def write(path: Path, *last: object) -> Path:
    lines = [{"prompt": f"Say {n}."} for n in range(60)]
    path.write_text("".join(json.dumps(line) + "\n" for line in (*lines, *last)))
    return path


def left(database: Database) -> dict[str, int]:
    with database.read() as conn:
        tables = (batches, jobs, payloads, rejects)
        found = {table.name: conn.scalar(select(func.count()).select_from(table)) or 0 for table in tables}
    return {name: rows for name, rows in found.items() if rows}


def test_of_a_file_whose_last_line_is_wrong(database: Database, tmp_path: Path) -> None:
    with pytest.raises(InputRefused, match="line 61"):
        submit_file(database, write(tmp_path / "a.jsonl", {"prompt": 7}), SUBMISSION)

    assert left(database) == {}


def test_of_a_file_that_asks_a_model_which_no_host_has(database: Database, tmp_path: Path) -> None:
    def check(models: Mapping[str, int]) -> list[Problem]:
        return [Problem(line, "model", "model_missing", "no host has it") for line in models.values()]

    with pytest.raises(InputRefused, match="no host has it"):
        submit_file(database, write(tmp_path / "a.jsonl"), SUBMISSION, check_models=check)

    assert left(database) == {}


def test_of_a_file_whose_model_could_not_be_pulled(database: Database, tmp_path: Path) -> None:
    def check(models: Mapping[str, int]) -> list[Problem]:
        raise NoHost("m:1 could not be pulled onto any host")

    with pytest.raises(NoHost):
        submit_file(database, write(tmp_path / "a.jsonl"), SUBMISSION, check_models=check)

    assert left(database) == {}


@pytest.mark.parametrize("ending", [".csv", ".jsonl"])
def test_a_file_that_grows_while_it_is_read_is_refused(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"in{ending}"
    path.write_text("id,text\n1,a\n2,b\n" if ending == ".csv" else '{"text": "a"}\n{"text": "b"}\n')
    rows = RowFile(path).open(Submission(models=("m:1",), prompt="{{ text }}"))
    lines = iter(rows)
    next(lines)
    with path.open("a") as file:
        file.write("3,ha" if ending == ".csv" else '{"tex')

    with pytest.raises(InputRefused, match="changed while it was read"):
        list(lines)

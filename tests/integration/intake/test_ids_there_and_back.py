"""Ids of an input come back as they were: results merge with the input by its id column."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openpyxl
import pandas as pd
import pytest

from api_schemas.submissions import Submission
from tests.door import submit_file
from worker.domain.selection import Selection
from worker.exports.files import ResultWriter
from worker.storage.engine import Database, open_database


@pytest.fixture
def database(migrated_url: str) -> Iterator[Database]:
    opened = open_database(migrated_url)
    yield opened
    opened.close()


WRITE: dict[str, Callable[[pd.DataFrame, Path], Any]] = {
    ".csv": lambda frame, path: frame.to_csv(path, index=False),
    ".xlsx": lambda frame, path: frame.to_excel(path, index=False),
    ".parquet": lambda frame, path: frame.to_parquet(path),
    ".jsonl": lambda frame, path: frame.to_json(path, orient="records", lines=True),
}
READ: dict[str, Callable[[Path], pd.DataFrame]] = {
    ".csv": pd.read_csv,
    ".xlsx": lambda path: pd.read_excel(path, engine="openpyxl"),
    ".parquet": pd.read_parquet,
    ".jsonl": lambda path: pd.read_json(path, lines=True),
}


def there_and_back(
    database: Database, folder: Path, frame: pd.DataFrame, ending: str, out: str, *, wide: bool = False
) -> tuple[pd.DataFrame, pd.DataFrame]:
    source, target = folder / f"in{ending}", folder / f"out{out}"
    WRITE[ending](frame, source)
    id_column = None if "custom_id" in frame else "sku"
    submission = Submission(models=("m:1",), prompt="Sell {{ name }}.", id_column=id_column)
    batch = submit_file(database, source, submission).batch.id
    ResultWriter(database, Selection(batch), wide=wide).file(target)
    return READ[ending](source), READ[out](target)


def cells(path: Path) -> list[Any]:
    """The first column; pandas makes numbers of texts of digits."""
    return [row[0] for row in openpyxl.load_workbook(path).worksheets[0].iter_rows(values_only=True)]


BOTH = [(".csv", ".xlsx"), (".xlsx", ".xlsx"), (".parquet", ".xlsx"), (".jsonl", ".xlsx"), (".csv", ".csv")]


@pytest.mark.parametrize(
    ("column", "ending", "out"),
    [
        *(("sku", *both) for both in [*BOTH, (".parquet", ".parquet"), (".xlsx", ".parquet")]),
        *(("custom_id", *both) for both in BOTH),
    ],
)
def test_results_merge_with_the_input_by_ids_that_are_numbers(
    database: Database, tmp_path: Path, column: str, ending: str, out: str
) -> None:
    frame = pd.DataFrame({column: [8, 12, 4012345], "name": ["a", "b", "c"]})

    before, after = there_and_back(database, tmp_path, frame, ending, out)

    merged = before.merge(after, on=[column, "name"])
    assert merged[column].tolist() == frame[column].tolist()
    assert (merged["state"] == "queued").all()


@pytest.mark.parametrize(
    "ids",
    [["0008", "12"], ["5,30", "12"], ["4012345678901", "12"], ["a", "1"]],
)
@pytest.mark.parametrize("wide", [False, True])
def test_ids_of_which_one_is_no_plain_number_are_texts(
    database: Database, tmp_path: Path, ids: list[str], wide: bool
) -> None:
    frame = pd.DataFrame({"sku": ids, "name": ["a", "b"]})

    there_and_back(database, tmp_path, frame, ".csv", ".xlsx", wide=wide)

    assert cells(tmp_path / "out.xlsx") == ["sku", *ids]


def test_each_id_keeps_its_type_where_the_input_has_types(database: Database, tmp_path: Path) -> None:
    frame = pd.DataFrame({"sku": ["0008", 12, "13", 4.5], "name": ["a", "b", "c", "d"]})

    there_and_back(database, tmp_path, frame, ".xlsx", ".xlsx", wide=True)

    assert cells(tmp_path / "out.xlsx") == cells(tmp_path / "in.xlsx") == ["sku", "0008", 12, "13", 4.5]

"""What a command may write over, and what never."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from worker.errors import InputRefused
from worker.exports.outputs import Outputs, database_files


@pytest.fixture
def outputs(tmp_path: Path) -> Outputs:
    return Outputs(tmp_path / "home")


def refused(outputs: Outputs, path: Path) -> str:
    with pytest.raises(InputRefused) as error:
        outputs.check(path)
    return str(error.value)


def test_a_file_that_caravan_did_not_write_is_replaced_only_by_force(
    outputs: Outputs, tmp_path: Path
) -> None:
    notes = tmp_path / "notes.csv"
    notes.write_text("mine")

    assert "--force" in refused(outputs, notes)
    Outputs(outputs.home, force=True).check(notes)


def test_a_file_that_caravan_wrote_is_replaced_until_somebody_changes_it(
    outputs: Outputs, tmp_path: Path
) -> None:
    answers = tmp_path / "answers.csv"
    answers.write_text("a,b")
    outputs.remember(answers)
    outputs.check(answers)
    Outputs(outputs.home).check(Path(os.path.relpath(answers)))

    answers.write_text("a,b,and my remarks")

    assert "changed since" in refused(outputs, answers)


def test_a_link_to_a_file_that_caravan_wrote_is_that_file(outputs: Outputs, tmp_path: Path) -> None:
    answers = tmp_path / "answers.csv"
    answers.write_text("a,b")
    outputs.remember(answers)
    link = tmp_path / "latest.csv"
    link.symlink_to(answers)

    outputs.check(link)


def test_a_copy_of_what_caravan_wrote_is_somebodys_own(outputs: Outputs, tmp_path: Path) -> None:
    answers = tmp_path / "answers.csv"
    answers.write_text("a,b")
    outputs.remember(answers)
    answers.rename(tmp_path / "kept.csv")

    assert "--force" in refused(outputs, tmp_path / "kept.csv")


@pytest.mark.parametrize("name", ["new.csv", "empty.csv", "fifo", "/dev/null", "/dev/stdout", "-"])
def test_what_holds_nothing_is_written_to(outputs: Outputs, tmp_path: Path, name: str) -> None:
    (tmp_path / "empty.csv").touch()
    os.mkfifo(tmp_path / "fifo")

    outputs.check(Path(name) if name == "-" else tmp_path / name)


@pytest.mark.parametrize("how", ["itself", "symlink", "hard link", "relative", "not there yet"])
def test_an_input_is_never_written_over(outputs: Outputs, tmp_path: Path, how: str) -> None:
    source, output = tmp_path / "in.csv", tmp_path / "out.csv"
    if how != "not there yet":
        source.write_text("a")
    match how:
        case "symlink":
            output.symlink_to(source)
        case "hard link":
            output.hardlink_to(source)
        case "relative":
            (tmp_path / "folder").mkdir()
            output = tmp_path / "folder" / ".." / "in.csv"
        case _:
            output = source
    forced = Outputs(outputs.home, force=True, inputs={"the input": source})

    assert "is the input" in refused(forced, output)


def test_a_document_is_never_written_over(outputs: Outputs, tmp_path: Path) -> None:
    folder = tmp_path / "inbox"
    forced = Outputs(outputs.home, force=True, is_document=lambda path: folder in path.parents)

    assert "one of the documents" in refused(forced, folder / "letter.txt")
    forced.check(tmp_path / "answers.txt")


def test_a_database_of_caravan_is_never_written_over_and_a_backup_is(
    outputs: Outputs, tmp_path: Path
) -> None:
    forced = Outputs(outputs.home, force=True)
    for name, tables in (
        ("caravan.db", "jobs batches"),
        ("backup.db", "jobs batches spool_files"),
        ("own.db", "x"),
    ):
        with closing(sqlite3.connect(tmp_path / name)) as conn:
            for table in (*tables.split(), "alembic_version"):
                conn.execute(f"CREATE TABLE {table} (id INTEGER)")

    assert "database of Caravan" in refused(forced, tmp_path / "caravan.db")
    forced.check(tmp_path / "backup.db")
    forced.check(tmp_path / "own.db")


def test_what_lies_beside_a_database_is_never_written_over(outputs: Outputs, tmp_path: Path) -> None:
    database = tmp_path / "jobs.db"
    forced = Outputs(outputs.home, force=True, inputs=database_files(database))

    for ending in ("", "-wal", "-shm", "-journal"):
        assert "the database" in refused(forced, database.with_name(f"jobs.db{ending}"))

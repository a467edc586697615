"""What the shell offers after a tab, without importing what a person would have to wait for."""

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import openpyxl
import pytest
import typer
from sqlalchemy import insert

from worker.cli.commands import COMMANDS, COMPLETION_VARIABLE
from worker.cli.completion import ARGUMENTS, answer, kind_of_option
from worker.cli.main import app
from worker.storage.engine import open_database, sqlite_url
from worker.storage.migrate import upgrade
from worker.storage.names import QUERIES, stored_names
from worker.storage.tables import batches, host_models, hosts
from worker.storage.tables.schedules import schedules

AT = datetime(2026, 11, 23, tzinfo=UTC)
ROOT = typer.main.get_command(app)


def fill(url: str) -> None:
    """Two batches of one name and one with blanks in it, a host and a model."""
    upgrade(url)
    database = open_database(url)
    with database.write() as conn:
        for key, name in (("k1", "ads"), ("k2", "my ads"), ("k3", "ads")):
            conn.execute(
                insert(batches).values(
                    key=key, name=name, state="open", jobs=1200, created_at=AT, sealed_at=AT
                )
            )
        conn.execute(
            insert(hosts).values(name="gpu-1", url="http://gpu-1:11434", slots=1, added_at=AT, kept=True)
        )
        conn.execute(
            insert(host_models).values(host="gpu-1", name="llama3.2:3b", digest="d", thinking=False, size=1)
        )
        conn.execute(
            insert(schedules).values(name="nightly", spec={}, spec_version=1, added_at=AT, changed_at=AT)
        )
    database.close()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with a database, and a shell that asks."""
    monkeypatch.setenv("CARAVAN_HOME", str(tmp_path))
    monkeypatch.setenv(COMPLETION_VARIABLE, "complete_bash")
    fill(sqlite_url(tmp_path / "caravan.db"))
    return tmp_path


def in_bash(*words: str) -> list[str]:
    """What bash is handed for ``caravan WORDS`` with the cursor in the last of them."""
    environ = {"COMP_WORDS": "\n".join(["caravan", *words]), "COMP_CWORD": str(len(words))}
    text, code = answer(ROOT, "complete_bash", environ) or ("", 1)
    assert code == 0
    return text.splitlines()


@pytest.mark.parametrize(
    ("words", "offers"),
    [
        (("status", ""), ["@last", "ads", "2", "1"]),
        (("status", "a"), ["ads"]),
        (("status", "@", "l"), ["last"]),
        (("results", "@", "last", "--code", "cont"), ["context_overflow", "context_mismatch"]),
        (("results", "--json", ""), ["@last", "ads", "2", "1"]),
        (("run", "x.csv", "--host", ""), ["gpu-1"]),
        (("run", "x.csv", "--model", "ll"), ["llama3.2:3b"]),
        (("run", "x.csv", "--model", "llama3.2", ":", "3"), ["3b"]),
        (("run", "x.csv", "--model", "=", "ll"), ["llama3.2:3b"]),
        (("run", "--from", "a"), ["ads"]),
        (("hosts", "check", ""), ["gpu-1"]),
        (("models", "show", "l"), ["llama3.2:3b"]),
        (("schedule", "show", ""), ["nightly"]),
        (("jobs", "@last", "--state", "fail"), ["failed"]),
        (("jobs", "@last", "--st"), ["--state"]),
        (("res",), ["results", "resume"]),
        (("no-such-command", ""), []),
    ],
)
def test_bash_is_offered_what_may_stand_there(home: Path, words: tuple[str, ...], offers: list[str]) -> None:
    assert in_bash(*words) == offers


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "sku;Title;price\n1;tea;2\n".encode("utf-16")),
        ("a.tsv", b"\xef\xbb\xbfsku\tTitle\tprice\n"),
        ("a.jsonl", b'\n{"sku": 1, "Title": "tea", "price": 2}\n'),
    ],
)
def test_columns_are_those_of_the_file_on_the_command_line(home: Path, name: str, content: bytes) -> None:
    (home / name).write_bytes(content)

    assert in_bash("run", str(home / name), "--id", "") == ["sku", "Title", "price"]
    assert in_bash("run", str(home / name), "--id", "T") == ["Title"]


def test_bash_gets_a_column_with_a_blank_as_one_word(home: Path) -> None:
    (home / "a.csv").write_text("id,Product name\n1,tea\n")

    assert in_bash("run", str(home / "a.csv"), "--id", "P") == ["Product\\ name"]
    assert in_bash("run", str(home / "a.csv"), "--id", "Product\\ n") == ["Product\\ name"]
    assert in_bash("run", str(home / "a.csv"), "--id", '"P') == ["Product name"]


def test_columns_of_a_spreadsheet_are_those_of_its_first_row(home: Path) -> None:
    book = openpyxl.Workbook()
    for row in (["sku", "Title"], ["1", "tea"]):
        book.active.append(row)
    book.save(home / "a.xlsx")

    assert in_bash("run", str(home / "a.xlsx"), "--id", "") == ["sku", "Title"]


def test_zsh_and_fish_are_told_what_a_value_is(home: Path) -> None:
    line = {"_TYPER_COMPLETE_ARGS": "caravan status a"}
    fish = {**line, "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    asks = {**line, "_TYPER_COMPLETE_FISH_ACTION": "is-args"}

    assert answer(ROOT, "complete_zsh", line) == ('_arguments \'*: :(("ads":"1,200 jobs, open"))\'', 0)
    assert answer(ROOT, "complete_fish", fish) == ("ads\t1,200 jobs, open", 0)
    assert answer(ROOT, "complete_fish", asks) == ("", 0)
    assert answer(ROOT, "complete_fish", {**asks, "_TYPER_COMPLETE_ARGS": "caravan status x"}) == ("", 1)


@pytest.mark.parametrize("damage", ["none", "no database", "a broken one", "unknown settings"])
def test_a_shell_reads_nothing_where_something_is_wrong(
    home: Path, damage: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    if damage == "no database":
        (home / "caravan.db").unlink()
    if damage == "a broken one":
        (home / "caravan.db").write_bytes(b"nothing that SQLite knows" * 100)
    if damage == "unknown settings":
        monkeypatch.setenv("CARAVAN_LOG_LEVEL", "loud")

    offers = in_bash("status", "a")

    assert offers == (["ads"] if damage == "none" else [])
    assert capfd.readouterr() == ("", "")


def commands() -> dict[str, Any]:
    """Every command by its path."""
    found: dict[str, Any] = {}
    for name in COMMANDS:
        command = ROOT.get_command(typer.Context(ROOT), name)  # type: ignore[attr-defined]
        inner = getattr(command, "commands", None)
        found |= {name: command} if inner is None else {f"{name} {word}": one for word, one in inner.items()}
    return found


def test_every_argument_that_names_something_stored_is_completed() -> None:
    known = {"BATCH": "batches", "MODEL": "models", "NAME": "schedules"}
    expected = {}
    for path, command in commands().items():
        first = next((param for param in command.params if param.param_type_name == "argument"), None)
        metavar = (getattr(first, "metavar", None) or "").strip("[]….").rpartition("|")[2]
        kind = "hosts" if path.startswith("hosts") and metavar == "NAME" else known.get(metavar)
        if kind is not None:
            expected[path] = kind

    assert expected == ARGUMENTS


def test_every_option_that_names_something_stored_is_completed() -> None:
    names = {"BATCH": "batches", "MODEL": "models", "CODE": "codes", "COLUMN": "columns"}
    for path, command in commands().items():
        for param in command.params:
            kind = names.get(getattr(param, "metavar", None) or "")
            if param.param_type_name == "option" and kind is not None:
                assert kind_of_option(path, param.opts[0]) == kind, (path, param.opts)


def test_names_are_read_on_both_databases_alike(database_url: str) -> None:
    fill(database_url)

    rows = {kind: [row[0] for row in stored_names(kind, database_url, Path("none"))] for kind in QUERIES}

    assert rows == {
        "batches": [3, 2, 1],
        "hosts": ["gpu-1"],
        "models": ["llama3.2:3b"],
        "schedules": ["nightly"],
    }


def test_a_tab_imports_neither_sqlalchemy_nor_a_command(home: Path) -> None:
    environ = {**os.environ, "COMP_WORDS": "caravan\nstatus\n", "COMP_CWORD": "2"}
    probe = "import sys\nfrom worker.__main__ import main\ntry: main()\n"
    probe += "except SystemExit: pass\n"
    probe += "print(*{'sqlalchemy', 'rich', 'worker.cli.batches'} & {*sys.modules})"

    done = subprocess.run(
        [sys.executable, "-c", probe], env=environ, capture_output=True, text=True, check=True
    )

    assert done.stdout.splitlines() == ["@last", "ads", "2", "1", ""]

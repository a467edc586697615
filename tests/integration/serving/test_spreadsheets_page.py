"""The commands of the page about spreadsheets do what it says, beside a simulated host."""

import datetime as dt
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openpyxl
import pandas as pd
import pytest
from typer.testing import CliRunner, Result

import simulator
from tests.repo.docs.commands import shell_lines
from tests.repo.docs.pages import DOCS, blocks
from worker.cli.main import app

PAGE = DOCS / "howto/spreadsheets.md"
ROWS: list[list[Any]] = [
    ["SKU", "Product name", "Price", "model", "Since", None],
    [1001, "Größe Tasse", 12.0, "T-1", dt.date(2026, 3, 1), None],
    [1002, "A teapot of green iron, for six", 0.1 + 0.2, "T-2", dt.date(2026, 3, 2), None],
    ["007", "Pan", 19.99, "T-3", None, None],
    [1004, None, -5.3, "T-4", None, None],
    [],
    [1005, "=1+1 is two", 1e5, "T-5", None, None],
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CARAVAN_TICK_SECONDS", "0.1")
    book = openpyxl.Workbook()
    del book["Sheet"]
    sheet = book.create_sheet("Products")
    for row in ROWS:
        sheet.append(row)
    sheet["B7"].data_type = "s"
    book.create_sheet("Notes").append(["A note."])
    book.save("products.xlsx")
    models = tuple(simulator.SimulatedModel(name) for name in ("qwen3:8b", "llama3.2:3b"))
    with simulator.running(simulator.HostSettings(name="gpu-1", models=models, time_scale=0.0)) as (host,):
        monkeypatch.setenv("OLLAMA_HOST", host.url)
        yield tmp_path


def typed(line: str) -> Result:
    return CliRunner().invoke(app, shlex.split(line)[1:], catch_exceptions=False)


def table(path: Path) -> list[tuple[Any, ...]]:
    return list(openpyxl.load_workbook(path).worksheets[0].values)


def test_every_command_of_the_page_does_what_it_says(folder: Path) -> None:
    said = []
    for block in blocks(PAGE, "console"):
        for line in shell_lines(block):
            done = typed(line)
            assert done.exit_code == 0, f"{line}: {done.stderr}"
            said.append(done.stdout + done.stderr)

    shown, chosen, run, wide, _ = said
    assert "Sell this: Größe Tasse, 12 €" in shown
    assert "Sell this: A teapot of green iron, for six, 0.3 €" in shown
    assert "--sheet names another: 'Notes'" in shown
    assert "'Notes'" not in chosen
    assert "5 rows; the longest prompt has about" in run
    assert "Empty cells: 1 in Product name (first line 5)." in run
    assert "those of Caravan are called caravan_model" in run
    assert "5 rows in compared.xlsx" in wide

    header, *rows = table(folder / "answers.xlsx")
    own = ("SKU", "Product name", "Price", "model", "Since")
    assert header[: len(own) + 3] == (*own, "state", "caravan_model", "answer")
    assert "custom_id" not in header
    assert [row[:5] for row in rows] == [
        (1001, "Größe Tasse", 12, "T-1", "2026-03-01"),
        (1002, "A teapot of green iron, for six", 0.3, "T-2", "2026-03-02"),
        ("007", "Pan", 19.99, "T-3", None),
        (1004, None, -5.3, "T-4", None),
        (1005, "=1+1 is two", 100000, "T-5", None),
    ]
    assert all(row[7] for row in rows)
    compared = table(folder / "compared.xlsx")[0]
    assert set(compared[5:7]) == {"answer_llama3.2:3b", "answer_qwen3:8b"}
    frame = pd.read_csv(folder / "answers.csv", sep=";", dtype={"SKU": str}, encoding="utf-8-sig")
    assert frame["SKU"].tolist()[::2] == ["1001", "1002", "007", "1004", "1005"]
    assert frame["Price"].tolist()[::2] == [12, 0.3, 19.99, -5.3, 100000]


def test_what_a_model_cannot_do_is_refused_before_anything_is_stored(folder: Path) -> None:
    refused = typed("caravan run products.xlsx --id SKU --model llama3.2:3b --think --prompt '{{ SKU }}'")

    assert refused.exit_code == 2
    assert "llama3.2:3b cannot reason, as its hosts say" in refused.stderr
    assert typed("caravan status --json").stdout == "[]\n"

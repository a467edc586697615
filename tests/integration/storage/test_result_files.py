"""Results as files: columns of the input and of what came of it, there and back, on both databases."""

import csv
import gzip
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openpyxl
import pandas as pd
import pyarrow.parquet as pq
import pytest
from sqlalchemy import update
from typer.testing import CliRunner
from typer.testing import Result as CliResult

from tests.integration.storage.conftest import NOW, Store, a_result, new_job
from worker.cli.main import app
from worker.domain.attempts import Failed, Succeeded
from worker.domain.jobs import JobState
from worker.domain.replies import Result
from worker.domain.selection import Selection
from worker.errors import Code, InputRefused
from worker.exports import input_kinds
from worker.exports import results as results_module
from worker.exports.columns import TIMING, fields_of
from worker.exports.files import ResultWriter
from worker.exports.results import result_lines
from worker.exports.targets import CsvForm
from worker.storage.ids import job_id
from worker.storage.results import ResultRow, iter_metadata, iter_results
from worker.storage.tables import batches

Shell = Callable[..., CliResult]

RESULT = [
    "state",
    "model",
    "answer",
    "reasoning",
    "done_reason",
    "cut",
    "empty",
    "prompt_fit",
    "error_code",
    "error_message",
    "host",
    "prompt_tokens",
    "output_tokens",
    "tokens_per_second",
    "total_seconds",
    "load_seconds",
    "prompt_eval_seconds",
    "eval_seconds",
    "queued_seconds",
    "attempts",
    "submitted_at",
    "started_at",
    "finished_at",
    "job_id",
    "batch",
    "reused_from",
    "parsed",
]
READ_BY_PEOPLE = [name for name in RESULT if name not in TIMING]
TEMPLATE = {"prompt": "Say {{ name }}."}


def batch_of(store: Store, *metadata: dict[str, Any] | None, recipe: dict[str, Any] | None = None) -> int:
    """A batch of a job for each metadata; the recipe is that of a template unless it is told."""
    batch = store.submit(*(new_job(seq, metadata=own) for seq, own in enumerate(metadata, start=1)))
    with store.database.write() as conn:
        conn.execute(
            update(batches).where(batches.c.id == batch).values(recipe=TEMPLATE if recipe is None else recipe)
        )
    return batch


def answered(store: Store, *answers: str | Result | None) -> None:
    """The next jobs end with these answers; None: failed."""
    for job, answer in zip(store.claim(len(answers)), answers, strict=True):
        match answer:
            case None:
                store.finish(job, Failed(Code.CONTEXT_OVERFLOW, "the prompt does not fit"))
            case str():
                store.finish(job, Succeeded(a_result(answer=answer)))
            case _:
                store.finish(job, Succeeded(answer))


def read_csv(path: Path, delimiter: str = ",") -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file, delimiter=delimiter))


def test_a_csv_has_the_columns_of_the_input_before_those_of_the_result(store: Store, tmp_path: Path) -> None:
    batch = batch_of(store, {"name": "天", "price": "9.50"}, {"name": "x", "stock": 3, "price": "1"})
    answered(store, "two\nlines", None)

    lines = ResultWriter(store.database, Selection(batch), fields=fields_of(["timing"], [])).file(
        tmp_path / "a.csv"
    )
    ResultWriter(store.database, Selection(batch)).file(tmp_path / "b.csv")

    rows = read_csv(tmp_path / "a.csv")
    assert lines == 2
    assert list(rows[0]) == ["custom_id", "name", "price", "stock", *RESULT]
    assert list(read_csv(tmp_path / "b.csv")[0]) == ["custom_id", "name", "price", "stock", *READ_BY_PEOPLE]
    assert (
        rows[0]
        | {
            "custom_id": "c1",
            "name": "天",
            "price": "9.50",
            "stock": "",
            "state": "succeeded",
            "model": "qwen3:8b",
            "answer": "two\nlines",
            "reasoning": "Let me think.",
            "cut": "false",
            "error_code": "",
            "host": "gpu-1",
            "output_tokens": "4",
            "tokens_per_second": "2.0",
            "attempts": "1",
            "submitted_at": "2026-11-23T02:00:00Z",
            "job_id": str(job_id(batch, 1)),
            "batch": str(batch),
        }
        == rows[0]
    )
    assert (rows[1]["state"], rows[1]["error_code"], rows[1]["stock"]) == ("failed", "context_overflow", "3")
    assert rows[1]["answer"] == ""


def test_the_document_names_the_columns_in_their_order() -> None:
    page = Path(__file__).parents[3] / "docs/howto/results.md"

    assert ", ".join(f"`{name}`" for name in RESULT) in " ".join(page.read_text(encoding="utf-8").split())


def test_pandas_reads_the_csv_as_the_results_are(store: Store, tmp_path: Path) -> None:
    batch = batch_of(
        store, {"name": "天", "at": "A\r1"}, {"name": 'say "x", y', "at": "\n"}, {"name": "", "at": "z"}
    )
    texts = ["=1+1", "- one\r\n- two\n", "a,\tb"]
    answered(store, *texts)

    ResultWriter(store.database, Selection(batch), form=CsvForm(safe=False)).file(tmp_path / "a.csv")
    ResultWriter(store.database, Selection(batch)).file(tmp_path / "b.tsv.gz")

    frame = pd.read_csv(tmp_path / "a.csv", keep_default_na=False)
    assert frame["answer"].tolist() == texts
    assert frame["name"].tolist() == ["天", 'say "x", y', ""]
    assert frame["at"].tolist() == ["A\r1", "\n", "z"]
    assert frame["output_tokens"].tolist() == [4, 4, 4]
    safe = pd.read_csv(tmp_path / "b.tsv.gz", sep="\t", keep_default_na=False)
    assert safe["answer"].tolist() == ["'=1+1", "'- one\r\n- two\n", "a,\tb"]


def test_columns_of_the_input_keep_their_names_and_those_of_ours_give_way(
    store: Store, tmp_path: Path
) -> None:
    own = {"state": "CA", "custom_id": "own", "caravan_state": "old", "metadata": "m", "": "none"}
    batch = batch_of(store, own)
    said: list[str] = []

    ResultWriter(store.database, Selection(batch), say=said.append).file(tmp_path / "a.csv")
    ResultWriter(store.database, Selection(batch)).file(tmp_path / "a.parquet")

    (row,) = read_csv(tmp_path / "a.csv")
    assert list(row)[:7] == [
        "caravan_custom_id",
        "state",
        "custom_id",
        "caravan_state",
        "metadata",
        "input_",
        "caravan_caravan_state",
    ]
    assert list(row.values())[:7] == ["c1", "CA", "own", "old", "m", "none", "queued"]
    assert said == [
        "The input has columns named custom_id, state; those of Caravan are called caravan_custom_id, caravan_state."
    ]
    frame = pd.read_parquet(tmp_path / "a.parquet")
    assert frame["metadata"].tolist() == ["m"]
    assert json.loads(frame["caravan_metadata"][0]) == own


def test_the_columns_come_in_the_order_that_the_caller_knows(store: Store, tmp_path: Path) -> None:
    batch = batch_of(store, {"b": 1}, {"a": 2, "z": 3, "b": 4})

    ResultWriter(store.database, Selection(batch), columns=["gone", "a", "b"]).file(tmp_path / "a.csv")

    (_, second) = read_csv(tmp_path / "a.csv")
    assert list(second)[:5] == ["custom_id", "a", "b", "z", "state"]
    assert list(second.values())[:4] == ["c2", "2", "4", "3"]


def test_the_column_of_ids_and_prompts_that_no_template_made_are_columns_of_the_input(
    store: Store, tmp_path: Path
) -> None:
    batch = batch_of(store, {"note": "n"}, recipe={"id_column": "sku"})

    ResultWriter(store.database, Selection(batch), columns=["note", "sku", "prompt"]).file(tmp_path / "a.csv")
    ResultWriter(store.database, Selection(batch)).file(tmp_path / "b.csv")
    ResultWriter(store.database, Selection(batch)).file(tmp_path / "c.parquet")

    (row,) = read_csv(tmp_path / "a.csv")
    assert list(row.items())[:4] == [
        ("note", "n"),
        ("sku", "c1"),
        ("prompt", "Say 1."),
        ("state", "queued"),
    ]
    assert list(read_csv(tmp_path / "b.csv")[0])[:3] == ["sku", "prompt", "note"]
    assert list(pd.read_parquet(tmp_path / "c.parquet"))[:3] == ["custom_id", "sku", "prompt"]


def test_nested_metadata_is_json_in_its_cell(store: Store, tmp_path: Path) -> None:
    batch = batch_of(store, {"tags": ["天", 1], "ok": True})

    ResultWriter(store.database, Selection(batch)).file(tmp_path / "a.csv")

    (row,) = read_csv(tmp_path / "a.csv")
    assert (json.loads(row["tags"]), row["ok"]) == (["天", 1], "true")


def test_a_csv_for_a_spreadsheet_begins_with_a_byte_order_mark(store: Store, tmp_path: Path) -> None:
    batch = batch_of(store, None)

    ResultWriter(store.database, Selection(batch), form=CsvForm(bom=True)).file(tmp_path / "a.csv")
    ResultWriter(store.database, Selection(batch)).file(tmp_path / "b.csv")

    assert (tmp_path / "a.csv").read_bytes().startswith(b"\xef\xbb\xbfcustom_id,")
    assert (tmp_path / "b.csv").read_bytes().startswith(b"custom_id,state,")


def test_keys_without_number_become_one_column_of_json(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(input_kinds, "MOST_INPUT_COLUMNS", 2)
    batch = batch_of(store, {"a": 1, "b": 2}, {"c": 3, "a": 4}, None)

    ResultWriter(store.database, Selection(batch)).file(tmp_path / "a.csv")

    rows = read_csv(tmp_path / "a.csv")
    assert list(rows[0]) == ["custom_id", "a", "b", *READ_BY_PEOPLE, "metadata"]
    assert json.loads(rows[1]["metadata"]) == {"c": 3, "a": 4}
    assert rows[2]["metadata"] == ""


def test_json_lines_are_the_same_compressed_and_plain(store: Store, tmp_path: Path) -> None:
    batch = batch_of(store, {"a": 1}, None)
    answered(store, "天空")

    for name in ("a.jsonl", "a.ndjson", "a", "a.jsonl.gz"):
        assert ResultWriter(store.database, Selection(batch)).file(tmp_path / name) == 2

    plain = (tmp_path / "a.jsonl").read_bytes()
    assert [json.loads(line) for line in plain.splitlines()] == list(
        result_lines(store.database, Selection(batch))
    )
    assert (tmp_path / "a.ndjson").read_bytes() == (tmp_path / "a").read_bytes() == plain
    assert gzip.decompress((tmp_path / "a.jsonl.gz").read_bytes()) == plain


def test_parquet_has_the_results_and_the_input_with_their_types(store: Store, tmp_path: Path) -> None:
    batch = batch_of(
        store,
        {"n": 1, "x": 1, "ok": True, "s": "天", "mixed": 1, "nested": {"a": [1]}, "none": None, "big": 2**60},
        {"n": None, "x": 0.5, "ok": None, "s": "", "mixed": "one", "big": 1},
        None,
    )
    answered(store, "one", None)

    assert ResultWriter(store.database, Selection(batch)).file(tmp_path / "a.parquet") == 3

    table = pq.read_table(tmp_path / "a.parquet")
    inputs = ["n", "x", "ok", "s", "mixed", "nested", "none", "big"]
    assert table.schema.names == ["custom_id", *inputs, *RESULT, "metadata"]
    kinds = {field.name: str(field.type) for field in table.schema}
    assert [kinds[name] for name in inputs] == [
        "int64",
        "double",
        "bool",
        "string",
        "string",
        "string",
        "string",
        "int64",
    ]
    assert [
        kinds[name] for name in ("answer", "cut", "attempts", "total_seconds", "finished_at", "metadata")
    ] == [
        "string",
        "bool",
        "int64",
        "double",
        "timestamp[us, tz=UTC]",
        "string",
    ]
    first, second, third = table.to_pylist()
    assert [first[name] for name in inputs] == [1, 1.0, True, "天", "1", '{"a": [1]}', None, 2**60]
    assert [second[name] for name in inputs] == [None, 0.5, None, "", "one", None, None, 1]
    assert json.loads(second["metadata"]) == {
        "n": None,
        "x": 0.5,
        "ok": None,
        "s": "",
        "mixed": "one",
        "big": 1,
    }
    assert (first["answer"], first["finished_at"], second["error_code"]) == ("one", NOW, "context_overflow")
    assert (third["state"], third["metadata"], third["finished_at"]) == ("queued", None, None)


def test_whole_numbers_that_a_double_cannot_hold_are_not_mixed_with_fractions(
    store: Store, tmp_path: Path
) -> None:
    batch = batch_of(store, {"n": 2**60, "huge": 2**70}, {"n": 0.5, "huge": 1})

    ResultWriter(store.database, Selection(batch)).file(tmp_path / "a.parquet")

    read = pq.read_table(tmp_path / "a.parquet").to_pydict()
    assert read["n"] == [str(2**60), "0.5"]
    assert read["huge"] == [str(2**70), "1"]


def test_pandas_reads_parquet_and_csv_alike(store: Store, tmp_path: Path) -> None:
    batch = batch_of(store, {"name": "天", "n": 1}, {"name": "x", "n": 2})
    answered(store, "one\r\ntwo", "three")

    ResultWriter(store.database, Selection(batch)).file(tmp_path / "a.pq")
    ResultWriter(store.database, Selection(batch), fields=fields_of(["timing"], [])).file(tmp_path / "a.csv")

    parquet = pd.read_parquet(tmp_path / "a.pq")
    text = pd.read_csv(tmp_path / "a.csv")
    assert str(parquet["finished_at"].dtype).startswith("datetime64[")
    for name in ("custom_id", "name", "n", "answer", "output_tokens", "eval_seconds", "cut"):
        assert parquet[name].tolist() == text[name].tolist()


@pytest.mark.parametrize("name", ["a.csv", "a.parquet", "a.jsonl"])
def test_only_the_states_that_are_asked_for_are_written(store: Store, tmp_path: Path, name: str) -> None:
    batch = batch_of(store, {"a": 1}, {"b": 2}, {"c": 3})
    answered(store, "one", None)

    count = ResultWriter(store.database, Selection(batch, states=frozenset([JobState.FAILED]))).file(
        tmp_path / name
    )

    assert count == 1


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.parquet", "a.jsonl", "a.xlsx"])
def test_what_was_there_stays_when_the_database_goes_away_midway(
    store: Store, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = batch_of(store, *[{"a": 1}] * 5)
    (tmp_path / name).write_text("old")

    def torn(*arguments: Any, **options: Any) -> Iterator[ResultRow]:
        for nth, row in enumerate(iter_results(*arguments, **options)):
            if nth == 3:
                raise ConnectionError
            yield row

    monkeypatch.setattr(results_module, "iter_results", torn)
    with pytest.raises(ConnectionError):
        ResultWriter(store.database, Selection(batch)).file(tmp_path / name)

    assert (tmp_path / name).read_text() == "old"
    assert not (tmp_path / f".{name}.part").exists()


def test_an_unknown_ending_is_refused_before_anything_is_written(store: Store, tmp_path: Path) -> None:
    batch = batch_of(store, None)

    with pytest.raises(InputRefused, match=r"known are \.jsonl"):
        ResultWriter(store.database, Selection(batch)).file(tmp_path / "a.txt")

    assert not (tmp_path / "a.txt").exists()


CELLS: dict[str, list[Any]] = {
    "price": ["19.90", "-5", ""],
    "n": ["12", "0", "7"],
    "plz": ["01067", "80331", "10115"],
    "ean": ["4012345678901", "4012345678902", "4012345678903"],
    "de": ["5,30", "5", "5"],
    "typed": [1, 2.5, None],
}


@pytest.mark.parametrize(
    ("source", "recipe", "numbers"),
    [
        ("/data/prices.csv.gz", TEMPLATE, True),
        ("-", TEMPLATE | {"columns": [*CELLS]}, True),
        ("-", TEMPLATE, False),
        ("/data/prices.jsonl", TEMPLATE, False),
    ],
)
def test_a_column_of_a_csv_that_is_all_numbers_is_one_of_numbers_in_a_spreadsheet(
    store: Store, tmp_path: Path, source: str, recipe: dict[str, Any], numbers: bool
) -> None:
    rows = [dict(zip(CELLS, cells, strict=True)) for cells in zip(*CELLS.values(), strict=True)]
    batch = batch_of(store, *rows, recipe=recipe)
    with store.database.write() as conn:
        conn.execute(update(batches).where(batches.c.id == batch).values(source=source))

    ResultWriter(store.database, Selection(batch)).file(tmp_path / "a.xlsx")
    ResultWriter(store.database, Selection(batch)).file(tmp_path / "a.csv")

    sheet = openpyxl.load_workbook(tmp_path / "a.xlsx").worksheets[0]
    header, *lines = [list(line) for line in sheet.iter_rows()]
    shown = {str(cell.value): [line[at].value for line in lines] for at, cell in enumerate(header)}
    assert shown["price"] == ([19.9, -5, None] if numbers else ["19.90", "-5", None])
    assert shown["n"] == ([12, 0, 7] if numbers else ["12", "0", "7"])
    assert {name: shown[name] for name in ("plz", "ean", "de", "typed")} == {
        name: CELLS[name] for name in ("plz", "ean", "de", "typed")
    }
    formats = [line[[cell.value for cell in header].index("price")].number_format for line in lines]
    assert formats == (["0.00", "0", "General"] if numbers else ["General"] * 3)
    assert [row["price"] for row in read_csv(tmp_path / "a.csv")] == CELLS["price"]


def test_metadata_is_read_over_pages_without_the_jobs_of_other_batches(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.storage.results.PAGE", 2)
    batch_of(store, {"other": 1})
    batch = batch_of(store, {"n": 1}, None, {"n": 2}, {"n": 3}, None, {"n": 4})
    batch_of(store, {"other": 2})

    assert [own["n"] for own in iter_metadata(store.database, batch)] == [1, 2, 3, 4]


def test_csv_goes_to_a_stream_as_to_a_file(store: Store, tmp_path: Path) -> None:
    batch = batch_of(store, {"a": "-x"})
    out = io.StringIO(newline="")

    assert ResultWriter(store.database, Selection(batch)).csv(out) == 1
    ResultWriter(store.database, Selection(batch)).file(tmp_path / "a.csv")

    assert out.getvalue().encode() == (tmp_path / "a.csv").read_bytes()


@pytest.fixture
def shell(store: Store, monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.setenv("CARAVAN_DATABASE_URL", store.database.url.render_as_string(hide_password=False))
    return lambda *arguments: CliRunner().invoke(app, ["results", "@last", *arguments])


def test_the_command_writes_what_the_ending_says(store: Store, shell: Shell, tmp_path: Path) -> None:
    batch_of(store, {"a": "=1"})

    for name in ("a.csv", "a.parquet"):
        assert "1 result in" in shell("-o", str(tmp_path / name)).stderr
    shell("-o", str(tmp_path / "raw.csv"), "--raw", "--bom")

    assert pq.read_table(tmp_path / "a.parquet").num_rows == 1
    assert read_csv(tmp_path / "a.csv")[0]["a"] == "'=1"
    assert read_csv(tmp_path / "raw.csv")[0]["a"] == "=1"
    assert (tmp_path / "raw.csv").read_bytes().startswith(b"\xef\xbb\xbf")


def test_the_command_prints_json_lines_or_csv(store: Store, shell: Shell) -> None:
    batch_of(store, {"a": "天\r\n"}, {"a": "x"})

    lines, table = shell().stdout_bytes, shell("--as", "csv", "-o", "-").stdout_bytes

    assert [json.loads(line)["metadata"]["a"] for line in lines.splitlines()] == ["天\r\n", "x"]
    rows = list(csv.DictReader(io.StringIO(table.decode(), newline="")))
    assert [row["a"] for row in rows] == ["天\r\n", "x"]


def test_the_command_refuses_an_output_before_it_looks_for_the_batch(shell: Shell, tmp_path: Path) -> None:
    unknown = shell("-o", str(tmp_path / "a.docx"))
    both = shell("--as", "csv", "-o", str(tmp_path / "a.csv"))

    assert unknown.exit_code == both.exit_code == 2
    assert "known are .jsonl" in unknown.stderr
    assert "standard output" in both.stderr

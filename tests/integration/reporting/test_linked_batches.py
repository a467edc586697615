"""Rows of a batch asked again of another model, and one row for each input to compare what came of it."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from sqlalchemy import text
from typer.testing import CliRunner
from typer.testing import Result as CliResult

from tests.integration.storage.conftest import Store, a_result, new_job
from worker.cli.main import app
from worker.domain.attempts import Failed, Succeeded
from worker.domain.jobs import Priority
from worker.errors import Code
from worker.storage import linked

Shell = Callable[..., CliResult]


@pytest.fixture
def shell(store: Store, monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.setenv("CARAVAN_DATABASE_URL", store.database.url.render_as_string(hide_password=False))
    return lambda *arguments: CliRunner().invoke(app, list(arguments))


def asked(store: Store) -> int:
    """Three rows: the first and the third answered, the second failed."""
    batch = store.submit(
        new_job(1, metadata={"lang": "de", "new": True}, priority=Priority.BULK),
        new_job(2, metadata={"lang": "en"}, request={"options": {"seed": 2, "top_k": 5}, "system": "Short."}),
        new_job(3, metadata={"lang": "zh", "new": False}),
    )
    jobs = {job.custom_id: job for job in store.claim()}
    store.finish(jobs["c1"], Succeeded(a_result(answer="eins")))
    store.finish(jobs["c2"], Failed(Code.CONTEXT_OVERFLOW, "too long"))
    store.finish(jobs["c3"], Succeeded(a_result(answer="三")))
    return batch


def answer_all(store: Store, answer: str, runner_key: str) -> None:
    with store.database.read() as conn:
        keys = set(conn.scalars(text("SELECT runner_key FROM jobs WHERE state = 'queued'")))
    for key in keys:
        if key.startswith(runner_key):
            for job in store.claim(runner_key=key, token=answer):
                store.finish(job, Succeeded(a_result(answer=f"{answer} {job.custom_id}")))


def stored(store: Store, batch: int) -> list[dict[str, Any]]:
    with store.database.read() as conn:
        rows = conn.execute(
            text(
                "SELECT custom_id, model, priority, prompt, CAST(request AS TEXT) AS request, "
                "CAST(metadata AS TEXT) AS metadata FROM jobs JOIN payloads ON job_id = id "
                "WHERE batch_id = :batch ORDER BY id"
            ),
            {"batch": batch},
        )
        return [dict(row._mapping) for row in rows]


def test_rows_are_asked_again_as_they_were_of_another_model(store: Store, shell: Shell) -> None:
    batch = asked(store)

    told = shell("submit", "--from", str(batch), "--model", "llama3:8b", "--set", "top_k=9", "--json")

    assert told.exit_code == 0, told.output
    new = json.loads(told.stdout)["batch"]
    then, now = stored(store, batch), stored(store, new)
    for before, after in zip(then, now, strict=True):
        for same in ("custom_id", "priority", "prompt", "metadata"):
            assert after[same] == before[same]
        assert after["model"] == "llama3:8b"
    assert json.loads(now[1]["request"])["system"] == "Short."
    assert json.loads(now[1]["request"])["options"] == {"seed": 2, "top_k": 9}
    with store.database.read() as conn:
        assert conn.execute(
            text("SELECT from_batch, batch_name FROM report_batches WHERE batch = :new"), {"new": new}
        ).one() == (batch, "b again, llama3:8b")


def test_the_same_command_again_doubles_nothing(store: Store, shell: Shell) -> None:
    batch = asked(store)

    first, again = (shell("submit", "--from", str(batch), "--model", "a:1", "--json") for _ in range(2))

    assert json.loads(first.stdout)["batch"] == json.loads(again.stdout)["batch"]
    assert (json.loads(first.stdout)["created"], json.loads(again.stdout)["created"]) == (True, False)


def test_rows_are_chosen_by_state_and_code(store: Store, shell: Shell) -> None:
    batch = str(asked(store))

    failed = shell("submit", "--from", batch, "--state", "failed", "--json")
    coded = shell("submit", "--from", batch, "--code", "context_overflow", "--model", "a:1", "--json")
    none = shell("submit", "--from", batch, "--code", "runner_died")

    for told in (failed, coded):
        assert [row["custom_id"] for row in stored(store, json.loads(told.stdout)["batch"])] == ["c2"]
    assert stored(store, json.loads(failed.stdout)["batch"])[0]["model"] == "qwen3:8b"
    assert none.exit_code == 2
    assert "has no row that has ended with code runner_died" in none.stderr


def test_a_file_and_a_batch_contradict_each_other(shell: Shell, tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text('{"prompt": "x"}\n', encoding="utf-8")

    for arguments in (
        (str(file), "--from", "1"),
        (),
        (str(file), "--state", "failed"),
        ("--from", "1", "--prompt", "a"),
        ("--from", "1", "--show", "1"),
    ):
        assert shell("submit", *arguments).exit_code == 2, arguments


def test_a_wide_table_has_a_row_for_each_input_and_columns_for_each_model(
    store: Store, shell: Shell, tmp_path: Path
) -> None:
    batch = str(asked(store))
    shell("submit", "--from", batch, "--state", "succeeded", "--model", "llama3:8b", "--model", "qwen3:8b")
    answer_all(store, "second", "qwen3:8b")

    told = shell("results", batch, "--wide", "-o", str(tmp_path / "w.csv"))
    shell("results", "@last", "--wide", "-o", str(tmp_path / "w.parquet"), "--with", "reasoning")

    assert "3 rows in" in told.stderr, told.output
    rows = list(csv.DictReader(io.StringIO((tmp_path / "w.csv").read_text(encoding="utf-8"))))
    assert [row["custom_id"] for row in rows] == ["c1", "c2", "c3"]
    assert [row["answer_qwen3:8b@1"] for row in rows] == ["eins", "", "三"]
    assert [row["answer_qwen3:8b@2"] for row in rows] == ["second c1", "", "second c3"]
    assert [row["state_llama3:8b"] for row in rows] == ["queued", "", "queued"]
    assert [row["error_code_qwen3:8b@1"] for row in rows] == ["", "context_overflow", ""]
    assert [row["lang"] for row in rows] == ["de", "en", "zh"]
    assert not any(name.startswith(("reasoning", "tokens_per_second", "total_seconds")) for name in rows[0])
    shell("results", batch, "--wide", "--with", "timing", "-o", str(tmp_path / "timed.csv"))
    assert "total_seconds_qwen3:8b@1" in (tmp_path / "timed.csv").read_text(encoding="utf-8")
    table = pq.read_table(tmp_path / "w.parquet").to_pylist()
    assert table[0]["reasoning_qwen3:8b@2"] == "Let me think."
    assert json.loads(table[0]["metadata"]) == {"lang": "de", "new": True}


def test_wide_lines_hold_the_models_that_were_asked(store: Store, shell: Shell) -> None:
    batch = str(asked(store))
    shell("submit", "--from", batch, "--code", "context_overflow", "--model", "a:1")

    lines = [json.loads(line) for line in shell("results", "2", "--wide").stdout.splitlines()]
    of_one = shell("results", batch, "--wide", "--model", "a:1", "--where", "lang=en").stdout

    assert [sorted(line["models"]) for line in lines] == [["qwen3:8b"], ["a:1", "qwen3:8b"], ["qwen3:8b"]]
    assert lines[0]["models"]["qwen3:8b"]["answer"] == "eins"
    assert "reasoning" not in lines[0]["models"]["qwen3:8b"]
    assert [json.loads(line)["models"].keys() for line in of_one.splitlines()] == [{"a:1"}]


def test_inputs_are_in_order_across_pages(
    store: Store, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linked, "PAGE", 3)
    jobs = [
        new_job(2 * n + m, custom_id=f"c{n}", model=f"m:{m}", runner_key=f"m:{m}")
        for n in range(1, 8)
        for m in (0, 1)
    ]
    batch = store.submit(*jobs)

    lines = [json.loads(line) for line in shell("results", str(batch), "--wide").stdout.splitlines()]

    assert [line["custom_id"] for line in lines] == [f"c{n}" for n in range(1, 8)]
    assert all(sorted(line["models"]) == ["m:0", "m:1"] for line in lines)
    assert len(shell("submit", "--from", str(batch), "--state", "queued", "--model", "x:1").stdout) > 0
    assert [row["custom_id"] for row in stored(store, batch + 1)] == [f"c{n}" for n in range(1, 8)]


def test_results_are_chosen_in_the_order_of_the_input(store: Store, shell: Shell, tmp_path: Path) -> None:
    asked(store)

    def ids(*arguments: str) -> list[str]:
        told = shell("results", "@last", *arguments)
        assert told.exit_code == 0, told.output
        return [json.loads(line)["custom_id"] for line in told.stdout.splitlines()]

    assert ids("--where", "new=true") == ["c1"]
    assert ids("--where", "new=false") == ["c3"]
    assert ids("--where", "new=1") == []
    assert ids("--code", "context_overflow") == ["c2"]
    assert ids("--model", "qwen3:8b", "--since", "2020-01-01", "--until", "2030-01-01") == ["c1", "c2", "c3"]
    shell("results", "--where", "lang=zh", "-o", str(tmp_path / "a.parquet"))
    assert pq.read_table(tmp_path / "a.parquet")["custom_id"].to_pylist() == ["c3"]


def test_fields_are_added_and_left_out(store: Store, shell: Shell, tmp_path: Path) -> None:
    asked(store)

    full = json.loads(
        shell("results", "@last", "--with", "context,prompt", "--with", "request").stdout.splitlines()[0]
    )
    lean = json.loads(shell("results", "@last", "--without", "reasoning").stdout.splitlines()[0])
    asked_for = json.loads(shell("results", "@last").stdout.splitlines()[0])
    came = json.loads(shell("results", "--without", "reasoning").stdout.splitlines()[0])
    table = shell(
        "results", "@last", "--without", "host,error,reasoning", "--with", "context", "--as", "csv"
    ).stdout
    unknown = shell("results", "@last", "--without", "raesoning")
    unknown_more = shell("results", "@last", "--with", "thoughts")

    assert (full["context"], full["prompt"]) == ([151644, 14880, 0, 7], "Say 1.")
    assert full["request"] == {"options": {"seed": 1}}
    assert "reasoning" not in lean
    assert "reasoning" not in came
    assert asked_for["reasoning"] == "Let me think."
    header = table.splitlines()[0].split(",")
    assert not {"reasoning", "host", "error_code"} & set(header)
    assert "[151644, 14880, 0, 7]" in table
    assert unknown.exit_code == unknown_more.exit_code == 2
    assert "did you mean reasoning" in unknown.stderr

"""What the base install can do without any extra, and what it says where an extra is needed.

The extras are installed where the tests run, so these commands run in a Python that refuses to import them.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

import simulator
from tests.acceptance.conftest import MODELS, write_jobs
from worker.documents.read import IMAGE_MODULES, MODULES
from worker.extras import EXTRAS

Environment = dict[str, str]
Hosts = tuple[simulator.RunningHost, ...]

ABSENT = sorted({module for brought in EXTRAS.values() for module in brought} | {"lxml", "numpy", "pandas"})
LAUNCH = f"""
import contextlib, io, json, sys, traceback

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {ABSENT!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
from worker.__main__ import main

def run(command):
    sys.argv[:] = ["caravan", *command]
    output, errors = (io.TextIOWrapper(io.BytesIO(), "utf-8") for _ in range(2))
    code = 0
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        try:
            main()
        except SystemExit as end:
            code = end.code
        except BaseException:
            code = traceback.format_exc()
        for stream in (output, errors):
            stream.flush()
    return [code or 0, *(stream.buffer.getvalue().decode() for stream in (output, errors))]

print(json.dumps([run(command) for command in json.loads(sys.argv[1])]))
"""


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int | str
    output: str
    errors: str


def base(*commands: Sequence[str], env: Environment, cwd: Path) -> list[Done]:
    """Run the commands one after the other in one Python without the packages of the extras."""
    done = subprocess.run(
        [sys.executable, "-c", LAUNCH, json.dumps(commands)],
        env=env,
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=150,
    )
    assert done.returncode == 0, done.stderr
    return [Done(*ended) for ended in json.loads(done.stdout.splitlines()[-1])]


@pytest.fixture
def here(environment: Environment, tmp_path: Path) -> tuple[Environment, Path]:
    """The environment and an empty folder, with the repository on Python's path."""
    root = Path(__file__).resolve().parents[2]
    return {**environment, "PYTHONPATH": str(root)}, tmp_path


def test_the_modules_that_are_absent_here_are_those_that_documents_need() -> None:
    assert {*IMAGE_MODULES, *(name for needed in MODULES.values() for name in needed)} == set(
        EXTRAS["documents"]
    )


def test_batches_run_and_their_results_are_written_without_any_extra(
    here: tuple[Environment, Path], hosts: Hosts
) -> None:
    env, folder = here
    (folder / "notes").mkdir()
    (folder / "notes" / "a.txt").write_text("Rivers of Portugal.")
    (folder / "notes" / "b.md").write_text("---\ntitle: B\n---\n# Lakes")
    file = write_jobs(folder / "jobs.jsonl", 6)
    addresses = [argument for host in hosts for argument in ("--host", host.url)]
    documents = ["--documents", "notes/*", "--prompt", "{{ document }}", "--model", MODELS[0]]

    *done, info = base(
        ["--help"],
        ["run", "--help"],
        ["run", str(file), *addresses, "-o", "answers.csv"],
        ["run", *documents, *addresses, "-o", "sums.jsonl"],
        ["status"],
        ["results", "--to-sqlite", "night.sqlite"],
        ["info", "--json"],
        env=env,
        cwd=folder,
    )

    assert [each.code for each in done] == [0] * 6, done
    assert len((folder / "answers.csv").read_text().splitlines()) == 7
    sums = [json.loads(line) for line in (folder / "sums.jsonl").read_text().splitlines()]
    assert [line["state"] for line in sums] == ["succeeded", "succeeded"]
    assert json.loads(info.output)["extras"] == []
    assert json.loads(info.output)["extras_not_installed"] == list(EXTRAS)


ASK = ("--prompt", "{{ document }}", "--model", "qwen3:8b")
ROWS = ("--prompt", "{{ text }}", "--model", "qwen3:8b")
NEEDS = [
    ("parquet", "pyarrow", ("submit", "rows.parquet", *ROWS)),
    (
        "parquet",
        "pyarrow",
        ("run", "rows.csv", *ROWS, "--host", "http://127.0.0.1:9", "-o", "answers.parquet"),
    ),
    ("parquet", "pyarrow", ("results", "@last", "-o", "answers.parquet")),
    ("documents", "pypdfium2", ("submit", "--documents", "*.pdf", *ASK)),
    ("documents", "webencodings", ("submit", "--documents", "*.eml", *ASK)),
    ("documents", "selectolax", ("submit", "--documents", "*.html", *ASK)),
    ("documents", "pillow", ("submit", "--documents", "*.pdf", *ASK, "--pages-as-images")),
    ("s3", "s3fs", ("submit", "--documents", "s3://bucket/*.txt", *ASK)),
    ("duckdb", "duckdb", ("results", "--to-duckdb", "night.duckdb")),
    ("fleet", "psycopg", ("db", "copy", "--to", "postgresql://u:secret@127.0.0.1:9/x")),
]


def test_a_command_that_needs_an_extra_names_it_and_stops(here: tuple[Environment, Path]) -> None:
    env, folder = here
    (folder / "rows.csv").write_text("text\nRivers\n")
    for name in ("rows.parquet", "a.pdf", "a.eml", "a.html"):
        (folder / name).write_bytes(b"not read")

    first, *done = base(
        ("submit", "rows.csv", *ROWS), *(command for _, _, command in NEEDS), env=env, cwd=folder
    )

    assert first.code == 0, first
    for (extra, package, command), ended in zip(NEEDS, done, strict=True):
        assert ended.code == 1, (command, ended)
        assert f"pip install 'caravan-ollama[{extra}]'" in ended.errors, (command, ended)
        assert package in ended.errors, (command, ended)
        assert "secret" not in ended.errors
    assert not [*folder.glob("answers.*"), *folder.glob("night.*")]


def test_processes_of_a_fleet_name_their_extra_and_a_batch_is_stored_without_it(
    here: tuple[Environment, Path],
) -> None:
    env, folder = here
    (folder / "rows.csv").write_text("text\nRivers\n")

    stored, *done = base(
        ("submit", "rows.csv", *ROWS),
        ("worker", "--host", "gpu-1"),
        ("control",),
        ("beat",),
        env={**env, "CARAVAN_BROKER_URL": "redis://127.0.0.1:9/0"},
        cwd=folder,
    )

    assert stored.code == 0
    assert stored.output.strip().isdigit()
    for ended in (stored, *done):
        assert "celery" in ended.errors
        assert "pip install 'caravan-ollama[fleet]'" in ended.errors
    assert [ended.code for ended in done] == [1, 1, 1]

"""Options that say which rows of a batch are meant are refused where no batch is named, and never dropped."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from worker.cli.main import app


@pytest.mark.parametrize("command", ["run", "submit"])
@pytest.mark.parametrize(
    "selection",
    [["--cut"], ["--empty"], ["--prompt-fit", "no"], ["--state", "failed"], ["--code", "timeout"]],
)
def test_a_selection_without_a_batch_is_refused_beside_documents(
    tmp_path: Path, command: str, selection: list[str]
) -> None:
    (tmp_path / "a.txt").write_text("Hello.", encoding="utf-8")
    documents = [
        "--documents",
        str(tmp_path / "*.txt"),
        "--root",
        str(tmp_path),
        "--prompt",
        "{{ document.text }}",
    ]

    result = CliRunner().invoke(app, [command, *documents, "--model", "m:1", *selection])

    assert result.exit_code == 2
    assert "--from BATCH" in result.output


@pytest.mark.parametrize("command", ["run", "submit"])
def test_documents_and_a_batch_are_not_asked_together(tmp_path: Path, command: str) -> None:
    (tmp_path / "a.txt").write_text("Hello.", encoding="utf-8")
    documents = [
        "--documents",
        str(tmp_path / "*.txt"),
        "--root",
        str(tmp_path),
        "--prompt",
        "{{ document.text }}",
    ]

    result = CliRunner().invoke(app, [command, *documents, "--model", "m:1", "--from", "@last"])

    assert result.exit_code == 2

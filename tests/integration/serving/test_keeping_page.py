"""The commands of the pages about reuse and deletion do what they say, in their order, beside a simulated host."""

import json
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import simulator
from tests.repo.docs.commands import shell_lines
from tests.repo.docs.pages import DOCS, blocks
from worker.cli.main import app

PAGES = (DOCS / "howto/reuse.md", DOCS / "howto/retention.md")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A host with the page's model, and the batches that the page speaks of."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CARAVAN_TICK_SECONDS", "0.1")
    for name in ("reviews", "nightly", "tonight"):
        rows: list[dict[str, object]] = [
            {
                "custom_id": f"doc-{n}",
                "prompt": f"Sum up {n}.",
                "metadata": {"customer": 4710 + n, "of": name},
            }
            for n in range(1, 6)
        ]
        if name == "tonight":
            rows.append({"prompt": "Sum up what is new."})
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    host = simulator.HostSettings(
        name="gpu-1", models=(simulator.SimulatedModel("qwen3:8b"),), time_scale=0.0
    )
    with simulator.running(host) as (running,):
        monkeypatch.setenv("OLLAMA_HOST", running.url)
        for name in ("reviews", "nightly"):
            ran = typed(
                f"caravan run {name}.jsonl --name {name} --model qwen3:8b --set seed=1 --keep 30d --reuse"
            )
            assert ran.exit_code == 0, ran.stderr
        yield tmp_path


def typed(line: str) -> Result:
    return CliRunner().invoke(app, shlex.split(line)[1:], catch_exceptions=False)


def test_every_command_of_the_pages_does_what_it_says(home: Path) -> None:
    said: dict[str, str] = {}
    for block in (block for page in PAGES for block in blocks(page, "console")):
        for line in shell_lines(block):
            done = typed(line)
            assert done.exit_code == 0, f"{line}: {done.stderr}"
            said[line] = done.stdout + done.stderr

    run, dry, old, by_name, of_customer, everywhere, by_id, by_code, whole = said.values()
    assert "5 stored answers were reused." in run
    assert (dry, old) == ("nothing to prune\n", "nothing to prune\n")
    assert by_name.startswith("10 jobs of 2 batches pruned")
    assert of_customer == "would delete 1 job of 1 batch\n"
    assert everywhere == "1 job deleted\n"
    assert (by_id, by_code, whole) == ("no jobs to delete\n",) * 3
    left = [json.loads(line) for line in typed("caravan results @last").stdout.splitlines()]
    assert [line["custom_id"] for line in left] == ["doc-2", "doc-3", "doc-4", "doc-5", "line-6"]
    assert [line["reused_from"] is not None for line in left] == [True, True, True, True, False]
    assert typed("caravan db check").exit_code == 0

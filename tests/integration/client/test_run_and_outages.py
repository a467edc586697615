"""A database that is away when a run's loop is over, or between its looks: no answer is lost for that."""

import json
from pathlib import Path
from typing import Any

import pytest

import simulator
from api_schemas.submissions import Submission
from worker.cli import summary
from worker.cli.run import run_batch
from worker.cli.submissions import Entry, RunTerms
from worker.door.rows import RowFile
from worker.errors import DatabaseUnavailable
from worker.settings import load_settings
from worker.stack import main_job
from worker.storage.engine import Database

MODEL = "llama3.2:3b"


def run(tmp_path: Path) -> tuple[int, list[dict[str, Any]]]:
    """Exit code and results of a run of three jobs."""
    file, output = tmp_path / "j.jsonl", tmp_path / "out.jsonl"
    file.write_text("".join(json.dumps({"prompt": f"Say {n}."}) + "\n" for n in range(3)))
    settings = simulator.HostSettings(name="gpu-1", models=simulator.demo_models(), time_scale=0.0)
    with simulator.running(settings) as (host,):
        code = run_batch(
            load_settings(home=tmp_path / "home"),
            Entry(Submission(models=(MODEL,)), RowFile(file)),
            RunTerms(output=output),
            urls=[host.url],
            slots=2,
        )
    return code, [json.loads(line) for line in output.read_text().splitlines()]


class Away:
    """Refuses so many reads and writes, each, once it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, times: int) -> None:
        self.began = False
        self.left = {"read": times, "write": times}
        for name in self.left:
            monkeypatch.setattr(Database, name, self._refusing(name, getattr(Database, name)))

    def _refusing(self, name: str, real: Any) -> Any:
        def refusing(database: Database) -> Any:
            if self.began and self.left[name]:
                self.left[name] -= 1
                raise DatabaseUnavailable("locked")
            return real(database)

        return refusing


def test_after_the_loop_it_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    away, watch = Away(monkeypatch, times=4), summary.show_to_the_end

    def watched(*args: Any, **more: Any) -> Any:
        ended = watch(*args, **more)
        away.began = True
        return ended

    monkeypatch.setattr(summary, "show_to_the_end", watched)
    monkeypatch.setattr(main_job, "LOOK_SECONDS", 0.02)

    code, results = run(tmp_path)

    assert code == 0
    assert [line["state"] for line in results] == ["succeeded"] * 3
    assert away.left["read"] == 0
    assert "Model loads: 1" in capsys.readouterr().err


def test_one_that_stays_away_ends_the_wait_with_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    away, watch = Away(monkeypatch, times=10_000), summary.show_to_the_end

    def watched(*args: Any, **more: Any) -> Any:
        ended = watch(*args, **more)
        away.began = True
        return ended

    monkeypatch.setattr(summary, "show_to_the_end", watched)
    monkeypatch.setattr(main_job, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(main_job, "DATABASE_SECONDS", 0.1)

    with pytest.raises(DatabaseUnavailable):
        run(tmp_path)
    assert (tmp_path / "home" / "caravan.db").exists()

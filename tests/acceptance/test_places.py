"""Commands in odd places: homes with odd names, standard output that is not UTF-8, rows beyond the limit."""

import json
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

import simulator
from tests.acceptance.conftest import caravan, write_jobs
from tests.processes import CARAVAN

Environment = dict[str, str]
Hosts = tuple[simulator.RunningHost, ...]


@pytest.mark.parametrize(
    "name", ["a b", "a?b", "a%20b", "a#b", "ü-家", "it's", "[red]x[", "{x}", "a&mode=ro"]
)
def test_a_home_may_have_any_name(environment: Environment, tmp_path: Path, name: str) -> None:
    home = tmp_path / name
    env = {**environment, "CARAVAN_HOME": str(home)}

    caravan("hosts", "add", "gpu-1", "http://127.0.0.1:9", env=env, check=False)
    listed = caravan("hosts", "list", "--json", env=env)

    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == [name]
    with closing(sqlite3.connect(home / "caravan.db")) as database:
        assert database.execute("SELECT name FROM hosts").fetchall() == [("gpu-1",)]
    assert "gpu-1" in listed.stdout


def test_a_tilde_in_the_name_of_the_home_is_that_of_the_person(
    environment: Environment, tmp_path: Path
) -> None:
    person = tmp_path / "person"
    person.mkdir()
    env = {**environment, "HOME": str(person), "CARAVAN_HOME": "~/of caravan"}

    subprocess.run([*CARAVAN, "status"], env=env, cwd=_root(), capture_output=True, check=False)
    caravan("hosts", "list", env=env)

    assert (person / "of caravan" / "caravan.db").is_file()


def _root() -> Path:
    return Path(__file__).parents[2]


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "ascii"])
def test_answers_are_written_in_utf_8_whatever_standard_output_is(
    environment: Environment, hosts: Hosts, tmp_path: Path, encoding: str
) -> None:
    file = tmp_path / "jobs.jsonl"
    model = simulator.demo_models()[0].name
    rows = [{"custom_id": f"东京-{n}-🚆", "model": model, "prompt": "Say 你好 ✓"} for n in range(3)]
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    env = {**environment, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}

    for command in (["run", str(file), "--host", hosts[0].url], ["results", "@last"], ["jobs", "@last"]):
        done = subprocess.run([*CARAVAN, *command], env=env, capture_output=True, timeout=120, check=False)

        assert b"Traceback" not in done.stderr
        assert done.returncode == 0, done.stderr
        if command[0] == "results":
            lines = [json.loads(line) for line in done.stdout.decode("utf-8").splitlines()]
            assert sorted(line["custom_id"] for line in lines) == sorted(row["custom_id"] for row in rows)


def test_json_holds_every_row_or_says_how_many_it_left_out(
    environment: Environment, hosts: Hosts, tmp_path: Path
) -> None:
    file = write_jobs(tmp_path / "jobs.jsonl", 120)
    caravan("run", str(file), "--host", hosts[0].url, "--host", hosts[1].url, env=environment)

    every = caravan("jobs", "@last", "--json", env=environment)
    some = caravan("jobs", "@last", "--json", "--limit", "7", env=environment)

    assert every.stdout.count('"custom_id"') == 120
    assert some.stdout.count('"custom_id"') == 7

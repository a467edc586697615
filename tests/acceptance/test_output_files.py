"""Files that a command writes: never over an input, and nothing of somebody's without --force."""

import json
import os
import stat
import subprocess
from pathlib import Path

import pytest

import simulator
from tests.acceptance.conftest import caravan, write_jobs

Environment = dict[str, str]
Hosts = tuple[simulator.RunningHost, ...]


@pytest.fixture
def answered(environment: Environment, hosts: Hosts, tmp_path: Path) -> Environment:
    caravan(
        "run",
        str(write_jobs(tmp_path / "jobs.jsonl", 6, metadata={"note": "x" * 2000})),
        "--host",
        hosts[0].url,
        env=environment,
    )
    return environment


def asked(hosts: Hosts) -> int:
    return sum(int(host.state()["requests"]) for host in hosts)


def test_a_run_never_writes_over_what_it_reads_and_asks_nothing_then(
    environment: Environment, hosts: Hosts, tmp_path: Path
) -> None:
    source = tmp_path / "in.csv"
    source.write_text("name,text\na,x\n")
    schema = tmp_path / "s.json"
    schema.write_text(json.dumps({"type": "object"}))
    template = tmp_path / "t.csv"
    template.write_text("Say {{ name }}")
    own = tmp_path / "own.csv"
    own.write_text("not of Caravan")
    (tmp_path / "in.rejects.jsonl").write_text("not of Caravan either")
    command = ["run", str(source), "--model", "llama3.2:3b", "--host", hosts[0].url]
    read = ["--template", str(template), "--format", str(schema)]
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}

    outputs = [(source, True), (schema, True), (template, True), (own, False)]
    for output, force in outputs:
        more = ["--force"] if force else []
        done = caravan(*command, *read, "-o", str(output), *more, env=environment, check=False)
        assert done.returncode == 2, output
        assert str(output) in done.stderr
        assert "Traceback" not in done.stderr
    done = caravan(*command, *read, "--on-bad-line", "skip", env=environment, check=False)
    assert (done.returncode, "in.rejects.jsonl" in done.stderr) == (2, True)

    assert {path: path.read_bytes() for path in before} == before
    assert asked(hosts) == 0


def test_the_same_command_again_writes_its_file_again_and_force_replaces_another(
    environment: Environment, hosts: Hosts, tmp_path: Path
) -> None:
    file = write_jobs(tmp_path / "jobs.jsonl", 3)
    out = tmp_path / "out.csv"
    command = ["run", str(file), "--host", hosts[0].url, "-o", str(out)]
    caravan(*command, env=environment)
    first = out.read_bytes()

    caravan(*command, env=environment)
    assert out.read_bytes() == first
    out.write_text("my remarks")
    assert caravan(*command, env=environment, check=False).returncode == 2
    assert out.read_text() == "my remarks"
    caravan(*command, "--force", env=environment)
    assert out.read_bytes() == first


def test_no_command_writes_over_a_file_of_somebodys_own(answered: Environment, tmp_path: Path) -> None:
    own = tmp_path / "own.csv"
    own.write_text("my own")
    database = Path(answered["CARAVAN_HOME"]) / "caravan.db"
    lines = (
        ["results", "@last", "-o"],
        ["results", "@last", "--without", "reasoning", "-o"],
        ["results", "@last", "--wide", "-o"],
        ["results", "--to-sqlite"],
        ["report", "--html"],
        ["db", "backup"],
    )
    for line in lines:
        done = caravan(*line, str(own), env=answered, check=False)
        assert done.returncode in (1, 2), line
        assert "--force" in done.stderr, line
        assert own.read_text() == "my own"
    for line in (
        ["results", "--force", "--to-sqlite"],
        ["report", "--force", "--html"],
        ["db", "backup", "--force"],
    ):
        done = caravan(*line, str(database), env=answered, check=False)
        assert done.returncode in (1, 2), line
        assert "database" in done.stderr, line
    assert json.loads(caravan("status", "--json", env=answered).stdout), "the database is whole"


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system of its own")
def test_a_disk_that_is_full_names_the_file_and_the_command_that_writes_it_later(
    answered: Environment, hosts: Hosts, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4k", "none", str(disk)], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("this container may not mount")
    try:
        for line in (
            ["run", str(tmp_path / "jobs.jsonl"), "--host", hosts[0].url, "-o"],
            ["results", "@last", "-o"],
            ["results", "--to-sqlite"],
            ["report", "--html"],
            ["db", "backup"],
        ):
            done = caravan(*line, str(disk / "a.csv"), env=answered, check=False)

            assert done.returncode == 1, line
            assert str(disk / "a.csv") in done.stderr, line
            assert "No space left" in done.stderr, line
            assert "Traceback" not in done.stderr, line
            assert not list(disk.iterdir()), "nothing partial is left"
            if line[0] == "run":
                assert f"caravan results 1 -o {disk / 'a.csv'}" in done.stderr
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_answers_follow_the_umask_and_snapshots_and_backups_are_private(
    answered: Environment, tmp_path: Path
) -> None:
    def mode(name: str) -> int:
        return stat.S_IMODE((tmp_path / name).stat().st_mode)

    old = os.umask(0o022)
    try:
        caravan("results", "@last", "-o", str(tmp_path / "a.csv"), env=answered)
        caravan("results", "--to-sqlite", str(tmp_path / "s.db"), env=answered)
        caravan("db", "backup", str(tmp_path / "b.db"), env=answered)
    finally:
        os.umask(old)

    assert (mode("a.csv"), mode("s.db"), mode("b.db")) == (0o644, 0o600, 0o600)


def test_an_output_among_the_documents_is_refused(
    environment: Environment, hosts: Hosts, tmp_path: Path
) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    (inbox / "a.txt").write_text("A letter.")
    command = ["run", "--documents", f"{inbox}/**", "--prompt", "Sum up: {{ document.text }}"]

    done = caravan(
        *command, "--model", "llama3.2:3b", "--host", hosts[0].url, "-o", str(inbox / "o.jsonl"), "--force",
        env=environment, check=False,
    )  # fmt: skip

    assert done.returncode == 2
    assert "documents" in done.stderr
    assert asked(hosts) == 0

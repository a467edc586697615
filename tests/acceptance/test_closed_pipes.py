"""A reader that has gone away is no error: `| head -1`, and streams that were closed from the beginning."""

import shlex
import subprocess
from pathlib import Path

import pytest

import simulator
from tests.acceptance.conftest import caravan, write_jobs
from tests.processes import CARAVAN

Environment = dict[str, str]
Hosts = tuple[simulator.RunningHost, ...]


@pytest.fixture
def answered(environment: Environment, hosts: Hosts, tmp_path: Path) -> Environment:
    """A home with a batch of 200 answers, more than a pipe takes at once."""
    file = write_jobs(tmp_path / "jobs.jsonl", 200)
    caravan("run", str(file), "--host", hosts[0].url, "--name", "ads", env=environment)
    return environment


def shell(line: str, environment: Environment) -> "subprocess.CompletedProcess[str]":
    """The line as bash runs it with ``pipefail``; $C is the command."""
    return subprocess.run(
        ["bash", "-c", "set -o pipefail; " + line.replace("$C", shlex.join(CARAVAN))],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_what_head_does_not_read_is_no_error(answered: Environment) -> None:
    lines = [
        "results ads",
        "results ads --wide",
        "results --follow",
        "jobs ads --json",
        "status",
        "--help",
    ]
    for line in lines:
        done = shell(f"$C {line} | head -1", answered)

        assert (done.returncode, done.stderr) == (0, ""), line
        assert done.stdout, line


def test_streams_that_were_closed_from_the_beginning_are_no_error(answered: Environment) -> None:
    for line in (
        "$C results ads >&-",
        "$C status 2>&- >/dev/null",
        "$C status >&- 2>&- <&-",
    ):
        done = shell(line, answered)

        assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), line


def test_a_run_whose_standard_error_nobody_reads_goes_on(
    environment: Environment, hosts: Hosts, tmp_path: Path
) -> None:
    file = write_jobs(tmp_path / "jobs.jsonl", 20)
    out = tmp_path / "out.jsonl"

    done = shell(f"$C run {file} --host {hosts[0].url} -o {out} 2>&1 >/dev/null | head -0", environment)

    assert done.returncode == 0
    assert len(out.read_text().splitlines()) == 20


def test_a_run_keeps_its_exit_code_though_nobody_reads_its_answers(
    environment: Environment, hosts: Hosts, tmp_path: Path
) -> None:
    file = write_jobs(tmp_path / "jobs.jsonl", 200)

    done = shell(f"$C -q run {file} --host {hosts[0].url} -o - | head -1", environment)

    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 1

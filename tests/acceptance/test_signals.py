"""SIGTERM, SIGHUP and a closed terminal end a command as the first Ctrl-C does."""

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

import simulator
from tests.acceptance.conftest import MODELS, caravan, write_jobs
from tests.processes import CARAVAN, Processes, Started
from tests.waiting import wait_until
from worker.storage.counts import batch_progress
from worker.storage.engine import open_database

Environment = dict[str, str]
Hosts = tuple[simulator.RunningHost, ...]


def on(hosts: Hosts) -> list[str]:
    return [argument for host in hosts for argument in ("--host", host.url)]


def completed(hosts: Hosts) -> int:
    return sum(int(host.state()["completed"]) for host in hosts)


def counts(environment: Environment, batch: int = 1) -> dict[str, int]:
    database = open_database(f"sqlite:///{environment['CARAVAN_HOME']}/caravan.db")
    with database.read() as conn:
        found = batch_progress(conn, batch).counts
    database.close()
    return {str(state): n for state, n in found.items() if n}


def send(started: Started, number: int) -> None:
    os.kill(started.pid, number)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_run_that_is_told_to_end_stores_what_runs_and_gives_the_rest_back(
    environment: Environment, hosts: Hosts, processes: Processes, tmp_path: Path, number: int, code: int
) -> None:
    file = write_jobs(tmp_path / "jobs.jsonl", 300, options={"num_predict": 80})
    out = tmp_path / "out.jsonl"
    run = processes.start(
        [*CARAVAN, "run", str(file), *on(hosts), "-o", str(out)], name="run", env=environment
    )
    wait_until(lambda: completed(hosts) > 20, description="some jobs are answered")

    send(run, number)

    assert run.wait() == code
    assert "goes on where it stopped" in run.output()
    assert not out.exists()
    left = counts(environment)
    assert left.keys() <= {"succeeded", "queued", "waiting", "ready"}, "no job is left running"
    assert left["succeeded"] == completed(hosts), "each answer that a host produced is stored"


def test_a_schedule_run_that_is_told_to_end_stores_what_runs(
    environment: Environment, hosts: Hosts, processes: Processes, tmp_path: Path
) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    for n in range(200):
        (inbox / f"{n}.txt").write_text(f"This is document {n}.")
    caravan(
        *["schedule", "add", "nightly", "--cron", "0 2 * * *", "--documents", f"{inbox}/**"],
        *["--prompt", "Sum up: {{ document.text }}", "--model", MODELS[0], "--set", "num_predict=80"],
        env=environment,
    )
    run = processes.start(
        [*CARAVAN, "schedule", "run", "nightly", *on(hosts)], name="schedule", env=environment
    )
    wait_until(lambda: completed(hosts) > 5, description="some documents are answered")

    send(run, signal.SIGTERM)

    assert run.wait() == 143
    assert "Traceback" not in run.output()
    left = counts(environment)
    assert "running" not in left
    assert left["succeeded"] == completed(hosts), "each answer that a host produced is stored"


def test_the_demo_ends_by_sigterm(environment: Environment, processes: Processes) -> None:
    demo = processes.start([*CARAVAN, "demo"], name="demo", env=environment)
    demo.wait_for("simulated")

    send(demo, signal.SIGTERM)

    assert demo.wait() == 143
    assert "Traceback" not in demo.output()


def test_up_ends_in_order_by_sighup(environment: Environment, hosts: Hosts, processes: Processes) -> None:
    up = processes.start([*CARAVAN, "up", *on(hosts)], name="up", env=environment)
    up.wait_for("serving 127.0.0.1")

    send(up, signal.SIGHUP)

    assert up.wait() == 0
    assert "Stopping" in up.output()


@pytest.mark.parametrize("command", [["watch"], ["results", "--follow"], ["simulate", "--host", "x:0"]])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_command_that_goes_on_ends_by_a_signal_without_a_traceback(
    environment: Environment, processes: Processes, command: list[str], number: int, code: int
) -> None:
    going = processes.start([*CARAVAN, *command], name=command[0], env=environment)
    wait_until(lambda: _waits_with_handler(going.pid, number), description="it takes the signal", timeout=60)

    send(going, number)

    assert going.wait() == code
    assert "Traceback" not in going.output()


def _waits_with_handler(pid: int, number: int) -> bool:
    """Whether the process has a handler for the signal (``SigCgt`` of the kernel)."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    caught = int(next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt")), 16)
    return bool(caught >> (number - 1) & 1)


def test_a_run_under_nohup_outlives_its_terminal(
    environment: Environment, hosts: Hosts, processes: Processes, tmp_path: Path
) -> None:
    file = write_jobs(tmp_path / "jobs.jsonl", 60)
    command = ["nohup", *CARAVAN, "run", str(file), *on(hosts)]
    run = processes.start(command, name="run", env=environment)
    wait_until(lambda: completed(hosts) > 5, description="some jobs are answered")

    send(run, signal.SIGHUP)

    assert run.wait() == 0


def test_a_terminal_that_is_closed_ends_a_run_in_order(
    environment: Environment, hosts: Hosts, tmp_path: Path
) -> None:
    file = write_jobs(tmp_path / "jobs.jsonl", 300, options={"num_predict": 80})
    run, terminal = on_terminal(["run", str(file), *on(hosts)], environment)
    wait_until(lambda: completed(hosts) > 20, description="some jobs are answered")

    os.close(terminal)  # the kernel sends SIGHUP; every write to the terminal fails from now on

    assert run.wait(timeout=60) == 129
    assert "running" not in counts(environment)
    assert counts(environment)["succeeded"] == completed(hosts)


_WITH_TERMINAL = (
    "import fcntl, os, sys, termios; os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    "os.execv(sys.argv[1], sys.argv[1:])"
)


def on_terminal(arguments: Sequence[str], environment: Environment) -> "tuple[subprocess.Popen[bytes], int]":
    """A command with a terminal of its own, and our end of it."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", _WITH_TERMINAL, *CARAVAN, *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**environment, "TERM": "xterm", "COLUMNS": "100"},
    )
    os.close(theirs)
    os.set_blocking(ours, True)
    return process, ours

"""Processes that tests start: heard, stopped, and never left behind."""

import sys
from pathlib import Path

import psutil
import pytest

from tests.processes import Processes

CHILD = "import subprocess, sys, threading; subprocess.Popen([sys.executable, '-c', {!r}]); threading.Event().wait()"
GRANDCHILD = "import os, threading; print('child', os.getpid(), flush=True); threading.Event().wait()"


def test_what_a_process_says_is_heard_and_its_end_is_told(processes: Processes) -> None:
    code = "import os, sys; print(sys.stdin.read(), os.environ['COLOUR']); sys.exit(3)"

    started = processes.start([sys.executable, "-c", code], name="one", env={"COLOUR": "blue"}, stdin=b"sky")

    assert started.wait() == 3
    assert started.output() == "sky blue\n"


def test_waiting_for_words_ends_when_the_process_does(processes: Processes) -> None:
    started = processes.start([sys.executable, "-c", "print('something else')"], name="one")

    with pytest.raises(AssertionError, match="one ended with 0 and never said 'ready'"):
        started.wait_for("ready")


def test_a_killed_process_takes_its_children_with_it(processes: Processes) -> None:
    started = processes.start([sys.executable, "-c", CHILD.format(GRANDCHILD)], name="parent")
    child = psutil.Process(int(started.wait_for("child ").split()[1]))

    started.kill()

    psutil.wait_procs([child], timeout=10)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
    assert started.wait() == -9


def test_what_still_runs_is_ended_and_what_it_said_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    processes = Processes(tmp_path)
    code = "import threading; print('here', flush=True); threading.Event().wait()"
    started = processes.start([sys.executable, "-c", code], name="left")
    started.wait_for("here")

    processes.end()

    assert not started.running
    assert "--- left (pid" in capsys.readouterr().out

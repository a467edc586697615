"""Real processes for the tests: started, watched, killed, and always reaped."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.servers.children import dies_with_parent
from tests.waiting import wait_until

CARAVAN = [sys.executable, "-m", "worker"]
SIMULATOR = [*CARAVAN, "simulate"]


class Started:
    """A process in a group of its own, its output in a file."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path, name: str) -> None:
        self._process = process
        self._log = log
        self.name = name

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def output(self) -> str:
        """What it has written so far, standard output and error as they came."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def wait_for(self, text: str, timeout: float = 30.0) -> str:
        """All output once ``text`` is in it. Raises AssertionError when it ends first, or is too slow."""

        def said() -> bool:
            ended = not self.running  # asked first: what it wrote last is then in the file
            if text in self.output():
                return True
            assert not ended, f"{self.name} ended with {self._process.returncode} and never said {text!r}"
            return False

        wait_until(said, description=f"{self.name} says {text!r}", timeout=timeout)
        return self.output()

    def kill(self) -> None:
        """SIGKILL to the whole group: what a power cut leaves."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait(timeout=30)

    def terminate(self) -> None:
        """SIGTERM to the process alone, as a supervisor sends it."""
        self._process.terminate()

    def interrupt(self) -> None:
        """Ctrl-C, to the process alone."""
        self._process.send_signal(signal.SIGINT)

    def wait(self, timeout: float = 60.0) -> int:
        """The exit code; minus the number of the signal that ended it. Raises subprocess.TimeoutExpired."""
        return self._process.wait(timeout=timeout)


class Processes:
    """Everything a test started."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._started: list[Started] = []

    def start(
        self,
        command: Sequence[str],
        *,
        name: str,
        env: Mapping[str, str] | None = None,
        stdin: bytes | None = None,
        cwd: Path | None = None,
    ) -> Started:
        """Start ``command`` with ``env`` on top of our own environment, in ``cwd``; ``stdin`` is all it reads."""
        log = self._folder / f"{name}-{len(self._started)}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                list(command),
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **(env or {})},
                cwd=cwd,
                start_new_session=True,
                preexec_fn=dies_with_parent,
            )
        started = Started(process, log, name)
        self._started.append(started)
        if process.stdin is not None:
            with contextlib.suppress(BrokenPipeError), process.stdin:
                process.stdin.write(stdin or b"")
        return started

    def end(self) -> None:
        """Kill what still runs, and show what everything said: pytest prints it where the test failed."""
        if "COVERAGE_PROCESS_CONFIG" in os.environ:
            self._let_write_what_was_measured()
        for started in self._started:
            started.kill()
            code = started.wait()
            print(f"--- {started.name} (pid {started.pid}, ended with {code})\n{started.output()[-4000:]}")

    def _let_write_what_was_measured(self) -> None:
        """A process that is killed writes no coverage, so ask each to end first, for as long as it takes."""
        running = [started for started in self._started if started.running]
        for started in running:
            started.terminate()
        for started in running:
            with contextlib.suppress(subprocess.TimeoutExpired):
                started.wait(timeout=20)

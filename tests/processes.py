"""Real processes for the tests: started, watched, killed, and always reaped."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.services.children import dies_with_parent
from tests.waiting import wait_until

CARAVAN = [sys.executable, "-m", "worker"]
SIMULATOR = [sys.executable, "-m", "worker", "simulate"]


class Started:
    """A process in a group of its own, its output in a file."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path, name: str) -> None:
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
        return self._log.read_text(encoding="utf-8", errors="replace")

    def wait_for(self, text: str, timeout: float = 30.0) -> str:
        """All output once ``text`` is in it. Fails when the process ends without it."""

        def seen() -> bool:
            return text in self.output() or not self.running

        wait_until(
            seen, description=f"{self.name} says {text!r}; so far:\n{self.output()[-2000:]}", timeout=timeout
        )
        assert text in self.output(), (
            f"{self.name} ended with {self._process.returncode}:\n{self.output()[-2000:]}"
        )
        return self.output()

    def kill(self) -> None:
        """SIGKILL to the whole group: what a power cut leaves."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self._process.wait(timeout=30)

    def terminate(self) -> None:
        self._process.terminate()

    def interrupt(self) -> None:
        """Ctrl-C."""
        self._process.send_signal(signal.SIGINT)

    def wait(self, timeout: float = 60.0) -> int:
        """The exit code."""
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
    ) -> Started:
        log = self._folder / f"{name}-{len(self._started)}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                list(command),
                stdout=out,
                stderr=subprocess.STDOUT,
                stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
                env={**os.environ, **(env or {})},
                start_new_session=True,
                preexec_fn=dies_with_parent,
            )
        if stdin is not None and process.stdin is not None:
            process.stdin.write(stdin)
            process.stdin.close()
        started = Started(process, log, name)
        self._started.append(started)
        return started

    def end(self) -> None:
        for started in self._started:
            started.kill()
            print(f"--- {started.name}\n{started.output()[-4000:]}")

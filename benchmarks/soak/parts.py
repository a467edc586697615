"""What is there to break? Processes in groups of their own that can be killed, paused, and started again.

Only the thread that makes them may start them: they end with it (``dies_with_parent``).
"""

import contextlib
import os
import pwd
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from benchmarks.processes import clean_environ
from tests.servers.children import dies_with_parent


class Part:
    """A process that can be started again and again under one name. While an old one ends there may be two."""

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        logs: Path,
        environ: Mapping[str, str] | None = None,
        *,
        user: pwd.struct_passwd | None = None,
    ) -> None:
        self.name = name
        self._command = [str(word) for word in command]
        self._environ = {**clean_environ(), **(environ or {})}
        self._user = user
        self._running: list[subprocess.Popen[bytes]] = []
        self.log = logs / f"{name.replace(' ', '-')}.log"
        self.starts = 0

    def start(self) -> None:
        self.starts += 1
        with self.log.open("ab") as output:
            process = subprocess.Popen(
                self._command,
                cwd="/" if self._user else None,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._environ,
                start_new_session=True,
                preexec_fn=dies_with_parent,  # runs after the change of user, which would clear it
                user=None if self._user is None else self._user.pw_uid,
                group=None if self._user is None else self._user.pw_gid,
                extra_groups=None if self._user is None else [],
            )
        self._running.append(process)

    @property
    def running(self) -> bool:
        return bool(self.pids)

    @property
    def pids(self) -> list[int]:
        """Ids of its processes that have not ended."""
        self._running = [process for process in self._running if process.poll() is None]
        return [process.pid for process in self._running]

    def signal_group(self, number: int) -> None:
        """To every process of it, the old ones too."""
        for process in self._running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)

    def signal(self, number: int) -> None:
        """To the main process alone, as a supervisor does."""
        for process in self._running:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)

    def kill(self) -> None:
        """What a power cut leaves."""
        self.signal_group(signal.SIGKILL)
        for process in self._running:
            process.wait(timeout=30)
        self._running = []

    def kill_children(self) -> int:
        """SIGKILL to the children alone, as the kernel's memory killer may choose. Returns how many it was."""
        killed = 0
        for process in self._running:
            with contextlib.suppress(psutil.Error):
                for child in psutil.Process(process.pid).children(recursive=True):
                    child.kill()
                    killed += 1
        return killed

    def wait(self, seconds: float) -> bool:
        """Whether all of it has ended by then."""
        try:
            for process in self._running:
                process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            return False
        return not self.running

    def said(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""


def caravan(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "worker", *arguments]

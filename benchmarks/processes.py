"""What do processes use? They are started in groups, watched with all their children, and stopped by their ids."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import psutil

from benchmarks.figures import Figures, Sample, figures
from tests.servers.children import dies_with_parent

LOOK_SECONDS = (0.05, 0.25)
"""The shortest and the longest pause between two looks at a run."""
LOOK_SHARE = 0.05
"""Between the two, this share of the time is spent counting: in a large table it takes a while, and the CPU is shared."""
FAMILY_SECONDS = 0.5
"""How often the children of a process are looked up: that reads the whole process table."""
WARM = 0.05
"""Share of the jobs that is stored before the window of a measurement opens."""


class Stuck(RuntimeError):
    """A run that did not end, with what its processes said last."""


def clean_environ() -> dict[str, str]:
    """The environment without the settings of whoever runs the benchmark."""
    return {n: value for n, value in os.environ.items() if not n.startswith(("CARAVAN_", "BASELINE_"))}


class Group:
    """Processes that play one part, as ``worker``, each with the log that it writes."""

    def __init__(self, name: str, logs: Path) -> None:
        self.name = name
        self._logs = logs
        self._started: list[subprocess.Popen[bytes]] = []
        self._family: dict[int, psutil.Process] = {}
        self._looked_at = float("-inf")
        self.peak: dict[str, int] = {}

    def start(
        self,
        module: str,
        *arguments: str,
        environ: Mapping[str, str] | None = None,
        python: str = sys.executable,
    ) -> subprocess.Popen[bytes]:
        """Start ``python -m module``. Its output goes to a log of its own, except where it is asked for later."""
        log = self.log(len(self._started))
        with log.open("wb") as file:
            process = subprocess.Popen(
                [python, "-m", module, *arguments],
                env={**clean_environ(), **(environ or {})},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=dies_with_parent,
            )
        self._started.append(process)
        return process

    def log(self, number: int) -> Path:
        return self._logs / f"{self.name.replace(' ', '-')}-{number}.log"

    def running(self) -> bool:
        """Whether all are still there. Nothing is waited for: what has ended keeps its CPU times until then."""
        try:
            return all(psutil.Process(p.pid).status() != psutil.STATUS_ZOMBIE for p in self._started)
        except psutil.NoSuchProcess:
            return False

    def cpu_seconds(self) -> float:
        """CPU of the processes and all their children so far, those that ended and were waited for included."""
        self._look_for_children()
        total = 0.0
        for process in list(self._family.values()):
            with contextlib.suppress(psutil.Error):
                times = process.cpu_times()
                total += times.user + times.system + times.children_user + times.children_system
        return total

    def look_at_memory(self) -> dict[str, int]:
        """Resident bytes now: of the processes that were started the largest, and of their children. Keeps peaks."""
        self._look_for_children()
        sizes: dict[str, int] = {}
        for pid, process in list(self._family.items()):
            with contextlib.suppress(psutil.Error):
                kind = self._kind(pid)
                sizes[kind] = max(sizes.get(kind, 0), process.memory_info().rss)
        for kind, size in sizes.items():
            self.peak[kind] = max(self.peak.get(kind, 0), size)
        return sizes

    def _kind(self, pid: int) -> str:
        return self.name if any(process.pid == pid for process in self._started) else f"{self.name} child"

    def _look_for_children(self) -> None:
        now = time.monotonic()
        if now - self._looked_at < FAMILY_SECONDS:
            return
        self._looked_at = now
        for process in self._started:
            with contextlib.suppress(psutil.Error):
                parent = psutil.Process(process.pid)
                for one in (parent, *parent.children(recursive=True)):
                    self._family.setdefault(one.pid, one)

    def stop(self, *, patience: float = 15) -> None:
        """Ask all to end, and end what has not after ``patience`` seconds."""
        self._looked_at = float("-inf")
        self._look_for_children()
        for process in self._started:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
        until = time.monotonic() + patience
        for process in self._started:
            try:
                process.wait(timeout=max(0.1, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for child in self._family.values():
            with contextlib.suppress(psutil.Error):
                if child.is_running():
                    child.kill()

    def last_words(self) -> str:
        """The ends of the logs, for an error."""
        texts = []
        for number in range(len(self._started)):
            lines = self.log(number).read_text(encoding="utf-8", errors="replace").splitlines()
            texts.append("\n".join([f"-- {self.log(number).name}", *lines[-12:]]))
        return "\n".join(texts)


@contextlib.contextmanager
def group(name: str, logs: Path) -> Iterator[Group]:
    """A group that is stopped at the end, whatever happens."""
    made = Group(name, logs)
    try:
        yield made
    finally:
        made.stop()


def measure(groups: Sequence[Group], stored: Callable[[], int], *, jobs: int, limit: float) -> Figures:
    """Watch ``groups`` until ``jobs`` results are stored. Raises Stuck after ``limit`` seconds, or when a group died."""
    samples: list[Sample] = []
    until = time.monotonic() + limit
    while True:
        alive = all(
            one.running() for one in groups
        )  # before the count: who stored the last one may end at once
        began = time.monotonic()
        count = stored()
        samples.append(Sample(time.monotonic(), count, {one.name: one.cpu_seconds() for one in groups}))
        for one in groups:
            one.look_at_memory()
        if count >= jobs:
            break
        if not alive or time.monotonic() > until:
            words = "\n".join(one.last_words() for one in groups)
            raise Stuck(
                f"{count:,} of {jobs:,} results after {samples[-1].at - samples[0].at:.0f} s\n{words}"
            )
        shortest, longest = LOOK_SECONDS
        time.sleep(min(max(shortest, (time.monotonic() - began) / LOOK_SHARE), longest))
    peaks = {kind: size for one in groups for kind, size in one.peak.items()}
    return figures(samples, jobs=jobs, warm=WARM, peak_rss=peaks)

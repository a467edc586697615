"""Records screens of ``caravan run``, ``watch``, ``status`` and ``explain`` as pictures of the documentation: ``docs/screens``.

``make screens`` starts a run of 300 jobs on two simulated hosts, of which one dies, on a terminal of 80 columns in a home of
its own, and looks at it with the other commands meanwhile. Times and speeds differ from one recording to the next.
"""

import os
import pty
import re
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import simulator
from benchmarks.demo_recording import ROOT, Frame, lines_of, picture

SCREENS = ROOT / "docs" / "screens"
COLUMNS, ROWS = 80, 40
SECONDS = 60.0
"""For which a screen is waited for."""
JOBS = 300
MODELS = ("llama3.2:3b", "qwen2.5:7b")


class Terminal:
    """A command on a terminal of its own, read as it writes."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        import pyte  # type: ignore[import-not-found]  # not among the development tools

        self._screen = pyte.Screen(COLUMNS, ROWS)
        self._stream = pyte.ByteStream(self._screen)
        self._lock = threading.Lock()
        self._stream.feed(f"$ {' '.join(command)}\r\n".encode())
        self.pid, self._terminal = pty.fork()
        if self.pid == 0:
            os.execvpe(command[0], list(command), dict(environment))
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        try:
            while output := os.read(self._terminal, 65536):
                with self._lock:
                    self._stream.feed(output)
        except OSError:
            pass  # the command has closed its terminal

    def frame(self, pattern: str | None) -> Frame:
        """The screen as soon as it shows the pattern; None: when the command has ended. Raises TimeoutError."""
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            with self._lock:
                text = "\n".join(self._screen.display)
                done = not self._reader.is_alive() if pattern is None else re.search(pattern, text)
                if done:
                    return Frame(lines_of(self._screen, COLUMNS, ROWS), 1.0)
            time.sleep(0.05)
        raise TimeoutError(f"nothing like {pattern!r} on the screen:\n{text}")

    def end(self) -> None:
        """Interrupt it where it still runs, and wait for its end."""
        if self._reader.is_alive():
            os.kill(self.pid, signal.SIGINT)
            self._reader.join(SECONDS)
        os.waitpid(self.pid, 0)
        os.close(self._terminal)


@contextmanager
def terminal(environment: Mapping[str, str], *command: str) -> Iterator[Terminal]:
    """A command that has ended when the block has."""
    running = Terminal(command, environment)
    try:
        yield running
    finally:
        running.end()


def record(folder: Path) -> dict[str, Frame]:
    """Name → screen."""
    (folder / "reviews.jsonl").write_text(
        "".join(
            f'{{"custom_id": "review-{number}", "prompt": "Sum up review {number}.", "model": "{MODELS[number % 2]}"}}\n'
            for number in range(JOBS)
        )
    )
    os.chdir(folder)
    environment = {
        "HOME": str(folder),
        "CARAVAN_HOME": str(folder / "caravan"),
        "TERM": "xterm-256color",
        "COLUMNS": str(COLUMNS),
        "LINES": str(ROWS),
        "LANG": "C.UTF-8",
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
    }
    models = tuple(simulator.SimulatedModel(name) for name in MODELS)
    dies = (simulator.Fault("crash", nth=60, after_chunks=3),)
    settings = [
        simulator.HostSettings("gpu-1", models, num_parallel=4, time_scale=0.15),
        simulator.HostSettings("gpu-2", models, num_parallel=4, time_scale=0.15, faults=dies),
    ]
    frames = {}
    with simulator.running(*settings) as hosts:
        for host, setting in zip(hosts, settings, strict=True):
            with terminal(
                environment, "caravan", "hosts", "add", setting.name, host.url, "--slots", "4"
            ) as added:
                added.frame(None)
        with terminal(environment, "caravan", "run", "reviews.jsonl") as run:
            frames["run"] = run.frame(
                r"ETA(.|\n)*gpu-2 +cannot be reached"  # in its line, not only in a sentence above the bar
            )
            for name, pattern in (("watch", "gpu-1 .* running"), ("status", None), ("explain", None)):
                words = [name, *(["@last"] if name != "status" else [])]
                with terminal(environment, "caravan", *words) as looked:
                    frames[name] = looked.frame(pattern)
    return frames


def main() -> None:
    """Record the screens and write the pictures."""
    SCREENS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="caravan-screens-") as folder:
        frames = record(Path(folder))
    for name, frame in frames.items():
        path = SCREENS / f"{name}.svg"
        path.write_text(picture([frame], f"A screen of caravan {name}", COLUMNS), encoding="utf-8")
        print(f"{path.stat().st_size / 1024:.1f} KB in {path}")


if __name__ == "__main__":
    main()

"""Processes beside this one, each started again when it ends unexpectedly.

``caravan control`` has a process for each pool. One that died, or that was started while the database was away, must
not be missing until somebody wonders why no batch finishes.
"""

import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from worker.observability.events import emit

PAUSE = 5.0
"""Seconds before it is started again: what ended it, as a database that is away, may last."""
_LOOK = 0.5
_STOP_SECONDS = 60


@contextmanager
def keep_running(commands: Mapping[str, Sequence[str]]) -> Iterator[None]:
    """Each command, by its name, for as long as the block lasts; in the end they get SIGTERM and are waited for."""
    stop = threading.Event()
    keepers = [
        threading.Thread(target=_keep, args=(name, command, stop), name=f"keeps-{name}", daemon=True)
        for name, command in commands.items()
    ]
    for keeper in keepers:
        keeper.start()
    try:
        yield
    finally:
        stop.set()
        for keeper in keepers:
            keeper.join()


def _keep(name: str, command: Sequence[str], stop: threading.Event) -> None:
    while not stop.is_set():
        process = subprocess.Popen(list(command))
        while process.poll() is None and not stop.wait(_LOOK):
            pass
        if process.poll() is None:
            _end(process)
            return
        if not stop.is_set():
            emit("process.ended", name=name, code=process.returncode, again_in=PAUSE)
        stop.wait(PAUSE)


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(timeout=_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()

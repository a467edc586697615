"""Who owns this CARAVAN_HOME? An OS lock tells: its next holder knows that the last one is dead."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from worker.errors import AlreadyRunning


@contextmanager
def held_home(home: Path, *, command: str = "run") -> Iterator[Path]:
    """Hold ``home``, made with mode 0700 where it is missing. Raises AlreadyRunning while another process holds it.

    ``command`` is told to whoever comes meanwhile: beside an ``up``, a ``run`` joins instead of being refused.

    The kernel drops the lock with the process, however it died, so there is no stale lock to clean up.
    """
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = home / "lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            pid, _, holder = os.pread(descriptor, 64, 0).decode(errors="replace").strip().partition(" ")
            raise AlreadyRunning(
                f"{home} is in use by process {pid or 'unknown'} (caravan {holder or 'run'}); wait for it, or set "
                "CARAVAN_HOME to another folder",
                command=holder,
            ) from error
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()} {command}\n".encode(), 0)
        yield home
    finally:
        os.close(descriptor)

"""Who owns this CARAVAN_HOME? An OS lock tells: its next holder knows that the last one is dead."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from worker.errors import AlreadyRunning
from worker.explain.situation import Server
from worker.settings import Settings

if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        """A byte beyond what is written: a locked one could not be read by whoever comes meanwhile."""
        os.lseek(descriptor, 4096, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextmanager
def lock_home(home: Path, *, command: str = "run") -> Iterator[Path]:
    """Hold ``home``, made with mode 0700 where it is missing. Raises AlreadyRunning while another process holds it.

    ``command`` is shown to processes that come meanwhile: beside an ``up``, a ``run`` joins instead of being refused. The
    kernel drops the lock with the process, however it died, so there is no stale lock to clean up.
    """
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = home / "lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            _lock(descriptor)
        except OSError as error:
            pid, holder = read_holder(descriptor)
            raise AlreadyRunning(
                f"{home} is in use by process {pid or 'unknown'} (caravan {holder or 'run'}); wait for it, or set "
                "CARAVAN_HOME to another folder",
                command=holder,
            ) from error
        os.truncate(path, 0)
        os.lseek(descriptor, 0, os.SEEK_SET)
        try:
            os.write(descriptor, f"{os.getpid()} {command}\n".encode())
        except OSError as error:  # a full disk; which one, the descriptor does not say
            raise OSError(error.errno, error.strerror, str(path)) from error
        yield home
    finally:
        os.close(descriptor)


def read_holder(descriptor: int) -> tuple[str, str]:
    """Process and command of the last holder, as it wrote them into the lock's file."""
    os.lseek(descriptor, 0, os.SEEK_SET)
    pid, _, command = os.read(descriptor, 64).decode(errors="replace").strip("\0\n ").partition(" ")
    return pid, command


def holder(home: Path) -> int | None:
    """The process that holds this CARAVAN_HOME, or None."""
    held = _holder(home)
    return None if held is None else held[0]


def server_of(settings: Settings) -> Server:
    """Which processes serve the hosts of this installation, as the lock on its home tells."""
    if settings.broker_url:
        return Server.WORKERS
    held = _holder(settings.home)
    if held is None:  # a database of its own may be served from another machine
        return Server.UNKNOWN if settings.database_url else Server.NOBODY
    return Server.UP if held[1] == "up" else Server.RUN


def _holder(home: Path) -> tuple[int, str] | None:
    """The process that holds ``home``, and its command."""
    try:
        descriptor = os.open(home / "lock", os.O_RDONLY)
    except OSError:
        return None
    try:
        pid, command = read_holder(descriptor)
        if not pid.isdigit() or not _alive(int(pid)):
            return None  # and the lock is not touched: somebody may be about to take it
        if sys.platform == "win32":
            return int(pid), command
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return int(pid), command
    finally:
        os.close(descriptor)
    return None


def _alive(pid: int) -> bool:
    if sys.platform == "win32":
        return True  # os.kill ends a process there, whatever the signal
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True

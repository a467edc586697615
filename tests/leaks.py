"""Fails every test that leaves a thread, a child process, a listening socket or an open SQLite file behind.

What a fixture of a wider scope starts belongs to that fixture, for as long as it lasts.
"""

import contextlib
import os
import sqlite3
import sys
import threading
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.waiting import wait_until

GRACE = 5.0
"""Seconds in which what has been asked to end may do so; a loaded machine needs them."""
LASTING = {"fsspecIO"}
"""Threads that a library keeps for good, by name: fsspec has one for all its file systems."""

Resources = frozenset[threading.Thread | str]
"""Threads, and open sockets as ``socket:[inode]``."""
Before = pytest.StashKey[Resources]()
_LISTENING = "0A"


class _Lasting:
    """What fixtures of a wider scope started, and whether a process was started since somebody looked."""

    def __init__(self) -> None:
        self.resources: Resources = frozenset()
        self.children: frozenset[int] = frozenset()
        self.started_process = False
        self.files: list[sqlite3.Connection] = []
        """Connections of SQLite that the test opened."""
        sys.addaudithook(self._hear)

    def _hear(self, event: str, subject: tuple[Any, ...]) -> None:
        if event == "sqlite3.connect/handle":
            self.files.append(subject[0])
        elif event in ("subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn"):
            self.started_process = True


_lasting = _Lasting()


def outlast_tests(pids: Iterable[int]) -> None:
    """Let processes that a test started belong to a fixture of a wider scope: servers that were started again."""
    _lasting.children |= frozenset(pids)


def _children() -> frozenset[int]:
    """Process ids of our children, zombies among them. Slow: it reads all of /proc."""
    return frozenset(child.pid for child in psutil.Process().children())


def _resources() -> Resources:
    threads = (thread for thread in threading.enumerate() if thread.name not in LASTING)
    return frozenset(threads) | frozenset(_sockets())


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii")
    except OSError:  # the thread has ended
        return ""


def _sockets() -> Iterator[str]:
    """Every open socket; none where there is no /proc."""
    for name in os.listdir("/proc/self/fd") if sys.platform == "linux" else ():
        with contextlib.suppress(OSError):  # the descriptor of the listing itself
            link = os.readlink(f"/proc/self/fd/{name}")
            if link.startswith("socket:"):
                yield link


def _listening(links: set[str]) -> Iterator[str]:
    """Those of the sockets that listen, with their address."""
    inodes = {link[8:-1]: link for link in links}
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for row in _text(Path(table)).splitlines()[1:]:
            _, local, _, state, *rest = row.split()
            if state == _LISTENING and rest[5] in inodes:
                yield f"a socket that listens on port {int(local.rpartition(':')[2], 16)}"


def _left(before: Resources) -> list[str]:
    """What is there that was not there before, in words."""
    new = _resources() - before - _lasting.resources
    words = [_thread_words(thread) for thread in new if isinstance(thread, threading.Thread)]
    sockets = {link for link in new if isinstance(link, str)}
    if sockets:
        words += _listening(sockets)
    if _lasting.started_process:
        words += [_child_words(pid) for pid in _children() - _lasting.children]
    words += ["an open connection of SQLite" for connection in _lasting.files if _is_open(connection)]
    return sorted(words)


def _is_open(connection: sqlite3.Connection) -> bool:
    """Since Python 3.13 one that is forgotten open is a warning, from wherever garbage is collected."""
    try:
        return connection.total_changes >= 0
    except sqlite3.ProgrammingError:
        return False


def _thread_words(thread: threading.Thread) -> str:
    frame = sys._current_frames().get(thread.ident or 0)
    place = "" if frame is None else f" at {frame.f_code.co_filename}:{frame.f_lineno}"
    return f"thread {thread.name!r}{place}"


def _child_words(pid: int) -> str:
    try:
        child = psutil.Process(pid)
        return f"process {pid} ({child.status()}): {' '.join(child.cmdline())[:200]}"
    except psutil.Error:
        return f"process {pid}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, None, None]:
    _lasting.started_process = False
    _lasting.files = []
    item.stash[Before] = _resources()
    yield


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[Any]) -> Generator[None, object, object]:
    if fixturedef.scope == "function":
        return (yield)
    before, started, files = _resources(), _lasting.started_process, _lasting.files[:]
    _lasting.started_process = False
    try:
        return (yield)
    finally:
        _lasting.resources |= _resources() - before
        if _lasting.started_process:
            _lasting.children |= _children()
        _lasting.started_process, _lasting.files = started, files


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, None, None]:
    yield
    before = item.stash.get(Before, None)
    if before is None or not _left(before):
        return
    with contextlib.suppress(AssertionError):
        wait_until(lambda: not _left(before), description="nothing is left behind", timeout=GRACE)
    if left := _left(before):
        _lasting.resources |= _resources()  # the next tests did not leave it
        _lasting.children |= _children()
        pytest.fail("the test leaves behind: " + "; ".join(left), pytrace=False)

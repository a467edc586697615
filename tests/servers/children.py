"""How is a server started so that it ends with its starter, whatever ends that, and as whom?"""

import ctypes
import os
import pwd
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal, TypedDict, get_args

from tests.waiting import wait_until

Source = Literal["auto", "machine", "wheels"]

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def source() -> Source:
    """Whose servers to use (CARAVAN_TEST_SERVICES): this machine's, the wheels', or the first there is.

    Raises ValueError for any other word.
    """
    wanted = os.environ.get("CARAVAN_TEST_SERVICES", "auto")
    for known in get_args(Source):
        if wanted == known:
            return known  # type: ignore[no-any-return]
    raise ValueError(f"CARAVAN_TEST_SERVICES is {wanted!r}; expected one of {', '.join(get_args(Source))}")


def dies_with_parent(number: int = signal.SIGKILL) -> None:
    """For ``preexec_fn``: the kernel sends the child ``number`` when its parent ends, however that happens.

    More exactly: when the thread that started it ends, so start from one that lasts.
    Elsewhere than on Linux it does nothing.
    """
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)


def unprivileged() -> pwd.struct_passwd | None:
    """Whom root runs a server as that refuses root; None where we are an ordinary user.

    Raises RuntimeError where root finds neither postgres nor nobody.
    """
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise RuntimeError("running as root, and there is neither a user postgres nor nobody")


def run_as(user: pwd.struct_passwd | None, command: Sequence[str | Path], env: Mapping[str, str]) -> None:
    """Run ``command`` to its end as ``user``.

    Raises RuntimeError with its output when it fails, OSError when it cannot be started.
    """
    done = subprocess.run(
        list(command),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd="/",
        env=dict(env),
        text=True,
        errors="replace",
        check=False,
        **_identity(user),
    )
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]} ended with {done.returncode}:\n{done.stdout[-2000:]}")


@contextmanager
def serving(
    command: Sequence[str | Path],
    *,
    ready: Callable[[], bool],
    log: Path,
    stop: int,
    user: pwd.struct_passwd | None = None,
    env: Mapping[str, str] | None = None,
) -> Iterator[None]:
    """A server for as long as the block lasts; ``stop`` is the signal that ends it, also when we are killed.

    Raises RuntimeError with its log when it ends before it is ready.
    """
    with log.open("wb") as output:
        server = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd="/",
            env=None if env is None else dict(env),
            start_new_session=True,  # the terminal's Ctrl-C is for the tests; they end it
            preexec_fn=lambda: dies_with_parent(stop),  # runs after the change of user, which would clear it
            **_identity(user),
        )

    def answers() -> bool:
        if server.poll() is not None:
            said = log.read_text(encoding="utf-8", errors="replace")[-2000:]
            raise RuntimeError(f"{command[0]} ended with {server.returncode}:\n{said}")
        return ready()

    try:
        wait_until(answers, description=f"{command[0]} is ready; its log is {log}")
        yield
    finally:
        server.send_signal(stop)
        try:
            server.wait(timeout=30)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def free_port() -> int:
    """A port of the loopback interface that nobody listens on.

    It is none of those that a system gives to connections, from 32768 (Linux) or 49152 upwards: a server that is started
    again on its port must not find a connection there, of another test or of one who looked for the server.
    """
    while True:
        port = secrets.randbelow(12_000) + 20_000  # not by ``random``, which a test may have seeded
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def accepts(port: int) -> bool:
    """Somebody listens there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class _Identity(TypedDict, total=False):
    user: int
    group: int
    extra_groups: list[int]


def _identity(user: pwd.struct_passwd | None) -> _Identity:
    if user is None:
        return {}
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}

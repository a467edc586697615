"""Starting a server that dies with the process that started it, as an ordinary user where it refuses root."""

import ctypes
import os
import pwd
import signal
import socket
import sys
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None

SOURCE = os.environ.get("CARAVAN_TEST_SERVICES", "auto")
"""``machine``: only servers of this machine; ``wheels``: only those of the wheels; ``auto``: the first there is."""


def dies_with_parent() -> None:
    """For ``preexec_fn``: the kernel ends the child when its parent ends, however that happens (Linux)."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def unprivileged() -> pwd.struct_passwd | None:
    """Whom root runs a server as that refuses root; None where we are an ordinary user."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise RuntimeError("running as root, and there is neither a user postgres nor nobody")


def becoming(user: pwd.struct_passwd | None) -> Callable[[], None]:
    """For ``preexec_fn``: become ``user``, and die with the parent (set last: a change of user clears it)."""

    def prepare() -> None:
        if user is not None:
            os.setgroups([])
            os.setgid(user.pw_gid)
            os.setuid(user.pw_uid)
        dies_with_parent()

    return prepare


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def accepts(port: int) -> bool:
    """Somebody listens there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0

"""``caravan`` in a process of its own that need not import the program first, which takes more than most commands do.

A process that has imported it forks for each command. What goes by how Python starts (a locale, an unbuffered stream, an
import that fails) is tried by the tests that start ``python -m worker``.
"""

import contextlib
import functools
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from tests.leaks import outlast_tests
from tests.servers.children import dies_with_parent

ROOT = Path(__file__).parents[2]
OURS = "CARAVAN_"
"""What the program reads anew in each command; all else of an environment may count as Python starts."""

IMPORTED = (
    "api_schemas.line_reader",
    "api_schemas.submissions",
    "jsonschema",
    "requests",
    "rich.table",
    "sqlalchemy.dialects.postgresql.psycopg",
    "worker.cli.applicable",
    "worker.cli.batches",
    "worker.cli.hosts",
    "worker.cli.main",
    "worker.cli.results",
    "worker.cli.run",
    "worker.cli.submit",
    "worker.exports.output.batches",
    "worker.observability.logging",
    "worker.stack.embedded",
)
"""What most commands import."""


def fits(env: Mapping[str, str]) -> bool:
    """Whether a command with this environment may be a fork."""
    return hasattr(socket, "send_fds") and _foreign(env) == _foreign({**os.environ, "PYTHONUNBUFFERED": "1"})


def _foreign(env: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if not name.startswith((OURS, "PYTEST_"))}


def run(
    arguments: list[str], env: Mapping[str, str], cwd: Path | None, timeout: float
) -> "subprocess.CompletedProcess[str]":
    """As ``subprocess.run`` does with ``capture_output``. Raises subprocess.TimeoutExpired."""
    ours, theirs = socket.socketpair()
    request = {"arguments": arguments, "env": dict(env), "cwd": str(cwd or Path.cwd()), "umask": _umask()}
    with ours, tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        with theirs:
            socket.send_fds(_forking()[0], [b"c"], [theirs.fileno(), out.fileno(), err.fileno()])
        ours.settimeout(timeout)
        ours.sendall(json.dumps(request).encode() + b"\n")
        with ours.makefile("r") as answers:
            pid = int(answers.readline())
            try:
                status = int(answers.readline())
            except TimeoutError:
                os.kill(pid, signal.SIGKILL)
                raise subprocess.TimeoutExpired(arguments, timeout) from None
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read())
    return subprocess.CompletedProcess(arguments, os.waitstatus_to_exitcode(status), *texts)


def _umask() -> int:
    now = os.umask(0o077)
    os.umask(now)
    return now


@functools.cache
def _forking() -> "tuple[socket.socket, subprocess.Popen[bytes]]":
    """The wire to the process that forks, and that process; it ends with this one."""
    ours, theirs = socket.socketpair()
    with theirs:
        server = subprocess.Popen(
            [sys.executable, "-m", "tests.acceptance.warm", str(theirs.fileno())],
            cwd=ROOT,
            env={**{k: v for k, v in os.environ.items() if not k.startswith(OURS)}, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            preexec_fn=dies_with_parent,
        )
    outlast_tests([server.pid])
    return ours, server


def _serve(wire: socket.socket) -> None:
    """Fork for each request, until nobody is left who could send one. Returns in the process of a command."""
    while True:
        signs, files, _, _ = socket.recv_fds(wire, 1, 3)
        if not signs:
            sys.exit()
        if os.fork() == 0:
            wire.close()
            return _command(*files)
        for file in files:
            os.close(file)
        with contextlib.suppress(ChildProcessError):
            while os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG):
                pass


def _command(answers: int, out: int, err: int) -> None:
    """Become the command that is asked for; a process between says how it ended."""
    with os.fdopen(os.dup(answers)) as asked:
        request = json.loads(asked.readline())
    pid = os.fork()
    if pid:
        os.write(answers, f"{pid}\n".encode())
        _, status = os.waitpid(pid, 0)
        os.write(answers, f"{status}\n".encode())
        os._exit(0)
    os.close(answers)
    os.dup2(out, 1)
    os.dup2(err, 2)
    os.closerange(3, 64)
    os.umask(request["umask"])
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    sys.path[0] = request["cwd"]
    sys.argv[1:] = request["arguments"]


def main() -> NoReturn:
    """Serve; then, in each fork, be the command."""
    for name in IMPORTED:
        importlib.import_module(name)
    from worker.__main__ import main as command

    _serve(socket.socket(fileno=int(sys.argv[1])))
    command()
    sys.exit()


if __name__ == "__main__":
    main()

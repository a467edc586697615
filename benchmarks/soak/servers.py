"""A Redis and a PostgreSQL of our own, to be stopped, killed and started again, and the wire between."""

import contextlib
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import redis

from benchmarks.soak.parts import Part
from tests.servers.children import accepts, free_port, run_as, unprivileged
from tests.servers.postgres import postgres_binaries, runnable
from tests.servers.redis import redis_binary
from tests.waiting import wait_until

_QUICK = {
    "fsync": "off",  # what a killed server has written the kernel still has
    "full_page_writes": "off",
    "max_connections": "200",
    "timezone": "UTC",
    "log_min_messages": "fatal",
}
"""Unlike the servers of the tests this one is killed: ``synchronous_commit`` stays on."""


class RedisServer:
    """Without persistence: it is empty after each start."""

    def __init__(self, folder: Path) -> None:
        self._port = free_port()
        command: list[str | Path] = [redis_binary(), "--port", str(self._port), "--bind", "127.0.0.1"]
        command += ["--save", "", "--dir", folder]
        self.part = Part("redis", command, folder)
        self.url = f"redis://127.0.0.1:{self._port}/0"

    def start(self) -> None:
        self.part.start()
        wait_until(lambda: accepts(self._port), description="Redis answers")

    def flush(self) -> None:
        with redis.Redis.from_url(self.url, socket_timeout=5) as client:
            client.flushall()


class PostgresServer:
    """One cluster for the whole time. ``start`` after ``stop`` recovers it where it crashed."""

    def __init__(self, folder: Path, logs: Path) -> None:
        user = unprivileged()
        environ = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "HOME": "/"}
        binaries = runnable(postgres_binaries(), user, folder, environ)
        self.port = free_port()
        data = folder / "data"
        data.mkdir(mode=0o700)
        if user is not None:
            os.chown(data, user.pw_uid, user.pw_gid)
        asked = ["-A", "trust", "-U", "postgres", "--encoding=UTF8", "--no-locale", "--no-sync"]
        run_as(user, [binaries / "initdb", "-D", data, *asked], environ)
        command: list[str | Path] = [
            binaries / "postgres",
            "-D",
            data,
            "-p",
            str(self.port),
            "-k",
            "",
            "-h",
            "127.0.0.1",
        ]
        for setting, value in _QUICK.items():
            command += ["-c", f"{setting}={value}"]
        self.part = Part("postgres", command, logs, environ, user=user)
        self.url = self.url_at(self.port)

    def url_at(self, port: int) -> str:
        return f"postgresql://postgres@127.0.0.1:{port}/postgres"

    def start(self) -> None:
        self.part.start()
        wait_until(self._answers, description=f"PostgreSQL answers; its log is {self.part.log}", timeout=60)

    def stop(self, *, crash: bool) -> None:
        """``fast`` ends every connection and writes a checkpoint; a crash (``immediate``) writes nothing."""
        self.part.signal(signal.SIGQUIT if crash else signal.SIGINT)
        if not self.part.wait(20):
            raise RuntimeError("PostgreSQL did not end within 20 s")

    def terminate_backends(self) -> int:
        """End every connection but this one, from the server's side. Returns how many there were."""
        with psycopg.connect(self.url, autocommit=True) as conn:
            row = conn.execute(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
            ).fetchone()
        return 0 if row is None else int(row[0])

    def _answers(self) -> bool:
        """It takes a connection. Raises RuntimeError with its log when it has ended."""
        if not self.part.running:
            raise RuntimeError(f"PostgreSQL ended:\n{self.part.said()[-2000:]}")
        try:
            psycopg.connect(self.url, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True


class Wire:
    """What lies between everybody and PostgreSQL: it can break every connection, or fall silent."""

    def __init__(self, to: int, logs: Path) -> None:
        self.port = free_port()
        self.part = Part(
            "wire", [sys.executable, "-m", "benchmarks.soak.wire", str(self.port), str(to)], logs
        )

    def start(self) -> None:
        self.part.start()
        wait_until(lambda: accepts(self.port), description="the wire to PostgreSQL is open")

    def cut(self) -> None:
        """Reset every connection; new ones get through."""
        self.part.signal(signal.SIGUSR1)

    def freeze(self) -> None:
        """Nothing passes any more, and nobody is told."""
        self.part.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.part.signal(signal.SIGCONT)


@contextlib.contextmanager
def cluster_folder() -> Iterator[Path]:
    """A folder that the user who runs PostgreSQL may enter."""
    name = tempfile.mkdtemp(prefix="caravan-soak-pg-", dir=None if unprivileged() is None else "/tmp")
    try:
        Path(name).chmod(0o755)
        yield Path(name)
    finally:
        shutil.rmtree(name, ignore_errors=True)

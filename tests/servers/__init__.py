"""Real servers for the tests: the machine's own where there are any, else the ones that come as wheels."""

from tests.servers.postgres import postgres_server
from tests.servers.redis import redis_server

__all__ = ["postgres_server", "redis_server"]

"""The store of the storage tests."""

from tests.integration.storage.conftest import store

__all__ = ["store"]

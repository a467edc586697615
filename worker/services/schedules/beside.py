"""Reading a folder of documents may take minutes: it is done beside the chores, one pass at a time."""

import logging
import threading
from collections.abc import Callable

from worker.errors import DatabaseUnavailable
from worker.observability.events import emit

_log = logging.getLogger("caravan")


class Beside:
    """Does one thing at a time in a thread of its own; what is asked for meanwhile is asked for again soon."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._thread: threading.Thread | None = None

    def do(self, what: Callable[[], object]) -> bool:
        """Begin; False where the last one goes on."""
        if self._thread is not None and self._thread.is_alive():
            return False

        def safely() -> None:
            try:
                what()
            except DatabaseUnavailable as error:
                emit("database.unavailable", host=self._name, message=str(error))
            except Exception:
                _log.exception("defect in %s; it is tried again", self._name)

        self._thread = threading.Thread(target=safely, name=self._name, daemon=True)
        self._thread.start()
        return True

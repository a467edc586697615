"""What may take its time is done beside, not in between."""

import logging
import threading
from collections.abc import Callable

from worker.errors import DatabaseUnavailable
from worker.observability.events import emit

_log = logging.getLogger("caravan")


class Aside:
    """Does one thing at a time beside its caller: a mail server that answers slowly must not hold up anybody's ticks.
    What is asked for meanwhile is passed over; it is asked for again soon."""

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

    def wait(self, seconds: float) -> None:
        """Let what was begun come to its end."""
        if self._thread is not None:
            self._thread.join(seconds)

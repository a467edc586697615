"""A limit on the whole of a conversation: a time-out of a socket starts again with every byte."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress


class DeliveryError(Exception):
    """A mail or a ping did not get out; the text says why, without any secret."""


@contextmanager
def at_most(seconds: float, sock: Callable[[], socket.socket | None]) -> Iterator[None]:
    """Shut the socket down, whichever ``sock`` gives then, when the block lasts longer than ``seconds``."""

    def end() -> None:
        connection = sock()
        if connection is not None:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()

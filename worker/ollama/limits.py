"""Time limits of a host."""

from worker.errors import Code
from worker.records import record


@record
class Deadlines:
    """Seconds. ``load`` stands above the server's own OLLAMA_LOAD_TIMEOUT (5 minutes), so that the server gives up first
    and says why. ``first_byte`` has to cover the evaluation of a long prompt on a slow host.

    ``floor_tokens_per_second`` (0: none) is judged over each stretch of ``floor_after`` seconds of a stream, for a
    time-out between chunks never fires where they drip. What is counted is chunks: a chunk holds at least a token,
    seldom more.
    """

    connect: float = 5
    first_byte: float = 600
    silence: float = 120
    total: float = 3600
    load: float = 660
    floor_tokens_per_second: float = 0.1
    floor_after: float = 60
    probe: float = 10


MOST_MODELS = 2_000
"""Of one host. Each may cost a request of its own."""


@record
class Patience:
    """The deadlines of one request, and the code that each of them ends it with."""

    connect: float
    first_byte: float
    silence: float
    total: float
    late: Code
    silent: Code
    slow: Code


def patience_to_work(deadlines: Deadlines) -> Patience:
    return Patience(
        deadlines.connect,
        deadlines.first_byte,
        deadlines.silence,
        deadlines.total,
        late=Code.NO_FIRST_BYTE,
        silent=Code.REPLY_STALLED,
        slow=Code.TOO_SLOW,
    )


def patience_to_load(deadlines: Deadlines) -> Patience:
    failed = Code.LOAD_FAILED
    return Patience(
        deadlines.connect,
        deadlines.load,
        deadlines.load,
        deadlines.load,
        late=failed,
        silent=failed,
        slow=failed,
    )


def patience_to_pull(deadlines: Deadlines) -> Patience:
    """A model of hundreds of gigabytes over a slow line takes its hours; silence is what tells that it is stuck."""
    away = Code.HOST_UNREACHABLE
    return Patience(
        deadlines.connect,
        deadlines.load,
        deadlines.load,
        7 * 24 * 3600.0,
        late=away,
        silent=away,
        slow=away,
    )


def patience_to_probe(deadlines: Deadlines) -> Patience:
    away, wait = Code.HOST_UNREACHABLE, deadlines.probe
    return Patience(
        min(deadlines.connect, wait),
        wait,
        wait,
        wait,
        late=away,
        silent=away,
        slow=away,
    )

"""Recognises that a job met no runner any more, and loaded it as a side effect.

``load_duration`` alone does not tell. It is the time until the runner was granted, and a server spends a second and more
on that for each request of a model with a large vocabulary, though nothing is loaded.
"""

from collections.abc import Sequence
from statistics import median

LEAST = 1.0
"""Seconds. A shorter wait is no load that anybody would notice."""
TIMES_USUAL = 3
SHARE_OF_LOAD = 0.7
MOST_WAITS = 15
"""Waits that the usual one is taken from."""


def looks_reloaded(seconds: float, *, usual: Sequence[float], load: float | None) -> bool:
    """Whether a job that waited ``seconds`` for its runner loaded it.

    ``usual`` are the waits of jobs before it on the same runner, which loaded nothing; ``load`` is what a load of it
    takes here. Where neither is known it is taken for usual.

    >>> looks_reloaded(9.0, usual=[0.01, 0.02], load=12.0), looks_reloaded(1.4, usual=[1.3, 1.5], load=12.0)
    (True, False)
    >>> looks_reloaded(1.4, usual=[], load=12.0), looks_reloaded(11.0, usual=[], load=12.0)
    (False, True)
    """
    if seconds <= LEAST:
        return False
    if usual:
        return seconds > TIMES_USUAL * median(usual)
    return load is not None and seconds > SHARE_OF_LOAD * load

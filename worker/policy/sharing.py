"""When a shared host lets other people in.

A request for another model waits in Ollama until nothing runs (``server/sched.go``: one pending load, and only an idle
runner makes room), and while Caravan keeps the slots full nothing ever idles.
"""

from collections.abc import Iterable

DRY_EVERY = 60.0
"""Seconds after which all slots run dry once, so that a stranger's pending request gets in."""
DRY_EVERY_OF_BULK = 15.0
"""The same while nothing but bulk jobs runs, which give way sooner."""
LET_IN = 0.5
"""Seconds that dry slots stay so."""
IN_USE = 120.0
"""Seconds since somebody else's model was last used for which it is not pushed out."""
STEP_BACK = 15.0
"""Seconds until the next look, while somebody else's model is in use."""


def must_run_dry(shared: bool, *, dry_at: float, now: float, bulk: bool = False) -> bool:
    """Whether nothing new is started until the slots are dry; they were so last at ``dry_at``. ``bulk``: no job that runs
    is of a higher priority."""
    return shared and now - dry_at >= (DRY_EVERY_OF_BULK if bulk else DRY_EVERY)


def has_foreign_use(shared: bool, used_at: Iterable[float], *, now: float) -> bool:
    """Whether somebody else's model is in use; ``used_at``: when each of them was last seen to have been used."""
    return shared and any(now - at < IN_USE for at in used_at)

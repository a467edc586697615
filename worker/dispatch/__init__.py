"""The only Celery: the app, its tasks, what beat sends, what happens on signals.

``services`` needs no Celery; whoever imports another module of this package calls ``require_fleet`` first.
"""

from worker.extras import require


def require_fleet() -> None:
    """Raises ExtraMissing where Celery or the Redis client is not installed."""
    require("fleet", "a fleet's worker, control, beat or wake-up", "celery", "kombu", "redis")

"""The only Celery: the app, its tasks, what beat sends, what happens on signals.

Importing any module of this package raises ExtraMissing where Celery or the Redis client is not installed.
"""

from worker.extras import require

require("fleet", "a fleet's worker, control, beat or wake-up", "celery", "kombu", "redis")

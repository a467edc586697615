"""How long does a night take? Caravan and a plain Celery worker with real processes, on simulated hosts that hurry."""

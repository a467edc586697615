"""The only Celery: the app, its tasks, what beat sends, what happens on signals."""

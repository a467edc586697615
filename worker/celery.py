"""Entry point of ``celery -A worker``: settings → app."""

from worker.dispatch.run import fleet_app
from worker.settings import load_settings

app = fleet_app(load_settings())

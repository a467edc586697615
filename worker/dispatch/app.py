"""The Celery app and its settings, each with its reason.

A message is a wake-up: "host gpu-1: look at the database". It carries no prompt and may be lost, doubled or flushed.
Hence early acknowledgement and no prefetch: nothing is ever unacknowledged, so nothing is delivered twice after a
visibility time-out, and Celery 5.7.0's exit on a broker blink (it needs an unacknowledged message) cannot happen.
"""

import ssl
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from celery import Celery
from celery.schedules import schedule
from kombu import Exchange, Queue

from worker.dispatch.services import CHORES, TICK
from worker.errors import SettingsRefused
from worker.settings import Settings

TICK_QUEUE = TICK
CHORES_QUEUE = CHORES
SUBMIT_QUEUE = "submit"
"""Where producers send ``caravan.submit``: a thousand jobs are seconds of work, and no rescue waits behind them."""


def host_queue(host: str) -> str:
    """The queue of the worker that is pinned to ``host``."""
    return f"host.{host}"


def _queue(name: str) -> Queue:
    """A queue with an exchange of its own: under the default exchange both would get every message."""
    return Queue(name, Exchange(name, type="direct"), routing_key=name)


def make_app(settings: Settings, *, socket_seconds: float = 15) -> Celery:
    """A Celery app for these settings. Raises SettingsRefused where no broker is set.

    ``socket_seconds`` is how long a broker that says nothing is waited for.
    """
    if not settings.broker_url:
        raise SettingsRefused(
            "CARAVAN_BROKER_URL is not set: a fleet needs a Redis, e.g. redis://127.0.0.1:6379/0"
        )
    app = Celery("caravan", set_as_current=False, autofinalize=False)
    app.conf.update(
        broker_url=settings.broker_url,
        broker_transport_options={
            "socket_connect_timeout": min(5, socket_seconds),
            # None, the default, hangs for ever on a frozen Redis; must exceed brpop's 1 s
            "socket_timeout": socket_seconds,
            "socket_keepalive": True,
            "health_check_interval": 25,
            "max_connections": 20,
            "global_keyprefix": "caravan:",
        },
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,  # the default gives up after 100
        broker_pool_acquire_timeout=5,
        task_acks_late=False,
        worker_disable_prefetch=True,
        worker_prefetch_multiplier=1,
        worker_cancel_long_running_tasks_on_connection_loss=False,  # a generation needs no broker
        worker_hijack_root_logger=False,
        worker_max_tasks_per_child=200,
        worker_send_task_events=False,
        worker_consumer="worker.dispatch.unreadable:SubmitConsumer",
        task_ignore_result=True,
        # caravan.submit alone answers, to the broker, where its producer waits for it
        result_backend=settings.broker_url,
        result_backend_transport_options={
            "global_keyprefix": "caravan:",
            "retry_policy": {"timeout": 5.0},
        },
        result_expires=3600,
        redis_socket_connect_timeout=min(5, socket_seconds),
        redis_socket_timeout=socket_seconds,
        redis_socket_keepalive=True,
        task_serializer="json",
        accept_content=["json"],
        task_default_queue=SUBMIT_QUEUE,
        task_queues=[_queue(TICK_QUEUE), _queue(CHORES_QUEUE), _queue(SUBMIT_QUEUE)],
        task_create_missing_queues=True,
        task_publish_retry_policy={
            "max_retries": 2,
            "interval_start": 0,
            "interval_step": 0.2,
            "interval_max": 0.5,
        },
        beat_scheduler="celery.beat:Scheduler",  # in memory: its entries are static, schedules live in SQL
        beat_max_loop_interval=min(5.0, settings.tick_seconds),
        beat_schedule=beat_schedule(settings),
        enable_utc=True,
        timezone="UTC",
    )
    if settings.broker_url.startswith("rediss://"):
        app.conf.broker_use_ssl = {"ssl_cert_reqs": ssl.CERT_REQUIRED}
        app.conf.redis_backend_use_ssl = {"ssl_cert_reqs": ssl.CERT_REQUIRED}
    return app


def beat_schedule(settings: Settings) -> dict[str, dict[str, Any]]:
    """What beat sends and how often. Without an expiry, which is a time by the clock of beat's machine: one that is an
    hour behind would have every tick thrown away. Ticks that piled up are recognised by how soon they follow each other."""
    return {
        "tick": {
            "task": "caravan.tick",
            "schedule": _every(settings.tick_seconds),
            "options": {"queue": TICK_QUEUE},
        },
        "chores": {
            "task": "caravan.tidy",
            "schedule": _every(settings.chores_seconds),
            "options": {"queue": CHORES_QUEUE},
        },
    }


def _every(seconds: float) -> schedule:
    """By the time that passes, not by the day's: a clock that is set back an hour would stop beat for an hour."""
    return schedule(timedelta(seconds=seconds), nowfun=_passing)


def _passing() -> datetime:
    return datetime.fromtimestamp(time.monotonic(), UTC)

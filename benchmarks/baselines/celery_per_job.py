"""The plain way: a Celery task per job, as a competent engineer would write it.

Late acknowledgement with a prefetch of one, retries with a back-off, a ``requests.Session`` and a database engine per
process, one INSERT per answer that a redelivered message cannot double. There is no model affinity, no lease and no
progress: it asks a host and stores what it said.

Worker: ``celery -A benchmarks.baselines.celery_per_job worker --pool prefork -c 4``, with ``BASELINE_BROKER_URL``,
``BASELINE_DATABASE_URL``, ``BASELINE_HOSTS`` (URLs, comma between) and,
where it is not ``generate``, ``BASELINE_QUEUE`` set. Producer: ``generate.delay(job)``.
"""

import itertools
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any

import requests
from celery import Celery, Task
from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Engine,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
    event,
)
from sqlalchemy.dialects import postgresql, sqlite

TIMEOUT = (5, 600)

metadata = MetaData()
answers = Table(
    "answers",
    metadata,
    Column("custom_id", String(200), primary_key=True),
    Column("model", String(200), nullable=False),
    Column("host", String(200), nullable=False),
    Column("answer", Text, nullable=False),
    Column("done_reason", String(40)),
    Column("prompt_tokens", Integer, nullable=False),
    Column("output_tokens", Integer, nullable=False),
    Column("total_duration", BigInteger, nullable=False),
    Column("prompt_eval_duration", BigInteger, nullable=False),
    Column("eval_duration", BigInteger, nullable=False),
    Column("started_at", DateTime(timezone=True), nullable=False),
    Column("finished_at", DateTime(timezone=True), nullable=False),
)

app = Celery("baseline", broker=os.environ.get("BASELINE_BROKER_URL", "redis://127.0.0.1:6379/0"))
app.conf.update(
    task_acks_late=True,
    task_ignore_result=True,
    task_default_queue=os.environ.get("BASELINE_QUEUE", "generate"),
    task_serializer="json",
    accept_content=["json"],
    worker_prefetch_multiplier=1,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
)


@cache
def engine() -> Engine:
    """This process's engine: made on first use, so after the fork."""
    made = create_engine(os.environ["BASELINE_DATABASE_URL"])
    if made.dialect.name == "sqlite":
        event.listen(made, "connect", _write_ahead)
    return made


def _write_ahead(connection: Any, _record: object) -> None:
    # first: two processes that begin at once both want to change the mode
    connection.execute("PRAGMA busy_timeout=30000")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")


@cache
def session() -> requests.Session:
    return requests.Session()


@cache
def hosts() -> "itertools.cycle[str]":
    return itertools.cycle(os.environ["BASELINE_HOSTS"].split(","))


@app.task(bind=True, autoretry_for=(requests.RequestException,), retry_backoff=True, max_retries=3)
def generate(self: Task[Any, Any], job: Mapping[str, Any]) -> None:
    """Ask the next host and store its answer."""
    started_at = datetime.now(UTC)
    host = next(hosts())
    request = {name: value for name, value in job.items() if name != "custom_id"}
    response = session().post(f"{host}/api/generate", json={**request, "stream": False}, timeout=TIMEOUT)
    response.raise_for_status()
    reply = response.json()
    insert = postgresql.insert if engine().dialect.name == "postgresql" else sqlite.insert
    statement = (
        insert(answers)
        .values(
            custom_id=job["custom_id"],
            model=reply["model"],
            host=host,
            answer=reply["response"],
            done_reason=reply.get("done_reason"),
            prompt_tokens=reply.get("prompt_eval_count", 0),
            output_tokens=reply.get("eval_count", 0),
            total_duration=reply.get("total_duration", 0),
            prompt_eval_duration=reply.get("prompt_eval_duration", 0),
            eval_duration=reply.get("eval_duration", 0),
            started_at=started_at,
            finished_at=datetime.now(UTC),
        )
        .on_conflict_do_nothing()
    )
    with engine().begin() as connection:
        connection.execute(statement)

"""What the work came to: results by number, and figures by batch, model, host and hour."""

from typing import Any

from sqlalchemy import (
    CheckConstraint,
    Column,
    Date,
    Float,
    Index,
    Integer,
    SmallInteger,
    String,
    Table,
    UniqueConstraint,
    text,
)
from sqlalchemy.types import BigInteger

from worker.storage.tables.metadata import metadata
from worker.storage.types import UtcTime

fresh_results = Table(
    "fresh_results",
    metadata,
    Column("job_id", BigInteger, primary_key=True, autoincrement=False),
)
"""Results that have no number yet."""

numbered_results = Table(
    "numbered_results",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("job_id", BigInteger, nullable=False),
    Column("batch_id", BigInteger, nullable=False),
    UniqueConstraint("job_id"),
    Index("ix_numbered_results_batch", "batch_id", "number"),
)
"""Results in the order in which they came to be seen: a reader's cursor is ``number``."""

numbering = Table(
    "numbering",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("last", BigInteger, nullable=False),
    CheckConstraint("id = 1", name="single"),
)


def _figures() -> list[Column[Any]]:
    return [
        *(Column(name, Integer, nullable=False, server_default=text("0")) for name in _COUNTED),
        *(Column(name, BigInteger, nullable=False, server_default=text("0")) for name in _TOKENS),
        *(Column(name, Float, nullable=False, server_default=text("0")) for name in _SECONDS),
    ]


_COUNTED = ("results", "succeeded", "failed", "cut", "empty", "unfit")

_TOKENS = ("prompt_tokens", "output_tokens")

_SECONDS = ("eval_seconds", "gpu_seconds")

batch_figures = Table(
    "batch_figures",
    metadata,
    Column("batch_id", BigInteger, primary_key=True, autoincrement=False),
    *_figures(),
    Column("first_at", UtcTime, nullable=False),
    Column("last_at", UtcTime, nullable=False),
    Column("reused", Integer, nullable=False, server_default=text("0")),
)

model_days = Table(
    "model_days",
    metadata,
    Column("day", Date, primary_key=True),
    Column("model", String(400), primary_key=True),
    *_figures(),
)

host_hours = Table(
    "host_hours",
    metadata,
    Column("hour", UtcTime, primary_key=True),
    Column("host", String(100), primary_key=True),
    *_figures(),
    Column("loads", Integer, nullable=False, server_default=text("0")),
    Column("load_seconds", Float, nullable=False, server_default=text("0")),
)

hour_figures = Table(
    "hour_figures",
    metadata,
    Column("batch_id", BigInteger, primary_key=True, autoincrement=False),
    Column("hour", UtcTime, primary_key=True),
    Column("model", String(400), primary_key=True),
    Column("host", String(100), primary_key=True),
    *_figures(),
    Index("ix_hour_figures_hour", "hour"),
)
"""What was counted when a result got its number: reports of a day or an hour read a few rows, not a million."""

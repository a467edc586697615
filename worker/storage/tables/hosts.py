"""Hosts: what they are, have and hold."""

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    SmallInteger,
    String,
    Table,
    Text,
    text,
)
from sqlalchemy.types import BigInteger

from worker.storage.tables.metadata import metadata
from worker.storage.types import BigId, Json, UtcTime

hosts = Table(
    "hosts",
    metadata,
    Column("name", String(100), primary_key=True),
    Column("url", String(500), nullable=False),
    Column("slots", SmallInteger, nullable=False),
    Column("added_at", UtcTime, nullable=False),
    Column("version", String(50)),
    Column("models", Json),
    Column("last_seen_at", UtcTime),
    Column("last_claim_at", UtcTime),
    Column("error", Text),
    Column("resident", String(500)),
    Column("intent", String(500)),
    Column("intent_at", UtcTime),
    Column("serving_token", String(32)),
    Column("serving_until", UtcTime),
    Column("access", Json),
    Column("models_at_once", SmallInteger, nullable=False, server_default=text("1")),
    Column("memory", BigInteger),
    Column("draining_at", UtcTime),
    Column("unreachable_since", UtcTime),
    Column("kept", Boolean, nullable=False, server_default=text("true")),
    Column("shared", Boolean, nullable=False, server_default=text("false")),
    Column("slots_told", Boolean, nullable=False, server_default=text("true")),
    Column("intent_until", UtcTime),
    Column("intent_starved", Boolean, nullable=False, server_default=text("false")),
    Column("loaded_at", UtcTime),
    Column("loaded_seconds", Float),
    Column("slow_since", UtcTime),
    Column("slow_reason", Text),
    Column("quarantined_until", UtcTime),
    Column("quarantine_reason", Text),
    Column("quarantines", SmallInteger, nullable=False, server_default=text("0")),
    Column("watts", Float),
    Column("idle_watts", Float),
    Column("windows", Json),
    CheckConstraint("slots >= 1", name="slots"),
    CheckConstraint("(serving_token IS NULL) = (serving_until IS NULL)", name="serving"),
)
"""``models`` is what a worker of the version before ``host_models`` saw last. It is null once a newer one has looked, and
goes with the next release."""

host_models = Table(
    "host_models",
    metadata,
    Column("host", String(100), ForeignKey("hosts.name", ondelete="CASCADE"), primary_key=True),
    Column("name", String(700), primary_key=True),
    Column("digest", Text, nullable=False),
    Column("thinking", Boolean, nullable=False),
    Column("trained_context", BigInteger),
    Column("size", BigInteger, nullable=False),
    Column("vocabulary", BigInteger),
    Column("weights", Text),
    Column("quantization", String(50)),
    Column("parameters", String(50)),
    Column("capabilities", Json),
    Index("ix_host_models_name", "name"),
)
"""What each host has on disk, as the last look found it; ``hosts.last_seen_at`` is null where nobody has looked."""

residents = Table(
    "residents",
    metadata,
    Column("host", String(100), ForeignKey("hosts.name", ondelete="CASCADE"), primary_key=True),
    Column("runner_key", String(500), primary_key=True),
    Column("memory", BigInteger),
    Column("since", UtcTime, nullable=False),
)
"""What each host has loaded; ``hosts.resident`` is the one of them that it uses."""

fleet = Table(
    "fleet",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    CheckConstraint("id = 1", name="single"),
)

runs = Table(
    "runs",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("host", String(100), nullable=False),
    Column("runner_key", String(500), nullable=False),
    Column("reason", Text, nullable=False),
    Column("started_at", UtcTime, nullable=False),
    Column("load_seconds", Float),
    Column("ended_at", UtcTime),
    Column("jobs", Integer, nullable=False, server_default=text("0")),
    Column("error", Text),
    Index("ix_runs_host", "host", "id"),
    Index("ix_runs_started_at", "started_at"),
)

blocks = Table(
    "blocks",
    metadata,
    Column("host", String(100), ForeignKey("hosts.name", ondelete="CASCADE"), primary_key=True),
    Column("runner_key", String(500), primary_key=True),
    Column("until", UtcTime, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("reason", Text, nullable=False),
)

served = Table(
    "served",
    metadata,
    Column("runner_key", String(500), primary_key=True),
    Column("priority", SmallInteger, primary_key=True, autoincrement=False),
    Column("at", UtcTime, nullable=False),
    Column("batch_id", BigInteger),
    Column("batch_at", UtcTime),
)
"""When each runner key and priority was last claimed, and which batch has its turn since when."""

paces = Table(
    "paces",
    metadata,
    Column("host", String(100), ForeignKey("hosts.name", ondelete="CASCADE"), primary_key=True),
    Column("runner_key", String(500), primary_key=True),
    Column("load_seconds", Float),
    Column("service_seconds", Float),
    Column("at", UtcTime, nullable=False),
    Column("slots", SmallInteger),
    Column("memory", BigInteger),
    Column("jobs", Integer, nullable=False, server_default=text("0")),
)

pulses = Table(
    "pulses",
    metadata,
    Column("name", String(100), primary_key=True),
    Column("at", UtcTime, nullable=False),
    Column("detail", Json),
)
"""When each process that has to run (beat, tick, chores) was last seen to, and what it said then."""

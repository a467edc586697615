"""Schedules, their firings and their documents."""

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.types import BigInteger

from worker.domain.schedules import FiringState
from worker.storage.tables.metadata import in_values, metadata
from worker.storage.types import BigId, Json, UtcTime

schedules = Table(
    "schedules",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("name", String(100), nullable=False, unique=True),
    Column("version", Integer, nullable=False, server_default=text("1")),
    Column("spec", Json, nullable=False),
    Column("spec_version", SmallInteger, nullable=False),
    Column("next_at", UtcTime),
    Column("paused_at", UtcTime),
    Column("paused_reason", Text),
    Column("added_at", UtcTime, nullable=False),
    Column("changed_at", UtcTime, nullable=False),
    Index("ix_schedules_next_at", "next_at"),
    sqlite_autoincrement=True,
)

firings = Table(
    "firings",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("schedule_id", BigId, ForeignKey("schedules.id", ondelete="CASCADE"), nullable=False),
    Column("fire_at", UtcTime, nullable=False),
    Column("by_hand", Boolean, nullable=False, server_default=text("false")),
    Column("version", Integer, nullable=False),
    Column("state", String(10), nullable=False),
    Column("tries", SmallInteger, nullable=False, server_default=text("0")),
    Column("token", String(32)),
    Column("token_until", UtcTime),
    Column("batch_id", BigId),
    Column("missed", Integer, nullable=False, server_default=text("0")),
    Column("began_at", UtcTime),
    Column("ended_at", UtcTime),
    Column("found", Integer, nullable=False, server_default=text("0")),
    Column("new", Integer, nullable=False, server_default=text("0")),
    Column("changed", Integer, nullable=False, server_default=text("0")),
    Column("retried", Integer, nullable=False, server_default=text("0")),
    Column("reused", Integer, nullable=False, server_default=text("0")),
    Column("pending", Integer, nullable=False, server_default=text("0")),
    Column("gone", Integer, nullable=False, server_default=text("0")),
    Column("unreadable", Integer, nullable=False, server_default=text("0")),
    Column("report", Json),
    Column("reason", Text),
    UniqueConstraint("schedule_id", "fire_at"),
    CheckConstraint(in_values("state", FiringState), name="state"),
    CheckConstraint("(token IS NULL) = (token_until IS NULL)", name="token"),
    CheckConstraint("(state IN ('finished', 'skipped', 'failed')) = (ended_at IS NOT NULL)", name="ended"),
    Index(
        "ix_firings_open",
        "schedule_id",
        "fire_at",
        info={"where": "ended_at IS NULL"},
    ),
    Index("ix_firings_fire_at", "fire_at"),
    sqlite_autoincrement=True,
)
"""Each time of a schedule at most once, whoever notices that it has come."""

firing_changes = Table(
    "firing_changes",
    metadata,
    Column(
        "firing_id",
        BigId,
        ForeignKey("firings.id", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    ),
    Column("custom_id", String(200), primary_key=True),
    Column("model", String(400), primary_key=True),
    Column("path", Text, nullable=False),
    Column("change", String(10), nullable=False),
    Column("batch_id", BigInteger),
    Column("job_id", BigInteger),
    Column("error_code", String(30)),
    UniqueConstraint("batch_id", "custom_id", "model"),
)
"""What each firing found that was not as before: why its jobs were submitted. It outlives them."""

schedule_documents = Table(
    "schedule_documents",
    metadata,
    Column(
        "schedule_id",
        BigId,
        ForeignKey("schedules.id", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    ),
    Column("custom_id", String(200), primary_key=True),
    Column("model", String(400), primary_key=True),
    Column("path", Text, nullable=False),
    Column("sha256", String(64)),
    Column("fingerprint", LargeBinary),
    Column("firing_id", BigId, nullable=False),
    Column("change", String(10), nullable=False),
    Column("asked_batch", BigId),
    Column("asked_job", BigInteger),
    Column("answered_job", BigInteger),
    Column("answered", LargeBinary),
    Column("answered_at", UtcTime),
    Column("digest", String(80)),
    Column("first_seen_at", UtcTime, nullable=False),
    Column("last_seen_at", UtcTime, nullable=False),
    Column("gone_at", UtcTime),
    Column("error_code", String(30)),
    Column("error_message", Text),
    Column("error_at", UtcTime),
    Index("ix_schedule_documents_asked", "asked_batch", "asked_job"),
    Index("ix_schedule_documents_answered_job", "answered_job"),
)
"""What each schedule has seen: ``fingerprint`` is of what was asked last, ``answered`` of its latest answer."""

schedule_answers = Table(
    "schedule_answers",
    metadata,
    Column("schedule_id", BigId, primary_key=True, autoincrement=False),
    Column("custom_id", String(200), primary_key=True),
    Column("model", String(400), primary_key=True),
    Column("job_id", BigInteger, nullable=False),
    Column("answer", Text),
    Column("reasoning", Text),
    Column("parsed", Json),
    Column("prompt_tokens", Integer),
    Column("output_tokens", Integer),
    Column("metadata", Json),
    Column("cut", Boolean),
    Column("empty", Boolean),
    Column("prompt_fit", String(10)),
    ForeignKeyConstraint(
        ["schedule_id", "custom_id", "model"],
        ["schedule_documents.schedule_id", "schedule_documents.custom_id", "schedule_documents.model"],
        name="fk_schedule_answers_document",
        ondelete="CASCADE",
    ),
    Index("ix_schedule_answers_job_id", "job_id"),
)
"""The latest answer of each document and model. It outlives a job that is pruned: what does not change keeps its answer."""

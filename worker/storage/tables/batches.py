"""Batches, what is decided about them, and who is notified."""

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
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

from worker.domain.batches import BatchState
from worker.domain.model_operations import ModelVerb, PartState
from worker.domain.notices import NoticeState
from worker.domain.operations import Verb
from worker.storage.tables.metadata import in_values, metadata
from worker.storage.types import BigId, Json, UtcTime

TERM = {"term": True}
"""A field of a submission that is stored with its batch, under its own name, and shown with it."""

batches = Table(
    "batches",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("key", String(200), nullable=False, unique=True),
    Column("name", String(300), nullable=False),
    Column("state", String(10), nullable=False),
    Column("source", Text),
    Column("jobs", Integer, nullable=False, server_default=text("0")),
    Column("created_at", UtcTime, nullable=False),
    Column("sealed_at", UtcTime),
    Column("finished_at", UtcTime),
    Column("lineage", String(64)),
    Column("recipe", Json),
    Column("max_failures", String(10), info=TERM),
    Column("pause_code", String(30)),
    Column("pause_reason", Text),
    Column("deadline", UtcTime, info=TERM),
    Column("keep_seconds", BigInteger),
    Column("pruned_at", UtcTime),
    Column("parent_id", BigInteger),
    Column("schedule", String(100)),
    Column("windows", Json),
    Column("closed", Boolean, nullable=False, server_default=text("false")),
    Column("fail_on_cut", Boolean, nullable=False, server_default=text("false"), info=TERM),
    CheckConstraint(in_values("state", BatchState), name="state"),
    CheckConstraint("(state IN ('receiving', 'refused')) = (sealed_at IS NULL)", name="sealed"),
    CheckConstraint("(state IN ('finished', 'cancelled')) = (finished_at IS NOT NULL)", name="finished"),
    Index(
        "ix_batches_unsettled",
        "id",
        info={"where": "state IN ('open', 'paused')"},
    ),
    Index(
        "ix_batches_windows",
        "id",
        info={"where": "windows IS NOT NULL AND state IN ('receiving', 'open', 'paused')"},
    ),
    Index(
        "ix_batches_kept",
        "keep_seconds",
        "finished_at",
        info={"where": "pruned_at IS NULL AND finished_at IS NOT NULL"},
    ),
    Index(
        "ix_batches_refused",
        "keep_seconds",
        "created_at",
        info={"where": "pruned_at IS NULL AND state = 'refused'"},
    ),
    Index("ix_batches_lineage", "lineage", "id"),
    Index("ix_batches_parent_id", "parent_id"),
    sqlite_autoincrement=True,
)

rejects = Table(
    "rejects",
    metadata,
    Column(
        "batch_id", BigId, ForeignKey("batches.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    ),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("line", Integer, nullable=False),
    Column("field", String(300), nullable=False),
    Column("code", String(50), nullable=False),
    Column("message", Text, nullable=False),
)

submission_parts = Table(
    "submission_parts",
    metadata,
    Column("upload", String(64), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("lines", Text, nullable=False),
    Column("received_at", UtcTime, nullable=False),
    Index("ix_submission_parts_received", "received_at"),
)
"""Parts of a submission that comes in several messages, until the last of them is there: ``lines`` as JSON lines."""

operations = Table(
    "operations",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("batch_id", BigId, ForeignKey("batches.id", ondelete="CASCADE")),
    Column("verb", String(10), nullable=False),
    Column("total", Integer, nullable=False),
    Column("done", Integer, nullable=False, server_default=text("0")),
    Column("running", Integer, nullable=False, server_default=text("0")),
    Column("position", BigInteger, nullable=False, server_default=text("0")),
    Column("selection", Json),
    Column("arguments", Json),
    Column("principal", String(200)),
    Column("stops", Boolean, nullable=False, server_default=text("true")),
    Column("created_at", UtcTime, nullable=False),
    Column("ended_at", UtcTime),
    Column("error", Text),
    CheckConstraint(in_values("verb", (*Verb, *ModelVerb)), name="verb"),
    CheckConstraint("batch_id IS NOT NULL OR NOT stops", name="stops"),
    Index("ix_operations_open", "batch_id", unique=True, info={"where": "ended_at IS NULL"}),
    Index("ix_operations_batch_id", "batch_id"),
    sqlite_autoincrement=True,
)
"""What was decided about many jobs of a batch, and how far its rows have followed. ``stops``: until it has ended, the
batch starts no job. Without a batch it is about models, and ``operation_parts`` say how far each host has come."""

operation_parts = Table(
    "operation_parts",
    metadata,
    Column("operation_id", BigId, ForeignKey("operations.id", ondelete="CASCADE"), primary_key=True),
    Column("host", String(100), primary_key=True),
    Column("model", String(700), primary_key=True),
    Column("state", String(10), nullable=False),
    Column("step", String(200), nullable=False, server_default=text("''")),
    Column("completed", BigInteger, nullable=False, server_default=text("0")),
    Column("total", BigInteger, nullable=False, server_default=text("0")),
    Column("tries", SmallInteger, nullable=False, server_default=text("0")),
    Column("next_at", UtcTime),
    Column("error", Text),
    Column("digest", Text),
    Column("changed_at", UtcTime, nullable=False),
    CheckConstraint(in_values("state", PartState), name="state"),
    Index("ix_operation_parts_open", "host", info={"where": "state IN ('waiting', 'working')"}),
)
"""What an operation on models does on each host. Whoever serves the host works it off; its serving lease says whose turn
it is."""

notices = Table(
    "notices",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("batch_id", BigId, ForeignKey("batches.id", ondelete="CASCADE")),
    Column("firing_id", BigId, ForeignKey("firings.id", ondelete="CASCADE")),
    Column("channel", String(10), nullable=False),
    Column("target", String(2000), nullable=False),
    Column("on_what", String(10), nullable=False),
    Column("secret", String(500)),
    Column("message_id", String(64), nullable=False),
    Column("state", String(10), nullable=False),
    Column("tries", SmallInteger, nullable=False, server_default=text("0")),
    Column("next_at", UtcTime, nullable=False),
    Column("settled_at", UtcTime),
    Column("error", Text),
    CheckConstraint(in_values("state", NoticeState), name="state"),
    CheckConstraint("(batch_id IS NULL) <> (firing_id IS NULL)", name="about"),
    Index("ix_notices_batch_id", "batch_id"),
    Index("ix_notices_firing_id", "firing_id"),
    Index("ix_notices_waiting", "next_at", info={"where": "state = 'waiting'"}),
    sqlite_autoincrement=True,
)
"""The outbox: messages about the end of a batch or a firing, with their addressees."""

"""Schedules, their firings and documents, and the hours of batches and hosts"""

import sqlalchemy as sa
from alembic import op

from worker.storage.types import BigId, Json, UtcTime

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("batches", sa.Column("schedule", sa.String(length=100), nullable=True))
    op.add_column("batches", sa.Column("windows", Json, nullable=True))
    op.add_column(
        "batches", sa.Column("closed", sa.Boolean(), server_default=sa.text("false"), nullable=False)
    )
    op.add_column("hosts", sa.Column("windows", Json, nullable=True))
    zero = sa.text("0")
    op.create_table(
        "schedules",
        sa.Column("id", BigId, autoincrement=True, nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("spec", Json, nullable=False),
        sa.Column("spec_version", sa.SmallInteger(), nullable=False),
        sa.Column("next_at", UtcTime(), nullable=True),
        sa.Column("paused_at", UtcTime(), nullable=True),
        sa.Column("paused_reason", sa.Text(), nullable=True),
        sa.Column("added_at", UtcTime(), nullable=False),
        sa.Column("changed_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_schedules")),
        sa.UniqueConstraint("name", name=op.f("uq_schedules_name")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_schedules_next_at", "schedules", ["next_at"])
    op.create_table(
        "firings",
        sa.Column("id", BigId, autoincrement=True, nullable=False),
        sa.Column("schedule_id", BigId, nullable=False),
        sa.Column("fire_at", UtcTime(), nullable=False),
        sa.Column("by_hand", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("tries", sa.SmallInteger(), server_default=zero, nullable=False),
        sa.Column("token", sa.String(length=32), nullable=True),
        sa.Column("token_until", UtcTime(), nullable=True),
        sa.Column("batch_id", BigId, nullable=True),
        sa.Column("missed", sa.Integer(), server_default=zero, nullable=False),
        sa.Column("began_at", UtcTime(), nullable=True),
        sa.Column("ended_at", UtcTime(), nullable=True),
        *(
            sa.Column(name, sa.Integer(), server_default=zero, nullable=False)
            for name in ("found", "new", "changed", "retried", "reused", "pending", "gone", "unreadable")
        ),
        sa.Column("report", Json, nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "state IN ('due', 'queued', 'reading', 'running', 'finished', 'skipped', 'failed')",
            name=op.f("ck_firings_state"),
        ),
        sa.CheckConstraint("(token IS NULL) = (token_until IS NULL)", name=op.f("ck_firings_token")),
        sa.CheckConstraint(
            "(state IN ('finished', 'skipped', 'failed')) = (ended_at IS NOT NULL)",
            name=op.f("ck_firings_ended"),
        ),
        sa.ForeignKeyConstraint(
            ["schedule_id"], ["schedules.id"], name=op.f("fk_firings_schedule_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_firings")),
        sa.UniqueConstraint("schedule_id", "fire_at", name=op.f("uq_firings_schedule_id_fire_at")),
        sqlite_autoincrement=True,
    )
    still_open = sa.text("ended_at IS NULL")
    op.create_index(
        "ix_firings_open",
        "firings",
        ["schedule_id", "fire_at"],
        sqlite_where=still_open,
        postgresql_where=still_open,
    )
    op.create_table(
        "schedule_documents",
        sa.Column("schedule_id", BigId, autoincrement=False, nullable=False),
        sa.Column("custom_id", sa.String(length=200), nullable=False),
        sa.Column("model", sa.String(length=400), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=True),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=True),
        sa.Column("firing_id", BigId, nullable=False),
        sa.Column("change", sa.String(length=10), nullable=False),
        sa.Column("asked_batch", BigId, nullable=True),
        sa.Column("asked_job", sa.BigInteger(), nullable=True),
        sa.Column("answered_job", sa.BigInteger(), nullable=True),
        sa.Column("answered", sa.LargeBinary(), nullable=True),
        sa.Column("answered_at", UtcTime(), nullable=True),
        sa.Column("digest", sa.String(length=80), nullable=True),
        sa.Column("first_seen_at", UtcTime(), nullable=False),
        sa.Column("last_seen_at", UtcTime(), nullable=False),
        sa.Column("gone_at", UtcTime(), nullable=True),
        sa.Column("error_code", sa.String(length=30), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("error_at", UtcTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["schedule_id"],
            ["schedules.id"],
            name=op.f("fk_schedule_documents_schedule_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("schedule_id", "custom_id", "model", name=op.f("pk_schedule_documents")),
    )
    op.create_index("ix_schedule_documents_asked", "schedule_documents", ["asked_batch", "asked_job"])


def downgrade() -> None:
    for table in ("schedule_documents", "firings", "schedules"):
        op.drop_table(table)
    op.drop_column("hosts", "windows")
    for column in ("closed", "windows", "schedule"):
        op.drop_column("batches", column)

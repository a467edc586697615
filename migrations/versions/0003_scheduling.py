"""Runners side by side, windows that grow, prefix groups in the claim order, deadlines of batches"""

import sqlalchemy as sa
from alembic import op

from worker.storage.types import UtcTime

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_QUEUED = sa.text("state = 'queued'")
_DATED = sa.text("state = 'queued' AND deadline IS NOT NULL")


def upgrade() -> None:
    op.add_column("hosts", sa.Column("shared", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.add_column(
        "hosts", sa.Column("slots_told", sa.Boolean(), server_default=sa.text("true"), nullable=False)
    )
    op.add_column("hosts", sa.Column("intent_until", UtcTime(), nullable=True))
    op.add_column(
        "hosts", sa.Column("intent_starved", sa.Boolean(), server_default=sa.text("false"), nullable=False)
    )
    op.add_column("hosts", sa.Column("loaded_at", UtcTime(), nullable=True))
    op.add_column("hosts", sa.Column("loaded_seconds", sa.Float(), nullable=True))
    op.add_column("batches", sa.Column("deadline", UtcTime(), nullable=True))
    op.add_column("jobs", sa.Column("widened", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.add_column("served", sa.Column("batch_id", sa.BigInteger(), nullable=True))
    op.add_column("served", sa.Column("batch_at", UtcTime(), nullable=True))
    op.add_column("paces", sa.Column("slots", sa.SmallInteger(), nullable=True))
    op.add_column("paces", sa.Column("memory", sa.BigInteger(), nullable=True))
    op.add_column("paces", sa.Column("jobs", sa.Integer(), server_default=sa.text("0"), nullable=False))

    op.create_table(
        "residents",
        sa.Column("host", sa.String(length=100), nullable=False),
        sa.Column("runner_key", sa.String(length=500), nullable=False),
        sa.Column("memory", sa.BigInteger(), nullable=True),
        sa.Column("since", UtcTime(), nullable=False),
        sa.ForeignKeyConstraint(["host"], ["hosts.name"], name=op.f("fk_residents_host"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("host", "runner_key", name=op.f("pk_residents")),
    )
    # What waits keeps the order it was submitted in: the old groups were hashes, and no order at all.
    op.execute("UPDATE jobs SET prefix_group = id WHERE finished_at IS NULL")
    op.drop_index("ix_jobs_claim", table_name="jobs")
    op.create_index(
        "ix_jobs_claim",
        "jobs",
        ["runner_key", "priority", "prefix_group", "id"],
        sqlite_where=_QUEUED,
        postgresql_where=_QUEUED,
    )
    op.create_index(
        "ix_jobs_dated",
        "jobs",
        ["runner_key", "priority", "deadline", "prefix_group", "id"],
        sqlite_where=_DATED,
        postgresql_where=_DATED,
    )


def downgrade() -> None:
    op.drop_index("ix_jobs_dated", table_name="jobs")
    op.drop_index("ix_jobs_claim", table_name="jobs")
    op.create_index(
        "ix_jobs_claim",
        "jobs",
        ["runner_key", "priority", "id"],
        sqlite_where=_QUEUED,
        postgresql_where=_QUEUED,
    )
    op.drop_table("residents")
    for table, columns in (
        ("paces", ("jobs", "memory", "slots")),
        ("served", ("batch_at", "batch_id")),
        ("jobs", ("widened",)),
        ("batches", ("deadline",)),
        ("hosts", ("loaded_seconds", "loaded_at", "intent_starved", "intent_until", "slots_told", "shared")),
    ):
        for column in columns:
            op.drop_column(table, column)

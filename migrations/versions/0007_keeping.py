"""Answers that are taken again, and batches whose texts go after a while"""

import sqlalchemy as sa
from alembic import op

from worker.storage.types import UtcTime

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_REUSE = sa.text("state = 'queued' AND reuse IS NOT NULL")
_TEXTS = ("payloads", "results", "attempts")
_VACUUM = {
    "autovacuum_vacuum_scale_factor": "0.05",
    "autovacuum_vacuum_cost_limit": "2000",
    "toast.autovacuum_vacuum_scale_factor": "0.05",
    "toast.autovacuum_vacuum_cost_limit": "2000",
}


def upgrade() -> None:
    op.add_column("batches", sa.Column("keep_seconds", sa.BigInteger(), nullable=True))
    op.add_column("batches", sa.Column("pruned_at", UtcTime(), nullable=True))
    op.add_column("jobs", sa.Column("reuse", sa.SmallInteger(), nullable=True))
    op.add_column("payloads", sa.Column("reuse_key", sa.LargeBinary(), nullable=True))
    op.add_column("results", sa.Column("reused_from", sa.BigInteger(), nullable=True))
    op.add_column(
        "batch_figures", sa.Column("reused", sa.Integer(), server_default=sa.text("0"), nullable=False)
    )
    op.create_index(
        "ix_jobs_reuse",
        "jobs",
        ["model", "reuse", "id"],
        sqlite_where=_REUSE,
        postgresql_where=_REUSE,
    )
    op.create_table(
        "reusable",
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("digest", sa.String(length=80), nullable=False),
        sa.Column("job_id", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key", "digest", name=op.f("pk_reusable")),
    )
    op.create_index("ix_reusable_job_id", "reusable", ["job_id"])
    op.create_table(
        "pruned_counts",
        sa.Column("batch_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("runner_key", sa.String(length=500), nullable=False),
        sa.Column("priority", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("state", sa.String(length=9), nullable=False),
        sa.Column("jobs", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("batch_id", "runner_key", "priority", "state", name=op.f("pk_pruned_counts")),
    )
    if op.get_bind().dialect.name == "postgresql":
        settings = ", ".join(f"{name} = {value}" for name, value in _VACUUM.items())
        for table in _TEXTS:
            op.execute(f"ALTER TABLE {table} SET ({settings})")


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        for table in _TEXTS:
            op.execute(f"ALTER TABLE {table} RESET ({', '.join(_VACUUM)})")
    op.drop_table("pruned_counts")
    op.drop_table("reusable")
    op.drop_index("ix_jobs_reuse", table_name="jobs")
    for table, column in (
        ("batch_figures", "reused"),
        ("results", "reused_from"),
        ("payloads", "reuse_key"),
        ("jobs", "reuse"),
        ("batches", "pruned_at"),
        ("batches", "keep_seconds"),
    ):
        op.drop_column(table, column)

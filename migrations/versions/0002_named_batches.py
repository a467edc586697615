"""Batches with a lineage and brakes, hosts as they really are, paces that outlive a process"""

import sqlalchemy as sa
from alembic import op

from worker.storage.types import Json, UtcTime

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("hosts", sa.Column("access", Json, nullable=True))
    op.add_column(
        "hosts",
        sa.Column("models_at_once", sa.SmallInteger(), server_default=sa.text("1"), nullable=False),
    )
    op.add_column("hosts", sa.Column("memory", sa.BigInteger(), nullable=True))
    op.add_column("hosts", sa.Column("draining_at", UtcTime(), nullable=True))
    op.add_column("hosts", sa.Column("unreachable_since", UtcTime(), nullable=True))
    op.add_column("hosts", sa.Column("kept", sa.Boolean(), server_default=sa.text("true"), nullable=False))

    op.add_column("batches", sa.Column("lineage", sa.String(length=64), nullable=True))
    op.add_column("batches", sa.Column("recipe", Json, nullable=True))
    op.add_column("batches", sa.Column("max_failures", sa.String(length=10), nullable=True))
    op.add_column("batches", sa.Column("pause_code", sa.String(length=30), nullable=True))
    op.add_column("batches", sa.Column("pause_reason", sa.Text(), nullable=True))
    op.create_index("ix_batches_lineage", "batches", ["lineage", "id"])

    op.add_column("payloads", sa.Column("digest", sa.LargeBinary(), nullable=True))

    for index, table, columns, state in (
        ("ix_jobs_held", "jobs", ["batch_id", "id"], "held"),
        ("ix_results_failed", "results", ["batch_id", "error_code"], "failed"),
    ):
        where = sa.text(f"state = '{state}'")
        op.create_index(index, table, columns, sqlite_where=where, postgresql_where=where)

    op.create_table(
        "paces",
        sa.Column("host", sa.String(length=100), nullable=False),
        sa.Column("runner_key", sa.String(length=500), nullable=False),
        sa.Column("load_seconds", sa.Float(), nullable=True),
        sa.Column("service_seconds", sa.Float(), nullable=True),
        sa.Column("at", UtcTime(), nullable=False),
        sa.ForeignKeyConstraint(["host"], ["hosts.name"], name=op.f("fk_paces_host"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("host", "runner_key", name=op.f("pk_paces")),
    )


def downgrade() -> None:
    op.drop_table("paces")
    op.drop_index("ix_results_failed", table_name="results")
    op.drop_index("ix_jobs_held", table_name="jobs")
    op.drop_column("payloads", "digest")
    op.drop_index("ix_batches_lineage", table_name="batches")
    for column in ("pause_reason", "pause_code", "max_failures", "recipe", "lineage"):
        op.drop_column("batches", column)
    for column in ("kept", "unreachable_since", "draining_at", "memory", "models_at_once", "access"):
        op.drop_column("hosts", column)

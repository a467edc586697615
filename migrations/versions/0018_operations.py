"""Operations on whole batches, whose rows follow in chunks"""

import sqlalchemy as sa
from alembic import op

from worker.storage.types import BigId, UtcTime

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

_OPEN = sa.text("ended_at IS NULL")


def upgrade() -> None:
    op.create_table(
        "operations",
        sa.Column("id", BigId, autoincrement=True, nullable=False),
        sa.Column("batch_id", BigId, nullable=False),
        sa.Column("verb", sa.String(length=10), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("done", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("running", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("position", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("created_at", UtcTime, nullable=False),
        sa.Column("ended_at", UtcTime, nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.CheckConstraint("verb IN ('cancel', 'delete', 'refuse')", name=op.f("ck_operations_verb")),
        sa.ForeignKeyConstraint(
            ["batch_id"], ["batches.id"], name=op.f("fk_operations_batch_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_operations")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_operations_open",
        "operations",
        ["batch_id"],
        unique=True,
        sqlite_where=_OPEN,
        postgresql_where=_OPEN,
    )
    op.create_index("ix_operations_batch_id", "operations", ["batch_id"])
    # batches that were cancelled during their upload have no number of jobs yet
    op.execute(
        "UPDATE batches SET jobs = (SELECT count(*) FROM jobs WHERE jobs.batch_id = batches.id) + "
        "(SELECT coalesce(sum(p.jobs), 0) FROM pruned_counts p WHERE p.batch_id = batches.id) "
        "WHERE state = 'cancelled' AND jobs = 0"
    )


def downgrade() -> None:
    op.drop_table("operations")

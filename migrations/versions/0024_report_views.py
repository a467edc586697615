"""What each firing found of each document, the length of contexts, and indexes by which the report views are read"""

import sqlalchemy as sa
from alembic import op

from worker.storage.types import BigId

revision = "0024"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "firing_changes",
        sa.Column("firing_id", BigId, autoincrement=False, nullable=False),
        sa.Column("custom_id", sa.String(length=200), nullable=False),
        sa.Column("model", sa.String(length=400), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("change", sa.String(length=10), nullable=False),
        sa.Column("batch_id", sa.BigInteger(), nullable=True),
        sa.Column("job_id", sa.BigInteger(), nullable=True),
        sa.Column("error_code", sa.String(length=30), nullable=True),
        sa.ForeignKeyConstraint(
            ["firing_id"], ["firings.id"], name=op.f("fk_firing_changes_firing_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("firing_id", "custom_id", "model", name=op.f("pk_firing_changes")),
        sa.UniqueConstraint(
            "batch_id", "custom_id", "model", name=op.f("uq_firing_changes_batch_id_custom_id_model")
        ),
    )
    op.create_index("ix_firings_fire_at", "firings", ["fire_at"])
    op.add_column("results", sa.Column("context_length", sa.Integer(), nullable=True))
    op.create_index("ix_results_finished_at", "results", ["finished_at"])
    op.create_index("ix_results_custom_id", "results", ["custom_id"])


def downgrade() -> None:
    op.drop_index("ix_results_custom_id", "results")
    op.drop_index("ix_results_finished_at", "results")
    op.drop_column("results", "context_length")
    op.drop_index("ix_firings_fire_at", "firings")
    op.drop_table("firing_changes")

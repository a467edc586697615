"""Batches that ask the rows of another batch again"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("batches", sa.Column("parent_id", sa.BigInteger(), nullable=True))
    op.create_index("ix_batches_parent_id", "batches", ["parent_id"])


def downgrade() -> None:
    op.drop_index("ix_batches_parent_id", table_name="batches")
    op.drop_column("batches", "parent_id")

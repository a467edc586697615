"""Vectors of texts"""

import sqlalchemy as sa
from alembic import op

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("results", sa.Column("embedding", sa.LargeBinary, nullable=True))


def downgrade() -> None:
    op.drop_column("results", "embedding")

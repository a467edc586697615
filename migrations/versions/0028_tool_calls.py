"""Calls of tools that models ask for"""

import sqlalchemy as sa
from alembic import op

from worker.storage.types import Json

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("results", sa.Column("tool_calls", Json, nullable=True))


def downgrade() -> None:
    op.drop_column("results", "tool_calls")

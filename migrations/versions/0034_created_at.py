"""When hosts ended their answers"""

import sqlalchemy as sa
from alembic import op

from worker.storage.types import UtcTime

revision = "0034"
down_revision = "0033"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("results", sa.Column("created_at", UtcTime, nullable=True))


def downgrade() -> None:
    op.drop_column("results", "created_at")

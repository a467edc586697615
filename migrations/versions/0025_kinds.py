"""What a job asks of a host"""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "jobs", sa.Column("kind", sa.String(20), nullable=False, server_default=sa.text("'generate'"))
    )


def downgrade() -> None:
    op.drop_column("jobs", "kind")

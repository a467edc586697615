"""Parts of submissions that come in several messages"""

import sqlalchemy as sa
from alembic import op

from worker.storage.types import UtcTime

revision = "0027"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "submission_parts",
        sa.Column("upload", sa.String(64), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("lines", sa.Text, nullable=False),
        sa.Column("received_at", UtcTime, nullable=False),
    )
    op.create_index("ix_submission_parts_received", "submission_parts", ["received_at"])


def downgrade() -> None:
    op.drop_table("submission_parts")

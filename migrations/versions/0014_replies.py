"""Results that are empty, and the log probabilities of their tokens"""

import sqlalchemy as sa
from alembic import op

from worker.storage.types import Json

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "results", sa.Column("empty", sa.Boolean(), server_default=sa.text("false"), nullable=False)
    )
    op.add_column("results", sa.Column("logprobs", Json, nullable=True))
    white_space = "char(9, 10, 13, 32)" if op.get_bind().dialect.name == "sqlite" else r"E'\t\n\r '"
    op.execute(
        f"UPDATE results SET empty = true WHERE state = 'succeeded' AND trim(answer, {white_space}) = ''"
    )


def downgrade() -> None:
    op.drop_column("results", "logprobs")
    op.drop_column("results", "empty")

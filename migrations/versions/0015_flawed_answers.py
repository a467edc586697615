"""What is wrong with the answers of documents that outlive their jobs"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("schedule_answers", sa.Column("cut", sa.Boolean(), nullable=True))
    op.add_column("schedule_answers", sa.Column("empty", sa.Boolean(), nullable=True))
    op.add_column("schedule_answers", sa.Column("prompt_fit", sa.String(length=10), nullable=True))
    op.execute(
        "UPDATE schedule_answers SET (cut, empty, prompt_fit) = (SELECT r.cut, r.empty, r.prompt_fit FROM results r "
        "WHERE r.job_id = schedule_answers.job_id)"
    )


def downgrade() -> None:
    for name in ("prompt_fit", "empty", "cut"):
        op.drop_column("schedule_answers", name)

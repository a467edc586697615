"""Jobs that wait for others and go on from their context"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("carries", "followed"):
        op.add_column("jobs", sa.Column(name, sa.Boolean(), server_default=sa.text("false"), nullable=False))
    ended = sa.text("followed AND finished_at IS NOT NULL")
    op.create_index("ix_jobs_followed", "jobs", ["id"], sqlite_where=ended, postgresql_where=ended)
    op.create_table(
        "follows",
        sa.Column("job_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("parent_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("release", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("combines", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_follows_job_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", "parent_id", name=op.f("pk_follows")),
    )
    op.create_index("ix_follows_parent_id", "follows", ["parent_id"])


def downgrade() -> None:
    op.drop_table("follows")
    op.drop_index("ix_jobs_followed", table_name="jobs")
    for name in ("followed", "carries"):
        op.drop_column("jobs", name)

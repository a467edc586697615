"""Hosts that are slow or in quarantine, suspects that run alone, and the pulse of what has to run"""

import sqlalchemy as sa
from alembic import op

from worker.storage.types import Json, UtcTime

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_SUSPECT = sa.text("state = 'queued' AND losses >= 2")


def upgrade() -> None:
    op.add_column("hosts", sa.Column("slow_since", UtcTime(), nullable=True))
    op.add_column("hosts", sa.Column("slow_reason", sa.Text(), nullable=True))
    op.add_column("hosts", sa.Column("quarantined_until", UtcTime(), nullable=True))
    op.add_column("hosts", sa.Column("quarantine_reason", sa.Text(), nullable=True))
    op.add_column(
        "hosts", sa.Column("quarantines", sa.SmallInteger(), server_default=sa.text("0"), nullable=False)
    )
    op.add_column("jobs", sa.Column("asked", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.create_index(
        "ix_jobs_suspects",
        "jobs",
        ["runner_key", "priority", "id"],
        sqlite_where=_SUSPECT,
        postgresql_where=_SUSPECT,
    )
    op.create_table(
        "pulses",
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("at", UtcTime(), nullable=False),
        sa.Column("detail", Json, nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_pulses")),
    )


def downgrade() -> None:
    op.drop_table("pulses")
    op.drop_index("ix_jobs_suspects", table_name="jobs")
    op.drop_column("jobs", "asked")
    for column in ("quarantines", "quarantine_reason", "quarantined_until", "slow_reason", "slow_since"):
        op.drop_column("hosts", column)

"""Claim indexes in which jobs that expire stand apart from those that do not"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

_QUEUED = sa.text("state = 'queued'")
_DATED = sa.text("state = 'queued' AND deadline IS NOT NULL")


def upgrade() -> None:
    _make_anew("runner_key", "priority", "expires")


def downgrade() -> None:
    _make_anew("runner_key", "priority")


def _make_anew(*columns: str) -> None:
    for name, rest, where in (
        ("ix_jobs_claim", ("prefix_group", "id"), _QUEUED),
        ("ix_jobs_dated", ("deadline", "prefix_group", "id"), _DATED),
    ):
        op.drop_index(name, table_name="jobs")
        op.create_index(name, "jobs", [*columns, *rest], sqlite_where=where, postgresql_where=where)

"""Indexes by which ended batches that are kept, and their counts, are not read again and again"""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

_WINDOWS = sa.text("windows IS NOT NULL AND state IN ('receiving', 'open', 'paused')")
_ENDED = sa.text("pruned_at IS NULL AND finished_at IS NOT NULL")
_REFUSED = sa.text("pruned_at IS NULL AND state = 'refused'")
_QUEUED = sa.text("state = 'queued'")


def upgrade() -> None:
    op.create_index("ix_batches_windows", "batches", ["id"], sqlite_where=_WINDOWS, postgresql_where=_WINDOWS)
    op.create_index(
        "ix_batches_kept",
        "batches",
        ["keep_seconds", "finished_at"],
        sqlite_where=_ENDED,
        postgresql_where=_ENDED,
    )
    op.create_index(
        "ix_batches_refused",
        "batches",
        ["keep_seconds", "created_at"],
        sqlite_where=_REFUSED,
        postgresql_where=_REFUSED,
    )
    op.create_index(
        "ix_counts_queued",
        "counts",
        ["runner_key", "priority"],
        sqlite_where=_QUEUED,
        postgresql_where=_QUEUED,
    )


def downgrade() -> None:
    op.drop_index("ix_counts_queued", "counts")
    op.drop_index("ix_batches_refused", "batches")
    op.drop_index("ix_batches_kept", "batches")
    op.drop_index("ix_batches_windows", "batches")

"""What a host draws, and figures per batch, hour, model and host"""

from typing import Any

import sqlalchemy as sa
from alembic import op

from worker.storage.types import UtcTime

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("hosts", sa.Column("watts", sa.Float(), nullable=True))
    op.add_column("hosts", sa.Column("idle_watts", sa.Float(), nullable=True))
    op.create_table(
        "hour_figures",
        sa.Column("batch_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("hour", UtcTime(), nullable=False),
        sa.Column("model", sa.String(length=400), nullable=False),
        sa.Column("host", sa.String(length=100), nullable=False),
        *_figures(),
        sa.PrimaryKeyConstraint("batch_id", "hour", "model", "host", name=op.f("pk_hour_figures")),
    )
    op.create_index("ix_hour_figures_hour", "hour_figures", ["hour"])
    op.execute(_COUNTED_BEFORE.format(hour=_SQLITE_HOUR if _sqlite() else _POSTGRES_HOUR))


def downgrade() -> None:
    op.drop_index("ix_hour_figures_hour", table_name="hour_figures")
    op.drop_table("hour_figures")
    op.drop_column("hosts", "idle_watts")
    op.drop_column("hosts", "watts")


# What has a number was added up before; what has none is still to come. All of an answer counts for the hour it ended in.
_COUNTED_BEFORE = """
INSERT INTO hour_figures (batch_id, hour, model, host, results, succeeded, failed, cut, prompt_tokens, output_tokens,
                          eval_seconds, gpu_seconds)
SELECT r.batch_id, {hour}, r.model, r.host, count(*),
       sum(CASE WHEN r.state = 'succeeded' THEN 1 ELSE 0 END), sum(CASE WHEN r.state = 'failed' THEN 1 ELSE 0 END),
       sum(CASE WHEN r.cut THEN 1 ELSE 0 END), coalesce(sum(r.prompt_tokens), 0), coalesce(sum(r.output_tokens), 0),
       coalesce(sum(r.eval_seconds), 0),
       sum((coalesce(r.prompt_eval_seconds, 0) + coalesce(r.eval_seconds, 0)) / coalesce(h.slots, 1))
FROM results r
JOIN numbered_results n ON n.job_id = r.job_id
LEFT JOIN hosts h ON h.name = r.host
GROUP BY 1, 2, 3, 4
"""
_SQLITE_HOUR = "substr(r.finished_at, 1, 13) || ':00:00.000000Z'"
_POSTGRES_HOUR = "date_trunc('hour', r.finished_at AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'"


def _sqlite() -> bool:
    return op.get_bind().dialect.name == "sqlite"


def _figures() -> list[sa.Column[Any]]:
    zero = sa.text("0")
    counted = ("results", "succeeded", "failed", "cut")
    tokens, seconds = ("prompt_tokens", "output_tokens"), ("eval_seconds", "gpu_seconds")
    return [
        *(sa.Column(name, sa.Integer(), server_default=zero, nullable=False) for name in counted),
        *(sa.Column(name, sa.BigInteger(), server_default=zero, nullable=False) for name in tokens),
        *(sa.Column(name, sa.Float(), server_default=zero, nullable=False) for name in seconds),
    ]

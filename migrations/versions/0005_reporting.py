"""Results numbered in the order in which they came to be seen, and figures per batch, model, host, day and hour"""

from typing import Any

import sqlalchemy as sa
from alembic import op

from worker.storage.types import Json, UtcTime

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("results", sa.Column("day", sa.Date(), nullable=True))
    op.add_column("results", sa.Column("parsed", Json, nullable=True))
    op.execute("UPDATE results SET day = date(finished_at)" if _sqlite() else _POSTGRES_DAY)
    op.create_index("ix_results_day", "results", ["day", "job_id"])
    op.create_table(
        "fresh_results",
        sa.Column("job_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_fresh_results")),
    )
    op.create_table(
        "numbered_results",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("job_id", sa.BigInteger(), nullable=False),
        sa.Column("batch_id", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_numbered_results")),
        sa.UniqueConstraint("job_id", name=op.f("uq_numbered_results_job_id")),
    )
    op.create_index("ix_numbered_results_batch", "numbered_results", ["batch_id", "number"])
    op.create_table(
        "numbering",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("last", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_numbering_single")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_numbering")),
    )
    op.execute("INSERT INTO numbering (id, last) VALUES (1, 0)")
    op.execute("INSERT INTO fresh_results (job_id) SELECT job_id FROM results")
    op.create_table(
        "batch_figures",
        sa.Column("batch_id", sa.BigInteger(), autoincrement=False, nullable=False),
        *_figures(),
        sa.Column("first_at", UtcTime(), nullable=False),
        sa.Column("last_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("batch_id", name=op.f("pk_batch_figures")),
    )
    op.create_table(
        "model_days",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("model", sa.String(length=400), nullable=False),
        *_figures(),
        sa.PrimaryKeyConstraint("day", "model", name=op.f("pk_model_days")),
    )
    op.create_table(
        "host_hours",
        sa.Column("hour", UtcTime(), nullable=False),
        sa.Column("host", sa.String(length=100), nullable=False),
        *_figures(),
        sa.Column("loads", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("load_seconds", sa.Float(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("hour", "host", name=op.f("pk_host_hours")),
    )


def downgrade() -> None:
    for table in (
        "host_hours",
        "model_days",
        "batch_figures",
        "numbering",
        "numbered_results",
        "fresh_results",
    ):
        op.drop_table(table)
    op.drop_index("ix_results_day", table_name="results")
    op.drop_column("results", "parsed")
    op.drop_column("results", "day")


_POSTGRES_DAY = "UPDATE results SET day = (finished_at AT TIME ZONE 'UTC')::date"


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

"""Notices of firings, and answers of documents that outlive their jobs"""

import sqlalchemy as sa
from alembic import op

from worker.storage.types import BigId, Json, UtcTime

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_COLUMNS = (
    "id, batch_id, channel, target, on_what, secret, message_id, state, tries, next_at, settled_at, error"
)


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        _make_anew()
    else:
        op.alter_column("notices", "batch_id", nullable=True)
        op.add_column("notices", sa.Column("firing_id", BigId, nullable=True))
        op.create_foreign_key(
            op.f("fk_notices_firing_id"), "notices", "firings", ["firing_id"], ["id"], ondelete="CASCADE"
        )
        op.create_check_constraint(
            op.f("ck_notices_about"), "notices", "(batch_id IS NULL) <> (firing_id IS NULL)"
        )
    op.create_index("ix_notices_firing_id", "notices", ["firing_id"])
    op.create_table(
        "schedule_answers",
        sa.Column("schedule_id", BigId, autoincrement=False, nullable=False),
        sa.Column("custom_id", sa.String(length=200), nullable=False),
        sa.Column("model", sa.String(length=400), nullable=False),
        sa.Column("job_id", sa.BigInteger(), nullable=False),
        sa.Column("answer", sa.Text(), nullable=True),
        sa.Column("reasoning", sa.Text(), nullable=True),
        sa.Column("parsed", Json, nullable=True),
        sa.Column("prompt_tokens", sa.Integer(), nullable=True),
        sa.Column("output_tokens", sa.Integer(), nullable=True),
        sa.Column("metadata", Json, nullable=True),
        sa.ForeignKeyConstraint(
            ["schedule_id", "custom_id", "model"],
            ["schedule_documents.schedule_id", "schedule_documents.custom_id", "schedule_documents.model"],
            name=op.f("fk_schedule_answers_document"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("schedule_id", "custom_id", "model", name=op.f("pk_schedule_answers")),
    )
    op.create_index("ix_schedule_answers_job_id", "schedule_answers", ["job_id"])
    op.create_index("ix_schedule_documents_answered_job", "schedule_documents", ["answered_job"])
    op.execute(
        "INSERT INTO schedule_answers (schedule_id, custom_id, model, job_id, answer, reasoning, parsed, prompt_tokens, "
        "output_tokens, metadata) SELECT d.schedule_id, d.custom_id, d.model, r.job_id, r.answer, r.reasoning, r.parsed, "
        "r.prompt_tokens, r.output_tokens, p.metadata FROM schedule_documents d JOIN results r ON r.job_id = d.answered_job "
        "LEFT JOIN payloads p ON p.job_id = r.job_id"
    )
    op.execute(  # its answer was pruned before there was a copy: the next firing asks it again
        "UPDATE schedule_documents SET answered_job = NULL, answered = NULL, answered_at = NULL, digest = NULL "
        "WHERE answered_job IS NOT NULL AND answered_job NOT IN (SELECT job_id FROM schedule_answers)"
    )


def _make_anew() -> None:
    """SQLite cannot take a NOT NULL away."""
    op.drop_index("ix_notices_batch_id", "notices")
    op.drop_index("ix_notices_waiting", "notices")
    op.rename_table("notices", "notices_before")
    op.create_table(
        "notices",
        sa.Column("id", BigId, autoincrement=True, nullable=False),
        sa.Column("batch_id", BigId, nullable=True),
        sa.Column("firing_id", BigId, nullable=True),
        sa.Column("channel", sa.String(length=10), nullable=False),
        sa.Column("target", sa.String(length=2000), nullable=False),
        sa.Column("on_what", sa.String(length=10), nullable=False),
        sa.Column("secret", sa.String(length=500), nullable=True),
        sa.Column("message_id", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("tries", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("next_at", UtcTime(), nullable=False),
        sa.Column("settled_at", UtcTime(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "state IN ('waiting', 'delivered', 'skipped', 'given_up')", name=op.f("ck_notices_state")
        ),
        sa.CheckConstraint("(batch_id IS NULL) <> (firing_id IS NULL)", name=op.f("ck_notices_about")),
        sa.ForeignKeyConstraint(
            ["batch_id"], ["batches.id"], name=op.f("fk_notices_batch_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["firing_id"], ["firings.id"], name=op.f("fk_notices_firing_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notices")),
        sqlite_autoincrement=True,
    )
    op.execute(f"INSERT INTO notices ({_COLUMNS}) SELECT {_COLUMNS} FROM notices_before")
    op.drop_table("notices_before")
    op.create_index("ix_notices_batch_id", "notices", ["batch_id"])
    op.create_index("ix_notices_waiting", "notices", ["next_at"], sqlite_where=sa.text("state = 'waiting'"))


def downgrade() -> None:
    op.drop_index("ix_schedule_documents_answered_job", "schedule_documents")
    op.drop_table("schedule_answers")
    op.execute("DELETE FROM notices WHERE batch_id IS NULL")
    op.drop_index("ix_notices_firing_id", "notices")
    if op.get_bind().dialect.name == "postgresql":
        op.drop_constraint(op.f("ck_notices_about"), "notices", type_="check")
        op.drop_constraint(op.f("fk_notices_firing_id"), "notices", type_="foreignkey")
        op.drop_column("notices", "firing_id")
        op.alter_column("notices", "batch_id", nullable=False)

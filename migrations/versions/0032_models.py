"""Operations on models, and what hosts say of the models they have"""

import sqlalchemy as sa
from alembic import op

from worker.storage.types import BigId, Json, UtcTime

revision = "0032"
down_revision = "0029"
branch_labels = None
depends_on = None

_OPEN = sa.text("ended_at IS NULL")
_OPEN_PARTS = sa.text("state IN ('waiting', 'working')")
_OLD_VERBS = "verb IN ('cancel', 'delete', 'refuse', 'pause', 'resume', 'retry', 'set')"
_VERBS = (
    "verb IN ('cancel', 'delete', 'refuse', 'pause', 'resume', 'retry', 'set', "
    "'pull', 'remove', 'copy', 'create', 'push', 'load', 'stop')"
)
_COLUMNS = (
    "id, batch_id, verb, total, done, running, position, selection, arguments, principal, stops, created_at, "
    "ended_at, error"
)


def upgrade() -> None:
    for column in _facts():
        op.add_column("host_models", column)
    if op.get_bind().dialect.name == "sqlite":
        _make_anew(_VERBS, of_models=True)
    else:
        op.alter_column("operations", "batch_id", nullable=True)
        op.drop_constraint(op.f("ck_operations_verb"), "operations", type_="check")
        op.create_check_constraint(op.f("ck_operations_verb"), "operations", _VERBS)
        op.create_check_constraint(
            op.f("ck_operations_stops"), "operations", "batch_id IS NOT NULL OR NOT stops"
        )
    op.create_table(
        "operation_parts",
        sa.Column("operation_id", BigId, nullable=False),
        sa.Column("host", sa.String(length=100), nullable=False),
        sa.Column("model", sa.String(length=700), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("step", sa.String(length=200), server_default=sa.text("''"), nullable=False),
        sa.Column("completed", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("total", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("tries", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("next_at", UtcTime, nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("digest", sa.Text(), nullable=True),
        sa.Column("changed_at", UtcTime, nullable=False),
        sa.CheckConstraint(
            "state IN ('waiting', 'working', 'done', 'failed', 'cancelled')",
            name=op.f("ck_operation_parts_state"),
        ),
        sa.ForeignKeyConstraint(
            ["operation_id"],
            ["operations.id"],
            name=op.f("fk_operation_parts_operation_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("operation_id", "host", "model", name=op.f("pk_operation_parts")),
    )
    op.create_index(
        "ix_operation_parts_open",
        "operation_parts",
        ["host"],
        sqlite_where=_OPEN_PARTS,
        postgresql_where=_OPEN_PARTS,
    )


def downgrade() -> None:
    op.drop_table("operation_parts")
    op.execute("DELETE FROM operations WHERE batch_id IS NULL")
    if op.get_bind().dialect.name == "sqlite":
        _make_anew(_OLD_VERBS, of_models=False)
    else:
        op.drop_constraint(op.f("ck_operations_stops"), "operations", type_="check")
        op.drop_constraint(op.f("ck_operations_verb"), "operations", type_="check")
        op.create_check_constraint(op.f("ck_operations_verb"), "operations", _OLD_VERBS)
        op.alter_column("operations", "batch_id", nullable=False)
    for column in _facts():
        op.drop_column("host_models", column.name)


def _facts() -> list[sa.Column[object]]:
    return [
        sa.Column("quantization", sa.String(length=50), nullable=True),
        sa.Column("parameters", sa.String(length=50), nullable=True),
        sa.Column("capabilities", Json, nullable=True),
    ]


def _make_anew(verbs: str, *, of_models: bool) -> None:
    """SQLite cannot change a constraint of a table that is there."""
    op.drop_index("ix_operations_open", "operations")
    op.drop_index("ix_operations_batch_id", "operations")
    op.rename_table("operations", "operations_before")
    checks = [sa.CheckConstraint(verbs, name=op.f("ck_operations_verb"))]
    if of_models:
        checks.append(
            sa.CheckConstraint("batch_id IS NOT NULL OR NOT stops", name=op.f("ck_operations_stops"))
        )
    op.create_table(
        "operations",
        sa.Column("id", BigId, autoincrement=True, nullable=False),
        sa.Column("batch_id", BigId, nullable=of_models),
        sa.Column("verb", sa.String(length=10), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("done", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("running", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("position", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("selection", Json, nullable=True),
        sa.Column("arguments", Json, nullable=True),
        sa.Column("principal", sa.String(length=200), nullable=True),
        sa.Column("stops", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("created_at", UtcTime, nullable=False),
        sa.Column("ended_at", UtcTime, nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        *checks,
        sa.ForeignKeyConstraint(
            ["batch_id"], ["batches.id"], name=op.f("fk_operations_batch_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_operations")),
        sqlite_autoincrement=True,
    )
    op.execute(f"INSERT INTO operations ({_COLUMNS}) SELECT {_COLUMNS} FROM operations_before")
    op.drop_table("operations_before")
    op.create_index("ix_operations_open", "operations", ["batch_id"], unique=True, sqlite_where=_OPEN)
    op.create_index("ix_operations_batch_id", "operations", ["batch_id"])

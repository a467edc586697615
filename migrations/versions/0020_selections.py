"""Operations on some jobs of a batch, and the other verbs"""

import sqlalchemy as sa
from alembic import op

from worker.storage.types import BigId, Json, UtcTime

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

_OPEN = sa.text("ended_at IS NULL")
_VERBS = "verb IN ('cancel', 'delete', 'refuse', 'pause', 'resume', 'retry', 'set')"
_OLD_VERBS = "verb IN ('cancel', 'delete', 'refuse')"
_OLD = "id, batch_id, verb, total, done, running, position, created_at, ended_at, error"


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        _make_anew(_VERBS, _new_columns())
        return
    for column in _new_columns():
        op.add_column("operations", column)
    op.drop_constraint(op.f("ck_operations_verb"), "operations", type_="check")
    op.create_check_constraint(op.f("ck_operations_verb"), "operations", _VERBS)


def downgrade() -> None:
    op.execute(f"DELETE FROM operations WHERE NOT ({_OLD_VERBS}) OR selection IS NOT NULL")
    if op.get_bind().dialect.name == "sqlite":
        _make_anew(_OLD_VERBS, [])
        return
    op.drop_constraint(op.f("ck_operations_verb"), "operations", type_="check")
    op.create_check_constraint(op.f("ck_operations_verb"), "operations", _OLD_VERBS)
    for column in _new_columns():
        op.drop_column("operations", column.name)


def _new_columns() -> list[sa.Column[object]]:
    return [
        sa.Column("selection", Json, nullable=True),
        sa.Column("arguments", Json, nullable=True),
        sa.Column("principal", sa.String(length=200), nullable=True),
        sa.Column("stops", sa.Boolean(), server_default=sa.text("true"), nullable=False),
    ]


def _make_anew(verbs: str, columns: list[sa.Column[object]]) -> None:
    """SQLite cannot change a constraint of a table that is there."""
    op.drop_index("ix_operations_open", "operations")
    op.drop_index("ix_operations_batch_id", "operations")
    op.rename_table("operations", "operations_before")
    op.create_table(
        "operations",
        sa.Column("id", BigId, autoincrement=True, nullable=False),
        sa.Column("batch_id", BigId, nullable=False),
        sa.Column("verb", sa.String(length=10), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("done", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("running", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("position", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        *columns,
        sa.Column("created_at", UtcTime, nullable=False),
        sa.Column("ended_at", UtcTime, nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.CheckConstraint(verbs, name=op.f("ck_operations_verb")),
        sa.ForeignKeyConstraint(
            ["batch_id"], ["batches.id"], name=op.f("fk_operations_batch_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_operations")),
        sqlite_autoincrement=True,
    )
    op.execute(f"INSERT INTO operations ({_OLD}) SELECT {_OLD} FROM operations_before")
    op.drop_table("operations_before")
    op.create_index("ix_operations_open", "operations", ["batch_id"], unique=True, sqlite_where=_OPEN)
    op.create_index("ix_operations_batch_id", "operations", ["batch_id"])

"""What prompts and answers are found by"""

import sqlalchemy as sa
from alembic import op

from worker.storage.words import MAKE_INDEX

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "searchable",
        sa.Column("job_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("tokens", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name=op.f("fk_searchable_job_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_searchable")),
    )
    op.create_table(
        "searching",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("last", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_searching_single")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_searching")),
    )
    op.execute("INSERT INTO searching (id, last) VALUES (1, 0)")
    for statement in MAKE_INDEX[op.get_bind().dialect.name]:
        op.execute(statement)


def downgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.execute("DROP TABLE search_index")
    op.drop_table("searchable")
    op.drop_table("searching")

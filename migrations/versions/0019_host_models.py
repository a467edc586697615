"""What each host has on disk, as rows"""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

_COPY = {
    "sqlite": "INSERT INTO host_models (host, name, digest, thinking, trained_context, size, vocabulary, weights) "
    "SELECT h.name, m.value ->> 'name', coalesce(m.value ->> 'digest', ''), coalesce(m.value ->> 'thinking', 0), "
    "m.value ->> 'trained_context', coalesce(m.value ->> 'size', 0), m.value ->> 'vocabulary', m.value ->> 'weights' "
    "FROM hosts h, json_each(h.models) m WHERE true ON CONFLICT DO NOTHING",
    "postgresql": "INSERT INTO host_models (host, name, digest, thinking, trained_context, size, vocabulary, weights) "
    "SELECT h.name, m ->> 'name', coalesce(m ->> 'digest', ''), coalesce((m ->> 'thinking')::boolean, false), "
    "(m ->> 'trained_context')::bigint, coalesce((m ->> 'size')::bigint, 0), (m ->> 'vocabulary')::bigint, "
    "m ->> 'weights' FROM hosts h, json_array_elements(h.models) m WHERE h.models IS NOT NULL "
    "ON CONFLICT DO NOTHING",
}


def upgrade() -> None:
    op.create_table(
        "host_models",
        sa.Column("host", sa.String(length=100), nullable=False),
        sa.Column("name", sa.String(length=700), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("thinking", sa.Boolean(), nullable=False),
        sa.Column("trained_context", sa.BigInteger(), nullable=True),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("vocabulary", sa.BigInteger(), nullable=True),
        sa.Column("weights", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["host"], ["hosts.name"], name=op.f("fk_host_models_host"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("host", "name", name=op.f("pk_host_models")),
    )
    op.create_index("ix_host_models_name", "host_models", ["name"])
    op.execute(_COPY[op.get_bind().dialect.name])
    # hosts.models stays for one release: workers of the version before read and write it, and it holds until a newer
    # worker has looked at the host


def downgrade() -> None:
    op.drop_table("host_models")

"""Hosts, batches, jobs and what came of them"""

import sqlalchemy as sa
from alembic import op

from worker.storage.types import UtcTime

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "batches",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("key", sa.String(length=200), nullable=False),
        sa.Column("name", sa.String(length=300), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("source", sa.Text(), nullable=True),
        sa.Column("jobs", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("sealed_at", UtcTime(), nullable=True),
        sa.Column("finished_at", UtcTime(), nullable=True),
        sa.CheckConstraint(
            "(state IN ('finished', 'cancelled')) = (finished_at IS NOT NULL)",
            name=op.f("ck_batches_finished"),
        ),
        sa.CheckConstraint(
            "(state IN ('receiving', 'refused')) = (sealed_at IS NULL)", name=op.f("ck_batches_sealed")
        ),
        sa.CheckConstraint(
            "state IN ('receiving', 'open', 'paused', 'finished', 'cancelled', 'refused')",
            name=op.f("ck_batches_state"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_batches")),
        sa.UniqueConstraint("key", name=op.f("uq_batches_key")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_batches_unsettled",
        "batches",
        ["id"],
        unique=False,
        sqlite_where=sa.text("state IN ('open', 'paused')"),
        postgresql_where=sa.text("state IN ('open', 'paused')"),
    )

    op.create_table(
        "count_deltas",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("batch_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("runner_key", sa.String(length=500), nullable=False),
        sa.Column("priority", sa.SmallInteger(), nullable=False),
        sa.Column("state", sa.String(length=9), nullable=False),
        sa.Column("jobs", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_count_deltas")),
    )
    op.create_index("ix_count_deltas_batch_id", "count_deltas", ["batch_id"], unique=False)

    op.create_table(
        "counts",
        sa.Column(
            "batch_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("runner_key", sa.String(length=500), nullable=False),
        sa.Column("priority", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("state", sa.String(length=9), nullable=False),
        sa.Column("jobs", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("batch_id", "runner_key", "priority", "state", name=op.f("pk_counts")),
    )
    op.create_index("ix_counts_key", "counts", ["runner_key", "priority", "state"], unique=False)

    op.create_table(
        "fleet",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_fleet_single")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_fleet")),
    )
    op.create_table(
        "hosts",
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("url", sa.String(length=500), nullable=False),
        sa.Column("slots", sa.SmallInteger(), nullable=False),
        sa.Column("added_at", UtcTime(), nullable=False),
        sa.Column("version", sa.String(length=50), nullable=True),
        sa.Column("models", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("last_seen_at", UtcTime(), nullable=True),
        sa.Column("last_claim_at", UtcTime(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("resident", sa.String(length=500), nullable=True),
        sa.Column("intent", sa.String(length=500), nullable=True),
        sa.Column("intent_at", UtcTime(), nullable=True),
        sa.Column("serving_token", sa.String(length=32), nullable=True),
        sa.Column("serving_until", UtcTime(), nullable=True),
        sa.CheckConstraint(
            "(serving_token IS NULL) = (serving_until IS NULL)", name=op.f("ck_hosts_serving")
        ),
        sa.CheckConstraint("slots >= 1", name=op.f("ck_hosts_slots")),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_hosts")),
    )
    op.create_table(
        "runs",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("host", sa.String(length=100), nullable=False),
        sa.Column("runner_key", sa.String(length=500), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("started_at", UtcTime(), nullable=False),
        sa.Column("load_seconds", sa.Float(), nullable=True),
        sa.Column("ended_at", UtcTime(), nullable=True),
        sa.Column("jobs", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runs")),
    )
    op.create_index("ix_runs_host", "runs", ["host", "id"], unique=False)
    op.create_index("ix_runs_started_at", "runs", ["started_at"], unique=False)

    op.create_table(
        "served",
        sa.Column("runner_key", sa.String(length=500), nullable=False),
        sa.Column("priority", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("runner_key", "priority", name=op.f("pk_served")),
    )
    op.create_table(
        "blocks",
        sa.Column("host", sa.String(length=100), nullable=False),
        sa.Column("runner_key", sa.String(length=500), nullable=False),
        sa.Column("until", UtcTime(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["host"], ["hosts.name"], name=op.f("fk_blocks_host"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("host", "runner_key", name=op.f("pk_blocks")),
    )
    op.create_table(
        "jobs",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("batch_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("custom_id", sa.String(length=200), nullable=False),
        sa.Column("model", sa.String(length=400), nullable=False),
        sa.Column("state", sa.String(length=9), nullable=False),
        sa.Column("priority", sa.SmallInteger(), nullable=False),
        sa.Column("runner_key", sa.String(length=500), nullable=False),
        sa.Column("prefix_group", sa.BigInteger(), nullable=False),
        sa.Column("estimate", sa.Integer(), nullable=False),
        sa.Column("submitted_at", UtcTime(), nullable=False),
        sa.Column("eligible_at", UtcTime(), nullable=True),
        sa.Column("deadline", UtcTime(), nullable=True),
        sa.Column("expires", sa.Boolean(), server_default=sa.text("(false)"), nullable=False),
        sa.Column("attempt", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("charged", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("losses", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("max_attempts", sa.Integer(), nullable=False),
        sa.Column("lease_token", sa.String(length=32), nullable=True),
        sa.Column("lease_until", UtcTime(), nullable=True),
        sa.Column("rescued_token", sa.String(length=32), nullable=True),
        sa.Column("host", sa.String(length=100), nullable=True),
        sa.Column("cancel_requested_at", UtcTime(), nullable=True),
        sa.Column("hold_code", sa.String(length=30), nullable=True),
        sa.Column("hold_reason", sa.Text(), nullable=True),
        sa.Column("started_at", UtcTime(), nullable=True),
        sa.Column("finished_at", UtcTime(), nullable=True),
        sa.CheckConstraint("(state = 'held') = (hold_code IS NOT NULL)", name=op.f("ck_jobs_held")),
        sa.CheckConstraint("(state = 'running') = (lease_token IS NOT NULL)", name=op.f("ck_jobs_lease")),
        sa.CheckConstraint(
            "(state IN ('succeeded', 'failed', 'cancelled', 'expired')) = (finished_at IS NOT NULL)",
            name=op.f("ck_jobs_finished"),
        ),
        sa.CheckConstraint(
            "state IN ('scheduled', 'waiting', 'queued', 'running', 'held', 'succeeded', 'failed', 'cancelled', 'expired')",
            name=op.f("ck_jobs_state"),
        ),
        sa.CheckConstraint("(lease_token IS NULL) = (lease_until IS NULL)", name=op.f("ck_jobs_lease_until")),
        sa.CheckConstraint("charged >= 0 AND attempt >= charged", name=op.f("ck_jobs_attempts")),
        sa.CheckConstraint("priority BETWEEN 0 AND 3", name=op.f("ck_jobs_priority")),
        sa.ForeignKeyConstraint(["batch_id"], ["batches.id"], name=op.f("fk_jobs_batch_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
        sa.UniqueConstraint("batch_id", "custom_id", "model", name=op.f("uq_jobs_batch_id_custom_id_model")),
        postgresql_with={
            "fillfactor": "80",
            "autovacuum_vacuum_scale_factor": "0.02",
            "autovacuum_vacuum_cost_limit": "2000",
            "autovacuum_vacuum_cost_delay": "1",
        },
    )
    op.create_index(
        "ix_jobs_claim",
        "jobs",
        ["runner_key", "priority", "id"],
        unique=False,
        sqlite_where=sa.text("state = 'queued'"),
        postgresql_where=sa.text("state = 'queued'"),
    )
    op.create_index(
        "ix_jobs_eligible",
        "jobs",
        ["eligible_at"],
        unique=False,
        sqlite_where=sa.text("state = 'scheduled' AND eligible_at IS NOT NULL"),
        postgresql_where=sa.text("state = 'scheduled' AND eligible_at IS NOT NULL"),
    )
    op.create_index(
        "ix_jobs_unsealed",
        "jobs",
        ["batch_id", "id"],
        unique=False,
        sqlite_where=sa.text("state = 'scheduled' AND eligible_at IS NULL"),
        postgresql_where=sa.text("state = 'scheduled' AND eligible_at IS NULL"),
    )
    op.create_index(
        "ix_jobs_expiring",
        "jobs",
        ["deadline"],
        unique=False,
        sqlite_where=sa.text("expires AND finished_at IS NULL"),
        postgresql_where=sa.text("expires AND finished_at IS NULL"),
    )
    op.create_index(
        "ix_jobs_lease",
        "jobs",
        ["lease_until"],
        unique=False,
        sqlite_where=sa.text("state = 'running'"),
        postgresql_where=sa.text("state = 'running'"),
    )
    op.create_index(
        "ix_jobs_token",
        "jobs",
        ["lease_token"],
        unique=False,
        sqlite_where=sa.text("state = 'running'"),
        postgresql_where=sa.text("state = 'running'"),
    )

    op.create_table(
        "rejects",
        sa.Column(
            "batch_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.Column("field", sa.String(length=300), nullable=False),
        sa.Column("code", sa.String(length=50), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["batch_id"], ["batches.id"], name=op.f("fk_rejects_batch_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("batch_id", "number", name=op.f("pk_rejects")),
    )
    op.create_table(
        "attempts",
        sa.Column("job_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("attempt", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("host", sa.String(length=100), nullable=False),
        sa.Column("run_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("started_at", UtcTime(), nullable=True),
        sa.Column("ended_at", UtcTime(), nullable=False),
        sa.Column("outcome", sa.String(length=10), nullable=False),
        sa.Column("charged", sa.Boolean(), nullable=False),
        sa.Column("error_code", sa.String(length=30), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("partial", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "outcome IN ('succeeded', 'failed', 'retried', 'held', 'cancelled', 'rescued', 'late')",
            name=op.f("ck_attempts_outcome"),
        ),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_attempts_job_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", "attempt", name=op.f("pk_attempts")),
    )
    op.create_table(
        "payloads",
        sa.Column("job_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("prompt", sa.Text(), nullable=False),
        sa.Column("request", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("metadata", sa.JSON(none_as_null=True), nullable=True),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_payloads_job_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_payloads")),
    )
    op.create_table(
        "results",
        sa.Column("job_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("batch_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("custom_id", sa.String(length=200), nullable=False),
        sa.Column("model", sa.String(length=400), nullable=False),
        sa.Column("state", sa.String(length=9), nullable=False),
        sa.Column("host", sa.String(length=100), nullable=False),
        sa.Column("digest", sa.String(length=80), nullable=True),
        sa.Column("answer", sa.Text(), nullable=True),
        sa.Column("reasoning", sa.Text(), nullable=True),
        sa.Column("reasoning_open", sa.Boolean(), nullable=True),
        sa.Column("done_reason", sa.String(length=30), nullable=True),
        sa.Column("cut", sa.Boolean(), nullable=True),
        sa.Column("prompt_fit", sa.String(length=7), nullable=True),
        sa.Column("error_code", sa.String(length=30), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("prompt_tokens", sa.Integer(), nullable=True),
        sa.Column("output_tokens", sa.Integer(), nullable=True),
        sa.Column("tokens_per_second", sa.Float(), nullable=True),
        sa.Column("total_seconds", sa.Float(), nullable=True),
        sa.Column("load_seconds", sa.Float(), nullable=True),
        sa.Column("prompt_eval_seconds", sa.Float(), nullable=True),
        sa.Column("eval_seconds", sa.Float(), nullable=True),
        sa.Column("total_duration", sa.BigInteger(), nullable=True),
        sa.Column("load_duration", sa.BigInteger(), nullable=True),
        sa.Column("prompt_eval_duration", sa.BigInteger(), nullable=True),
        sa.Column("eval_duration", sa.BigInteger(), nullable=True),
        sa.Column("context", sa.LargeBinary(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("finished_at", UtcTime(), nullable=False),
        sa.CheckConstraint("(state = 'failed') = (error_code IS NOT NULL)", name=op.f("ck_results_error")),
        sa.CheckConstraint("state = 'failed' OR answer IS NOT NULL", name=op.f("ck_results_answer")),
        sa.CheckConstraint("state IN ('succeeded', 'failed')", name=op.f("ck_results_state")),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_results_job_id")),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_results")),
    )
    op.create_index("ix_results_batch_id", "results", ["batch_id", "job_id"], unique=False)

    op.execute("INSERT INTO fleet (id) VALUES (1)")


def downgrade() -> None:
    op.drop_index("ix_results_batch_id", table_name="results")

    op.drop_table("results")
    op.drop_table("payloads")
    op.drop_table("attempts")
    op.drop_table("rejects")
    op.drop_index(
        "ix_jobs_token",
        table_name="jobs",
        sqlite_where=sa.text("state = 'running'"),
        postgresql_where=sa.text("state = 'running'"),
    )
    op.drop_index(
        "ix_jobs_lease",
        table_name="jobs",
        sqlite_where=sa.text("state = 'running'"),
        postgresql_where=sa.text("state = 'running'"),
    )
    op.drop_index(
        "ix_jobs_expiring",
        table_name="jobs",
        sqlite_where=sa.text("expires AND finished_at IS NULL"),
        postgresql_where=sa.text("expires AND finished_at IS NULL"),
    )
    op.drop_index(
        "ix_jobs_unsealed",
        table_name="jobs",
        sqlite_where=sa.text("state = 'scheduled' AND eligible_at IS NULL"),
        postgresql_where=sa.text("state = 'scheduled' AND eligible_at IS NULL"),
    )
    op.drop_index(
        "ix_jobs_eligible",
        table_name="jobs",
        sqlite_where=sa.text("state = 'scheduled' AND eligible_at IS NOT NULL"),
        postgresql_where=sa.text("state = 'scheduled' AND eligible_at IS NOT NULL"),
    )
    op.drop_index(
        "ix_jobs_claim",
        table_name="jobs",
        sqlite_where=sa.text("state = 'queued'"),
        postgresql_where=sa.text("state = 'queued'"),
    )

    op.drop_table("jobs")
    op.drop_table("blocks")
    op.drop_table("served")
    op.drop_index("ix_runs_started_at", table_name="runs")
    op.drop_index("ix_runs_host", table_name="runs")

    op.drop_table("runs")
    op.drop_table("hosts")
    op.drop_table("fleet")
    op.drop_index("ix_counts_key", table_name="counts")

    op.drop_table("counts")
    op.drop_index("ix_count_deltas_batch_id", table_name="count_deltas")

    op.drop_table("count_deltas")
    op.drop_index(
        "ix_batches_unsettled",
        table_name="batches",
        sqlite_where=sa.text("state IN ('open', 'paused')"),
        postgresql_where=sa.text("state IN ('open', 'paused')"),
    )

    op.drop_table("batches")

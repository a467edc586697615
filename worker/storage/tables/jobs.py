"""Jobs, what they ask, their attempts and results, and how they are counted."""

from sqlalchemy import (
    DDL,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
    event,
    text,
)
from sqlalchemy.types import BigInteger

from worker.domain.jobs import JobState
from worker.storage.tables.metadata import FINAL_STATES, in_values, metadata
from worker.storage.types import BigId, Json, StateWord, UtcTime
from worker.storage.words import MAKE_INDEX

jobs = Table(
    "jobs",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("batch_id", BigId, ForeignKey("batches.id"), nullable=False),
    Column("custom_id", String(200), nullable=False),
    Column("model", String(400), nullable=False),
    Column("state", StateWord(9), nullable=False),
    Column("priority", SmallInteger, nullable=False),
    Column("runner_key", String(500), nullable=False),
    Column("prefix_group", BigInteger, nullable=False),
    Column("estimate", Integer, nullable=False),
    Column("submitted_at", UtcTime, nullable=False),
    Column("eligible_at", UtcTime),
    Column("deadline", UtcTime),
    Column("expires", Boolean, nullable=False, server_default=text("false")),
    Column("attempt", Integer, nullable=False, server_default=text("0")),
    Column("charged", Integer, nullable=False, server_default=text("0")),
    Column("losses", Integer, nullable=False, server_default=text("0")),
    Column("max_attempts", Integer, nullable=False),
    Column("lease_token", String(32)),
    Column("lease_until", UtcTime),
    Column("rescued_token", String(32)),
    Column("host", String(100)),
    Column("cancel_requested_at", UtcTime),
    Column("hold_code", String(30)),
    Column("hold_reason", Text),
    Column("started_at", UtcTime),
    Column("finished_at", UtcTime),
    Column("widened", Boolean, nullable=False, server_default=text("false")),
    Column("asked", Boolean, nullable=False, server_default=text("false")),
    Column("reuse", SmallInteger),
    Column("carries", Boolean, nullable=False, server_default=text("false")),
    Column("followed", Boolean, nullable=False, server_default=text("false")),
    Column("kind", String(20), nullable=False, server_default=text("'generate'")),
    UniqueConstraint("batch_id", "custom_id", "model"),
    CheckConstraint(in_values("state", JobState), name="state"),
    CheckConstraint("priority BETWEEN 0 AND 3", name="priority"),
    CheckConstraint("charged >= 0 AND attempt >= charged", name="attempts"),
    CheckConstraint("(state = 'running') = (lease_token IS NOT NULL)", name="lease"),
    CheckConstraint("(lease_token IS NULL) = (lease_until IS NULL)", name="lease_until"),
    CheckConstraint(f"(state IN ({FINAL_STATES})) = (finished_at IS NOT NULL)", name="finished"),
    CheckConstraint("(state = 'held') = (hold_code IS NOT NULL)", name="held"),
    Index(
        "ix_jobs_claim",
        "runner_key",
        "priority",
        "expires",
        "prefix_group",
        "id",
        info={"where": "state = 'queued'"},
    ),
    Index(
        "ix_jobs_dated",
        "runner_key",
        "priority",
        "expires",
        "deadline",
        "prefix_group",
        "id",
        info={"where": "state = 'queued' AND deadline IS NOT NULL"},
    ),
    Index(
        "ix_jobs_suspects",
        "runner_key",
        "priority",
        "id",
        info={"where": "state = 'queued' AND losses >= 2"},
    ),
    Index(
        "ix_jobs_lease",
        "lease_until",
        info={"where": "state = 'running'"},
    ),
    Index(
        "ix_jobs_token",
        "lease_token",
        info={"where": "state = 'running'"},
    ),
    Index(
        "ix_jobs_eligible",
        "eligible_at",
        info={"where": "state = 'scheduled' AND eligible_at IS NOT NULL"},
    ),
    Index(
        "ix_jobs_unsealed",
        "batch_id",
        "id",
        info={"where": "state = 'scheduled' AND eligible_at IS NULL"},
    ),
    Index(
        "ix_jobs_held",
        "batch_id",
        "id",
        info={"where": "state = 'held'"},
    ),
    Index(
        "ix_jobs_expiring",
        "deadline",
        info={"where": "expires AND finished_at IS NULL"},
    ),
    Index(
        "ix_jobs_reuse",
        "model",
        "reuse",
        "id",
        info={"where": "state = 'queued' AND reuse IS NOT NULL"},
    ),
    Index(
        "ix_jobs_followed",
        "id",
        info={"where": "followed AND finished_at IS NOT NULL"},
    ),
    info={
        "with": {
            "fillfactor": "80",
            "autovacuum_vacuum_scale_factor": "0.02",
            "autovacuum_vacuum_cost_limit": "2000",
            "autovacuum_vacuum_cost_delay": "1",
        }
    },
)
"""``id`` is ``batch_id * 2**24 + seq``: made by whoever submits, in the order of the input. ``prefix_group`` is the id of
the first job that begins like this one, so that it sorts by batch, then by first appearance. ``carries``: it goes on
from the context of the job that it follows. ``kind``: what is asked of a host.
``followed``: its end is news to jobs that wait for it."""

_OF_TEXTS = {
    "autovacuum_vacuum_scale_factor": "0.05",
    "autovacuum_vacuum_cost_limit": "2000",
    "toast.autovacuum_vacuum_scale_factor": "0.05",
    "toast.autovacuum_vacuum_cost_limit": "2000",
}
"""What is pruned leaves room that is found again after a twentieth of the table, not after a fifth."""

payloads = Table(
    "payloads",
    metadata,
    Column(
        "job_id", BigInteger, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    ),
    Column("prompt", Text, nullable=False),
    Column("request", Json, nullable=False),
    Column("metadata", Json),
    Column("digest", LargeBinary),
    Column("reuse_key", LargeBinary),
    info={"with": _OF_TEXTS},
)
"""``digest``: 16 bytes of a hash over what is asked, to distinguish a changed input from an equal one."""

follows = Table(
    "follows",
    metadata,
    Column(
        "job_id", BigInteger, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    ),
    Column("parent_id", BigInteger, primary_key=True, autoincrement=False),
    Column("release", Boolean, nullable=False, server_default=text("false")),
    Column("combines", Boolean, nullable=False, server_default=text("false")),
    Index("ix_follows_parent_id", "parent_id"),
)
"""Which job waits for which. ``release``: it is asked although its parent has no answer. ``combines``: the parent is a
part, whose answer is for that job's prompt alone. A parent may be pruned before."""

drafts = Table(
    "drafts",
    metadata,
    Column(
        "job_id", BigInteger, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    ),
    Column("text", Text, nullable=False),
)
"""What a host has written so far to a job, where somebody waits for it in another process."""

attempts = Table(
    "attempts",
    metadata,
    Column(
        "job_id", BigInteger, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    ),
    Column("attempt", Integer, primary_key=True, autoincrement=False),
    Column("host", String(100), nullable=False),
    Column("run_id", BigId),
    Column("started_at", UtcTime),
    Column("ended_at", UtcTime, nullable=False),
    Column("outcome", String(10), nullable=False),
    Column("charged", Boolean, nullable=False),
    Column("error_code", String(30)),
    Column("error_message", Text),
    Column("partial", Text),
    CheckConstraint(
        "outcome IN ('succeeded', 'failed', 'retried', 'held', 'cancelled', 'rescued', 'late')",
        name="outcome",
    ),
    info={"with": _OF_TEXTS},
)

FLAWED = "state = 'succeeded' AND (cut OR empty OR prompt_fit = 'no')"
"""Of ``results``: an answer that somebody should look at. A query has to say it in these words to use the index."""

FLAWED_RESULTS = {"sqlite": "results INDEXED BY ix_results_flawed", "postgresql": "results"}
"""Dialect → the table, for who counts them: without statistics SQLite may read all results of the batch."""
FAILED_RESULTS = {"sqlite": "results INDEXED BY ix_results_failed", "postgresql": "results"}
"""The same for who counts failures: it may read all results of the days."""

results = Table(
    "results",
    metadata,
    Column("job_id", BigInteger, ForeignKey("jobs.id"), primary_key=True, autoincrement=False),
    Column("batch_id", BigId, nullable=False),
    Column("custom_id", String(200), nullable=False),
    Column("model", String(400), nullable=False),
    Column("state", StateWord(9), nullable=False),
    Column("host", String(100), nullable=False),
    Column("digest", String(80)),
    Column("answer", Text),
    Column("reasoning", Text),
    Column("reasoning_open", Boolean),
    Column("done_reason", String(30)),
    Column("cut", Boolean),
    Column("prompt_fit", String(7)),
    Column("error_code", String(30)),
    Column("error_message", Text),
    Column("prompt_tokens", Integer),
    Column("output_tokens", Integer),
    Column("tokens_per_second", Float),
    Column("total_seconds", Float),
    Column("load_seconds", Float),
    Column("prompt_eval_seconds", Float),
    Column("eval_seconds", Float),
    Column("total_duration", BigInteger),
    Column("load_duration", BigInteger),
    Column("prompt_eval_duration", BigInteger),
    Column("eval_duration", BigInteger),
    Column("context", LargeBinary),
    Column("attempts", Integer, nullable=False),
    Column("finished_at", UtcTime, nullable=False),
    Column("day", Date),
    Column("parsed", Json),
    Column("reused_from", BigInteger),
    Column("empty", Boolean, nullable=False, server_default=text("false")),
    Column("logprobs", Json),
    Column("context_length", Integer),
    Column("tool_calls", Json),
    Column("embedding", LargeBinary),
    Column("created_at", UtcTime),
    CheckConstraint("state IN ('succeeded', 'failed')", name="state"),
    CheckConstraint("(state = 'failed') = (error_code IS NOT NULL)", name="error"),
    CheckConstraint("state = 'failed' OR answer IS NOT NULL", name="answer"),
    Index("ix_results_batch_id", "batch_id", "job_id"),
    Index("ix_results_day", "day", "job_id"),
    Index("ix_results_finished_at", "finished_at"),
    Index("ix_results_custom_id", "custom_id"),
    Index(
        "ix_results_failed",
        "batch_id",
        "error_code",
        info={"where": "state = 'failed'"},
    ),
    Index(
        "ix_results_flawed",
        "batch_id",
        "cut",
        "empty",
        "prompt_fit",
        info={"where": FLAWED},
    ),
    info={"with": _OF_TEXTS},
)

counts = Table(
    "counts",
    metadata,
    Column("batch_id", BigId, primary_key=True, autoincrement=False),
    Column("runner_key", String(500), primary_key=True),
    Column("priority", SmallInteger, primary_key=True, autoincrement=False),
    Column("state", String(9), primary_key=True),
    Column("jobs", BigInteger, nullable=False),
    Index("ix_counts_key", "runner_key", "priority", "state"),
    Index("ix_counts_queued", "runner_key", "priority", info={"where": "state = 'queued'"}),
)

count_deltas = Table(
    "count_deltas",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("batch_id", BigId, nullable=False),
    Column("runner_key", String(500), nullable=False),
    Column("priority", SmallInteger, nullable=False),
    Column("state", String(9), nullable=False),
    Column("jobs", Integer, nullable=False),
    Index("ix_count_deltas_batch_id", "batch_id"),
)

pruned_counts = Table(
    "pruned_counts",
    metadata,
    Column("batch_id", BigInteger, primary_key=True, autoincrement=False),
    Column("runner_key", String(500), primary_key=True),
    Column("priority", SmallInteger, primary_key=True, autoincrement=False),
    Column("state", String(9), primary_key=True),
    Column("jobs", BigInteger, nullable=False),
    *(
        Column(name, BigInteger, nullable=False, server_default=text("0"))
        for name in ("cut", "empty", "unfit")
    ),
)
"""Jobs that ended and are no longer there, ``counts`` has them still; and what was wrong with their answers."""

reusable = Table(
    "reusable",
    metadata,
    Column("key", LargeBinary, primary_key=True),
    Column("digest", String(80), primary_key=True),
    Column("job_id", BigInteger, nullable=False),
    Index("ix_reusable_job_id", "job_id"),
)
"""What was asked, and of which weights → the newest job that has its answer."""

searchable = Table(
    "searchable",
    metadata,
    Column(
        "job_id", BigInteger, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    ),
    Column("tokens", Text, nullable=False),
)
"""What a result is found by: tokens of its prompt and its answer, with spaces between. Its index is no table of ours."""

for _dialect, _statements in MAKE_INDEX.items():
    for _statement in _statements:
        event.listen(searchable, "after_create", DDL(_statement).execute_if(dialect=_dialect))  # type: ignore[no-untyped-call]

searching = Table(
    "searching",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("last", BigInteger, nullable=False),
    CheckConstraint("id = 1", name="single"),
)
"""The number of the last result that ``searchable`` has."""

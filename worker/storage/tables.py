"""The tables. Constraints make an impossible row impossible; partial indexes keep a claim's cost flat.

The queue row (``jobs``) is narrow: what was asked lies in ``payloads``, what came back in ``results``.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import (
    DDL,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
    event,
    text,
)
from sqlalchemy.types import BigInteger

from worker.domain.batches import BatchState
from worker.domain.jobs import FINAL, JobState
from worker.domain.model_operations import ModelVerb, PartState
from worker.domain.notices import NoticeState
from worker.domain.operations import Verb
from worker.domain.schedules import FiringState
from worker.storage.types import BigId, Json, StateWord, UtcTime
from worker.storage.words import MAKE_INDEX

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _one_of(column: str, values: object) -> str:
    return f"{column} IN ({', '.join(repr(str(value)) for value in values)})"  # type: ignore[attr-defined]


_FINAL = ", ".join(repr(str(state)) for state in JobState if state in FINAL)

hosts = Table(
    "hosts",
    metadata,
    Column("name", String(100), primary_key=True),
    Column("url", String(500), nullable=False),
    Column("slots", SmallInteger, nullable=False),
    Column("added_at", UtcTime, nullable=False),
    Column("version", String(50)),
    Column("models", Json),
    Column("last_seen_at", UtcTime),
    Column("last_claim_at", UtcTime),
    Column("error", Text),
    Column("resident", String(500)),
    Column("intent", String(500)),
    Column("intent_at", UtcTime),
    Column("serving_token", String(32)),
    Column("serving_until", UtcTime),
    Column("access", Json),
    Column("models_at_once", SmallInteger, nullable=False, server_default=text("1")),
    Column("memory", BigInteger),
    Column("draining_at", UtcTime),
    Column("unreachable_since", UtcTime),
    Column("kept", Boolean, nullable=False, server_default=text("true")),
    Column("shared", Boolean, nullable=False, server_default=text("false")),
    Column("slots_told", Boolean, nullable=False, server_default=text("true")),
    Column("intent_until", UtcTime),
    Column("intent_starved", Boolean, nullable=False, server_default=text("false")),
    Column("loaded_at", UtcTime),
    Column("loaded_seconds", Float),
    Column("slow_since", UtcTime),
    Column("slow_reason", Text),
    Column("quarantined_until", UtcTime),
    Column("quarantine_reason", Text),
    Column("quarantines", SmallInteger, nullable=False, server_default=text("0")),
    Column("watts", Float),
    Column("idle_watts", Float),
    Column("windows", Json),
    CheckConstraint("slots >= 1", name="slots"),
    CheckConstraint("(serving_token IS NULL) = (serving_until IS NULL)", name="serving"),
)

"""``models`` is what a worker of the version before ``host_models`` saw last. It is null once a newer one has looked, and
goes with the next release."""

host_models = Table(
    "host_models",
    metadata,
    Column("host", String(100), ForeignKey("hosts.name", ondelete="CASCADE"), primary_key=True),
    Column("name", String(700), primary_key=True),
    Column("digest", Text, nullable=False),
    Column("thinking", Boolean, nullable=False),
    Column("trained_context", BigInteger),
    Column("size", BigInteger, nullable=False),
    Column("vocabulary", BigInteger),
    Column("weights", Text),
    Column("quantization", String(50)),
    Column("parameters", String(50)),
    Column("capabilities", Json),
    Index("ix_host_models_name", "name"),
)
"""What each host has on disk, as the last look found it; ``hosts.last_seen_at`` is null where nobody has looked."""

residents = Table(
    "residents",
    metadata,
    Column("host", String(100), ForeignKey("hosts.name", ondelete="CASCADE"), primary_key=True),
    Column("runner_key", String(500), primary_key=True),
    Column("memory", BigInteger),
    Column("since", UtcTime, nullable=False),
)
"""What each host has loaded; ``hosts.resident`` is the one of them that it uses."""

fleet = Table(
    "fleet",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    CheckConstraint("id = 1", name="single"),
)

TERM = {"term": True}
"""A field of a submission that is stored with its batch, under its own name, and shown with it."""

batches = Table(
    "batches",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("key", String(200), nullable=False, unique=True),
    Column("name", String(300), nullable=False),
    Column("state", String(10), nullable=False),
    Column("source", Text),
    Column("jobs", Integer, nullable=False, server_default=text("0")),
    Column("created_at", UtcTime, nullable=False),
    Column("sealed_at", UtcTime),
    Column("finished_at", UtcTime),
    Column("lineage", String(64)),
    Column("recipe", Json),
    Column("max_failures", String(10), info=TERM),
    Column("pause_code", String(30)),
    Column("pause_reason", Text),
    Column("deadline", UtcTime, info=TERM),
    Column("keep_seconds", BigInteger),
    Column("pruned_at", UtcTime),
    Column("parent_id", BigInteger),
    Column("schedule", String(100)),
    Column("windows", Json),
    Column("closed", Boolean, nullable=False, server_default=text("false")),
    Column("fail_on_cut", Boolean, nullable=False, server_default=text("false"), info=TERM),
    CheckConstraint(_one_of("state", BatchState), name="state"),
    CheckConstraint("(state IN ('receiving', 'refused')) = (sealed_at IS NULL)", name="sealed"),
    CheckConstraint("(state IN ('finished', 'cancelled')) = (finished_at IS NOT NULL)", name="finished"),
    Index(
        "ix_batches_unsettled",
        "id",
        info={"where": "state IN ('open', 'paused')"},
    ),
    Index(
        "ix_batches_windows",
        "id",
        info={"where": "windows IS NOT NULL AND state IN ('receiving', 'open', 'paused')"},
    ),
    Index(
        "ix_batches_kept",
        "keep_seconds",
        "finished_at",
        info={"where": "pruned_at IS NULL AND finished_at IS NOT NULL"},
    ),
    Index(
        "ix_batches_refused",
        "keep_seconds",
        "created_at",
        info={"where": "pruned_at IS NULL AND state = 'refused'"},
    ),
    Index("ix_batches_lineage", "lineage", "id"),
    Index("ix_batches_parent_id", "parent_id"),
    sqlite_autoincrement=True,
)

rejects = Table(
    "rejects",
    metadata,
    Column(
        "batch_id", BigId, ForeignKey("batches.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    ),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("line", Integer, nullable=False),
    Column("field", String(300), nullable=False),
    Column("code", String(50), nullable=False),
    Column("message", Text, nullable=False),
)

submission_parts = Table(
    "submission_parts",
    metadata,
    Column("upload", String(64), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("lines", Text, nullable=False),
    Column("received_at", UtcTime, nullable=False),
    Index("ix_submission_parts_received", "received_at"),
)
"""Parts of a submission that comes in several messages, until the last of them is there: ``lines`` as JSON lines."""

operations = Table(
    "operations",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("batch_id", BigId, ForeignKey("batches.id", ondelete="CASCADE")),
    Column("verb", String(10), nullable=False),
    Column("total", Integer, nullable=False),
    Column("done", Integer, nullable=False, server_default=text("0")),
    Column("running", Integer, nullable=False, server_default=text("0")),
    Column("position", BigInteger, nullable=False, server_default=text("0")),
    Column("selection", Json),
    Column("arguments", Json),
    Column("principal", String(200)),
    Column("stops", Boolean, nullable=False, server_default=text("true")),
    Column("created_at", UtcTime, nullable=False),
    Column("ended_at", UtcTime),
    Column("error", Text),
    CheckConstraint(_one_of("verb", (*Verb, *ModelVerb)), name="verb"),
    CheckConstraint("batch_id IS NOT NULL OR NOT stops", name="stops"),
    Index("ix_operations_open", "batch_id", unique=True, info={"where": "ended_at IS NULL"}),
    Index("ix_operations_batch_id", "batch_id"),
    sqlite_autoincrement=True,
)
"""What was decided about many jobs of a batch, and how far its rows have followed. ``stops``: until it has ended, the
batch starts no job. Without a batch it is about models, and ``operation_parts`` say how far each host has come."""

operation_parts = Table(
    "operation_parts",
    metadata,
    Column("operation_id", BigId, ForeignKey("operations.id", ondelete="CASCADE"), primary_key=True),
    Column("host", String(100), primary_key=True),
    Column("model", String(700), primary_key=True),
    Column("state", String(10), nullable=False),
    Column("step", String(200), nullable=False, server_default=text("''")),
    Column("completed", BigInteger, nullable=False, server_default=text("0")),
    Column("total", BigInteger, nullable=False, server_default=text("0")),
    Column("tries", SmallInteger, nullable=False, server_default=text("0")),
    Column("next_at", UtcTime),
    Column("error", Text),
    Column("digest", Text),
    Column("changed_at", UtcTime, nullable=False),
    CheckConstraint(_one_of("state", PartState), name="state"),
    Index("ix_operation_parts_open", "host", info={"where": "state IN ('waiting', 'working')"}),
)
"""What an operation on models does on each host. Whoever serves the host works it off; its serving lease says whose turn
it is."""

notices = Table(
    "notices",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("batch_id", BigId, ForeignKey("batches.id", ondelete="CASCADE")),
    Column("firing_id", BigId, ForeignKey("firings.id", ondelete="CASCADE")),
    Column("channel", String(10), nullable=False),
    Column("target", String(2000), nullable=False),
    Column("on_what", String(10), nullable=False),
    Column("secret", String(500)),
    Column("message_id", String(64), nullable=False),
    Column("state", String(10), nullable=False),
    Column("tries", SmallInteger, nullable=False, server_default=text("0")),
    Column("next_at", UtcTime, nullable=False),
    Column("settled_at", UtcTime),
    Column("error", Text),
    CheckConstraint(_one_of("state", NoticeState), name="state"),
    CheckConstraint("(batch_id IS NULL) <> (firing_id IS NULL)", name="about"),
    Index("ix_notices_batch_id", "batch_id"),
    Index("ix_notices_firing_id", "firing_id"),
    Index("ix_notices_waiting", "next_at", info={"where": "state = 'waiting'"}),
    sqlite_autoincrement=True,
)
"""The outbox: messages about the end of a batch or a firing, with their addressees."""

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
    CheckConstraint(_one_of("state", JobState), name="state"),
    CheckConstraint("priority BETWEEN 0 AND 3", name="priority"),
    CheckConstraint("charged >= 0 AND attempt >= charged", name="attempts"),
    CheckConstraint("(state = 'running') = (lease_token IS NOT NULL)", name="lease"),
    CheckConstraint("(lease_token IS NULL) = (lease_until IS NULL)", name="lease_until"),
    CheckConstraint(f"(state IN ({_FINAL})) = (finished_at IS NOT NULL)", name="finished"),
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

runs = Table(
    "runs",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("host", String(100), nullable=False),
    Column("runner_key", String(500), nullable=False),
    Column("reason", Text, nullable=False),
    Column("started_at", UtcTime, nullable=False),
    Column("load_seconds", Float),
    Column("ended_at", UtcTime),
    Column("jobs", Integer, nullable=False, server_default=text("0")),
    Column("error", Text),
    Index("ix_runs_host", "host", "id"),
    Index("ix_runs_started_at", "started_at"),
)

blocks = Table(
    "blocks",
    metadata,
    Column("host", String(100), ForeignKey("hosts.name", ondelete="CASCADE"), primary_key=True),
    Column("runner_key", String(500), primary_key=True),
    Column("until", UtcTime, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("reason", Text, nullable=False),
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

served = Table(
    "served",
    metadata,
    Column("runner_key", String(500), primary_key=True),
    Column("priority", SmallInteger, primary_key=True, autoincrement=False),
    Column("at", UtcTime, nullable=False),
    Column("batch_id", BigInteger),
    Column("batch_at", UtcTime),
)
"""When each runner key and priority was last claimed, and which batch has its turn since when."""

paces = Table(
    "paces",
    metadata,
    Column("host", String(100), ForeignKey("hosts.name", ondelete="CASCADE"), primary_key=True),
    Column("runner_key", String(500), primary_key=True),
    Column("load_seconds", Float),
    Column("service_seconds", Float),
    Column("at", UtcTime, nullable=False),
    Column("slots", SmallInteger),
    Column("memory", BigInteger),
    Column("jobs", Integer, nullable=False, server_default=text("0")),
)

schedules = Table(
    "schedules",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("name", String(100), nullable=False, unique=True),
    Column("version", Integer, nullable=False, server_default=text("1")),
    Column("spec", Json, nullable=False),
    Column("spec_version", SmallInteger, nullable=False),
    Column("next_at", UtcTime),
    Column("paused_at", UtcTime),
    Column("paused_reason", Text),
    Column("added_at", UtcTime, nullable=False),
    Column("changed_at", UtcTime, nullable=False),
    Index("ix_schedules_next_at", "next_at"),
    sqlite_autoincrement=True,
)

firings = Table(
    "firings",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("schedule_id", BigId, ForeignKey("schedules.id", ondelete="CASCADE"), nullable=False),
    Column("fire_at", UtcTime, nullable=False),
    Column("by_hand", Boolean, nullable=False, server_default=text("false")),
    Column("version", Integer, nullable=False),
    Column("state", String(10), nullable=False),
    Column("tries", SmallInteger, nullable=False, server_default=text("0")),
    Column("token", String(32)),
    Column("token_until", UtcTime),
    Column("batch_id", BigId),
    Column("missed", Integer, nullable=False, server_default=text("0")),
    Column("began_at", UtcTime),
    Column("ended_at", UtcTime),
    Column("found", Integer, nullable=False, server_default=text("0")),
    Column("new", Integer, nullable=False, server_default=text("0")),
    Column("changed", Integer, nullable=False, server_default=text("0")),
    Column("retried", Integer, nullable=False, server_default=text("0")),
    Column("reused", Integer, nullable=False, server_default=text("0")),
    Column("pending", Integer, nullable=False, server_default=text("0")),
    Column("gone", Integer, nullable=False, server_default=text("0")),
    Column("unreadable", Integer, nullable=False, server_default=text("0")),
    Column("report", Json),
    Column("reason", Text),
    UniqueConstraint("schedule_id", "fire_at"),
    CheckConstraint(_one_of("state", FiringState), name="state"),
    CheckConstraint("(token IS NULL) = (token_until IS NULL)", name="token"),
    CheckConstraint("(state IN ('finished', 'skipped', 'failed')) = (ended_at IS NOT NULL)", name="ended"),
    Index(
        "ix_firings_open",
        "schedule_id",
        "fire_at",
        info={"where": "ended_at IS NULL"},
    ),
    Index("ix_firings_fire_at", "fire_at"),
    sqlite_autoincrement=True,
)
"""Each time of a schedule at most once, whoever notices that it has come."""

firing_changes = Table(
    "firing_changes",
    metadata,
    Column(
        "firing_id",
        BigId,
        ForeignKey("firings.id", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    ),
    Column("custom_id", String(200), primary_key=True),
    Column("model", String(400), primary_key=True),
    Column("path", Text, nullable=False),
    Column("change", String(10), nullable=False),
    Column("batch_id", BigInteger),
    Column("job_id", BigInteger),
    Column("error_code", String(30)),
    UniqueConstraint("batch_id", "custom_id", "model"),
)
"""What each firing found that was not as before: why its jobs were submitted. It outlives them."""

schedule_documents = Table(
    "schedule_documents",
    metadata,
    Column(
        "schedule_id",
        BigId,
        ForeignKey("schedules.id", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    ),
    Column("custom_id", String(200), primary_key=True),
    Column("model", String(400), primary_key=True),
    Column("path", Text, nullable=False),
    Column("sha256", String(64)),
    Column("fingerprint", LargeBinary),
    Column("firing_id", BigId, nullable=False),
    Column("change", String(10), nullable=False),
    Column("asked_batch", BigId),
    Column("asked_job", BigInteger),
    Column("answered_job", BigInteger),
    Column("answered", LargeBinary),
    Column("answered_at", UtcTime),
    Column("digest", String(80)),
    Column("first_seen_at", UtcTime, nullable=False),
    Column("last_seen_at", UtcTime, nullable=False),
    Column("gone_at", UtcTime),
    Column("error_code", String(30)),
    Column("error_message", Text),
    Column("error_at", UtcTime),
    Index("ix_schedule_documents_asked", "asked_batch", "asked_job"),
    Index("ix_schedule_documents_answered_job", "answered_job"),
)
"""What each schedule has seen: ``fingerprint`` is of what was asked last, ``answered`` of its latest answer."""

schedule_answers = Table(
    "schedule_answers",
    metadata,
    Column("schedule_id", BigId, primary_key=True, autoincrement=False),
    Column("custom_id", String(200), primary_key=True),
    Column("model", String(400), primary_key=True),
    Column("job_id", BigInteger, nullable=False),
    Column("answer", Text),
    Column("reasoning", Text),
    Column("parsed", Json),
    Column("prompt_tokens", Integer),
    Column("output_tokens", Integer),
    Column("metadata", Json),
    Column("cut", Boolean),
    Column("empty", Boolean),
    Column("prompt_fit", String(10)),
    ForeignKeyConstraint(
        ["schedule_id", "custom_id", "model"],
        ["schedule_documents.schedule_id", "schedule_documents.custom_id", "schedule_documents.model"],
        name="fk_schedule_answers_document",
        ondelete="CASCADE",
    ),
    Index("ix_schedule_answers_job_id", "job_id"),
)
"""The latest answer of each document and model. It outlives a job that is pruned: what does not change keeps its answer."""

pulses = Table(
    "pulses",
    metadata,
    Column("name", String(100), primary_key=True),
    Column("at", UtcTime, nullable=False),
    Column("detail", Json),
)
"""When each process that has to run (beat, tick, chores) was last seen to, and what it said then."""

fresh_results = Table(
    "fresh_results",
    metadata,
    Column("job_id", BigInteger, primary_key=True, autoincrement=False),
)
"""Results that have no number yet."""

numbered_results = Table(
    "numbered_results",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("job_id", BigInteger, nullable=False),
    Column("batch_id", BigInteger, nullable=False),
    UniqueConstraint("job_id"),
    Index("ix_numbered_results_batch", "batch_id", "number"),
)
"""Results in the order in which they came to be seen: a reader's cursor is ``number``."""

numbering = Table(
    "numbering",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("last", BigInteger, nullable=False),
    CheckConstraint("id = 1", name="single"),
)


def _figures() -> list[Column[Any]]:
    return [
        *(Column(name, Integer, nullable=False, server_default=text("0")) for name in _COUNTED),
        *(Column(name, BigInteger, nullable=False, server_default=text("0")) for name in _TOKENS),
        *(Column(name, Float, nullable=False, server_default=text("0")) for name in _SECONDS),
    ]


_COUNTED = ("results", "succeeded", "failed", "cut", "empty", "unfit")
_TOKENS = ("prompt_tokens", "output_tokens")
_SECONDS = ("eval_seconds", "gpu_seconds")

batch_figures = Table(
    "batch_figures",
    metadata,
    Column("batch_id", BigInteger, primary_key=True, autoincrement=False),
    *_figures(),
    Column("first_at", UtcTime, nullable=False),
    Column("last_at", UtcTime, nullable=False),
    Column("reused", Integer, nullable=False, server_default=text("0")),
)

model_days = Table(
    "model_days",
    metadata,
    Column("day", Date, primary_key=True),
    Column("model", String(400), primary_key=True),
    *_figures(),
)

host_hours = Table(
    "host_hours",
    metadata,
    Column("hour", UtcTime, primary_key=True),
    Column("host", String(100), primary_key=True),
    *_figures(),
    Column("loads", Integer, nullable=False, server_default=text("0")),
    Column("load_seconds", Float, nullable=False, server_default=text("0")),
)
hour_figures = Table(
    "hour_figures",
    metadata,
    Column("batch_id", BigInteger, primary_key=True, autoincrement=False),
    Column("hour", UtcTime, primary_key=True),
    Column("model", String(400), primary_key=True),
    Column("host", String(100), primary_key=True),
    *_figures(),
    Index("ix_hour_figures_hour", "hour"),
)
"""What was counted when a result got its number: reports of a day or an hour read a few rows, not a million."""

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


FIRST_ROWS: Mapping[str, Mapping[str, int]] = {
    "fleet": {"id": 1},
    "numbering": {"id": 1, "last": 0},
    "searching": {"id": 1, "last": 0},
}
"""What every database holds from its beginning: rows that are locked or counted on, and never deleted."""


def with_dialect_options(*dialects: str) -> MetaData:
    """The tables with what is said of them for these databases alone, or for both: to compare them with the migrations.

    Not said where they are defined: naming an option of PostgreSQL loads its dialect, 20 ms for each short command.
    """
    for dialect in dialects or ("sqlite", "postgresql"):
        for table in metadata.tables.values():
            if "with" in table.info and dialect == "postgresql":
                table.dialect_kwargs["postgresql_with"] = table.info["with"]
            for index in table.indexes:
                if "where" in index.info:
                    index.dialect_kwargs[f"{dialect}_where"] = text(index.info["where"])
    return metadata

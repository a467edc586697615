"""The tables by topic, behind one MetaData.

Constraints make an impossible row impossible; partial indexes keep a claim's cost flat.

The queue row (``jobs``) is narrow: what was asked lies in ``payloads``, what came back in ``results``.

The tables of schedules are imported from their own module by what works with schedules: 70 columns take 4 ms to define.
"""

from collections.abc import Mapping

from sqlalchemy import MetaData, text

from worker.storage.tables.batches import (
    TERM,
    batches,
    notices,
    operation_parts,
    operations,
    rejects,
    submission_parts,
)
from worker.storage.tables.figures import (
    batch_figures,
    fresh_results,
    host_hours,
    hour_figures,
    model_days,
    numbered_results,
    numbering,
)
from worker.storage.tables.hosts import (
    blocks,
    fleet,
    host_models,
    hosts,
    paces,
    pulses,
    residents,
    runs,
    served,
)
from worker.storage.tables.jobs import (
    FAILED_RESULTS,
    FLAWED,
    FLAWED_RESULTS,
    attempts,
    count_deltas,
    counts,
    drafts,
    follows,
    jobs,
    payloads,
    pruned_counts,
    results,
    reusable,
    searchable,
    searching,
)
from worker.storage.tables.metadata import metadata

__all__ = [
    "FAILED_RESULTS",
    "FIRST_ROWS",
    "FLAWED",
    "FLAWED_RESULTS",
    "TERM",
    "all_tables",
    "attempts",
    "batch_figures",
    "batches",
    "blocks",
    "count_deltas",
    "counts",
    "drafts",
    "fleet",
    "follows",
    "fresh_results",
    "host_hours",
    "host_models",
    "hosts",
    "hour_figures",
    "jobs",
    "model_days",
    "notices",
    "numbered_results",
    "numbering",
    "operation_parts",
    "operations",
    "paces",
    "payloads",
    "pruned_counts",
    "pulses",
    "rejects",
    "residents",
    "results",
    "reusable",
    "runs",
    "searchable",
    "searching",
    "served",
    "submission_parts",
    "with_dialect_options",
]

FIRST_ROWS: Mapping[str, Mapping[str, int]] = {
    "fleet": {"id": 1},
    "numbering": {"id": 1, "last": 0},
    "searching": {"id": 1, "last": 0},
}
"""What every database holds from its beginning: rows that are locked or counted on, and never deleted."""


def all_tables() -> MetaData:
    """Every table of the database."""
    import worker.storage.tables.schedules  # noqa: F401

    return metadata


def with_dialect_options(*dialects: str) -> MetaData:
    """The tables with what is said of them for these databases alone, or for both: to compare them with the migrations.

    Not said where they are defined: naming an option of PostgreSQL loads its dialect, 20 ms for each short command.
    """
    tables = all_tables()
    for dialect in dialects or ("sqlite", "postgresql"):
        for table in tables.tables.values():
            if "with" in table.info and dialect == "postgresql":
                table.dialect_kwargs["postgresql_with"] = table.info["with"]
            for index in table.indexes:
                if "where" in index.info:
                    index.dialect_kwargs[f"{dialect}_where"] = text(index.info["where"])
    return tables

"""Answers on their way out: one line per job, in the order of the input, in constant memory."""

import json
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, TextIO

from worker.domain.jobs import JobState
from worker.errors import CODES, Code
from worker.storage.engine import Database
from worker.storage.results import ResultRow, iter_results


def result_line(row: ResultRow) -> dict[str, Any]:
    """A result line as ``docs/schemas/result_line.schema.json`` describes it."""
    return {
        "custom_id": row.custom_id,
        "job_id": row.job_id,
        "batch": row.batch,
        "state": row.state,
        "model": row.model,
        "answer": row.answer,
        "reasoning": row.reasoning,
        "done_reason": row.done_reason,
        "cut": row.cut,
        "prompt_fit": row.prompt_fit,
        "error": _error(row),
        "host": row.host,
        "prompt_tokens": row.prompt_tokens,
        "output_tokens": row.output_tokens,
        "tokens_per_second": row.tokens_per_second,
        "total_seconds": row.total_seconds,
        "load_seconds": row.load_seconds,
        "prompt_eval_seconds": row.prompt_eval_seconds,
        "eval_seconds": row.eval_seconds,
        "queued_seconds": row.queued_seconds,
        "attempts": row.attempts,
        "submitted_at": _iso(row.submitted_at),
        "started_at": _iso(row.started_at),
        "finished_at": _iso(row.finished_at),
        "metadata": row.metadata,
    }


def _error(row: ResultRow) -> dict[str, str] | None:
    if row.error_code is not None:
        return {"code": row.error_code, "message": row.error_message or ""}
    match row.state:
        case JobState.CANCELLED:
            return {"code": Code.CANCELLED, "message": CODES[Code.CANCELLED].meaning}
        case JobState.EXPIRED:
            return {"code": Code.EXPIRED, "message": CODES[Code.EXPIRED].meaning}
        case _:
            return None


def _iso(at: Any) -> str | None:
    return None if at is None else at.isoformat().replace("+00:00", "Z")


def result_lines(
    database: Database, batch_id: int, *, states: Collection[JobState] | None = None
) -> Iterator[dict[str, Any]]:
    """Every job of the batch (or those in ``states``) as a result line, in input order, open ones too."""
    for row in iter_results(database, batch_id, states=states):
        yield result_line(row)


def write_results(
    database: Database,
    batch_id: int,
    out: TextIO,
    *,
    states: Collection[JobState] | None = None,
    progress: Callable[[int], None] | None = None,
) -> int:
    """Write JSON lines to ``out``; returns how many."""
    lines = 0
    for line in result_lines(database, batch_id, states=states):
        out.write(json.dumps(line, ensure_ascii=False) + "\n")
        lines += 1
        if progress is not None and lines % 1000 == 0:
            progress(lines)
    return lines


def write_results_file(
    database: Database, batch_id: int, path: Path, *, states: Collection[JobState] | None = None
) -> int:
    """Write JSON lines to ``path``, which is replaced only when all are there; returns how many.

    What is no ordinary file (a pipe, ``/dev/stdout``) is written to as it is. Raises OSError.
    """
    if path.exists() and not path.is_file():
        with path.open("w", encoding="utf-8") as out:
            return write_results(database, batch_id, out, states=states)
    partial = path.with_name(f".{path.name}.part")
    with partial.open("w", encoding="utf-8") as out:
        lines = write_results(database, batch_id, out, states=states)
    partial.replace(path)
    return lines

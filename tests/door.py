"""Submissions as tests make them."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from api_schemas.jobs import JobDefaults
from api_schemas.submissions import Submission
from worker.clock import Clock
from worker.domain.batches import Batch
from worker.door.observer import CheckModels, Choice, Difference, Observer
from worker.door.rows import InputLine, RowFile, RowStream
from worker.door.submit import Receipt, submit
from worker.errors import Problem
from worker.storage.engine import Database

Ask = Callable[[Batch, Difference], Choice | None]


class Watching(Observer):
    """Answers with ``ask``, and hands lines that are left out to ``reject``."""

    def __init__(
        self, ask: Ask | None = None, reject: Callable[[Problem, InputLine], None] | None = None
    ) -> None:
        self._ask = ask
        self._reject = reject

    def rows_changed(self, batch: Batch, difference: Difference) -> Choice | None:
        return None if self._ask is None else self._ask(batch, difference)

    def rejected(self, problem: Problem, line: InputLine) -> None:
        if self._reject is not None:
            self._reject(problem, line)


def submit_lines(
    database: Database,
    lines: Iterable[bytes | str | InputLine],
    *,
    key: str,
    defaults: JobDefaults = JobDefaults(),  # noqa: B008 - frozen
    clock: Clock | None = None,
    **fields: Any,
) -> Receipt:
    """Lines under a key."""
    submission = Submission.of_defaults(defaults, key=key, **fields)
    return submit(database, submission, RowStream(lines, "test"), clock=clock)


def submit_file(
    database: Database,
    path: Path,
    submission: Submission = Submission(),  # noqa: B008 - frozen
    *,
    ask: Ask | None = None,
    reject: Callable[[Problem, InputLine], None] | None = None,
    check_models: CheckModels | None = None,
    clock: Clock | None = None,
    source: str | None = None,
    parent: int | None = None,
    **fields: Any,
) -> Receipt:
    """A file of rows, with ``fields`` in place of those of the submission."""
    if reject is not None:
        fields.setdefault("on_bad_line", "skip")
    return submit(
        database,
        Submission.model_validate(submission.model_dump() | fields),
        RowFile(path, source, parent=parent),
        observer=Watching(ask, reject),
        check_models=check_models,
        clock=clock,
    )

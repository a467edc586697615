"""For producers in Python: submit, wait, read the results. ``from caravan import Caravan``."""

import json
import math
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from worker.clock import Clock
from worker.domain.batches import BatchProgress, BatchState
from worker.domain.jobs import JobFilter, JobState
from worker.errors import InputRefused, Problem
from worker.services.actions import cancel_jobs, retry_jobs
from worker.services.recipe import Recipe, content_key
from worker.services.results import result_lines
from worker.services.submit import submit_lines
from worker.settings import Settings, load_settings
from worker.storage.batches import find_batch, list_batches
from worker.storage.counts import batch_progress
from worker.storage.engine import Database, open_database
from worker.storage.migrate import check_schema, is_current, upgrade

if TYPE_CHECKING:
    import pandas

Jobs = Iterable[Any]
"""Dictionaries with the fields of a job line, pydantic models of them, bare prompts, or a DataFrame."""
OnProgress = Callable[[BatchProgress], None]


@dataclass(frozen=True, slots=True)
class BatchHandle:
    """A batch, from outside."""

    id: int
    key: str
    name: str
    _caravan: "Client"

    def progress(self) -> BatchProgress:
        """Its jobs by state, now. Raises DatabaseUnavailable."""
        with self._caravan.database.read() as conn:
            return batch_progress(conn, self.id)

    def wait(
        self, callback: OnProgress | None = None, *, timeout: float | None = None, poll: float = 1.0
    ) -> BatchProgress:
        """Wait until nothing of it can change by itself any more: all ended, held, or paused.

        ``callback`` hears of each look, every ``poll`` seconds. Raises TimeoutError after ``timeout`` seconds.
        """
        until = None if timeout is None else time.monotonic() + timeout
        while True:
            progress = self.progress()
            if callback is not None:
                callback(progress)
            running = progress.counts.get(JobState.RUNNING, 0)
            if not progress.open or (progress.batch.state is BatchState.PAUSED and not running):
                return progress
            if until is not None and time.monotonic() >= until:
                raise TimeoutError(f"batch {self.id}: {progress.open:,} jobs left after {timeout:g} s")
            time.sleep(poll)  # noqa: TID251 - the producer waits

    def results(self, states: Collection[JobState | str] | None = None) -> Iterator[dict[str, Any]]:
        """Result lines in the order of the input, open jobs too; only those in ``states`` where given."""
        wanted = None if states is None else {JobState(state) for state in states}
        return result_lines(self._caravan.database, self.id, states=wanted)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self.results()

    def to_dataframe(self, states: Collection[JobState | str] | None = None) -> "pandas.DataFrame":
        """The results as a table. Raises ImportError where pandas is not installed."""
        try:
            import pandas
        except ImportError as error:
            raise ImportError("to_dataframe() needs pandas: pip install pandas") from error
        return pandas.DataFrame(list(self.results(states)))

    def cancel(self) -> int:
        """Cancel what is left; returns how many jobs were waiting. Raises Conflict where nothing is left."""
        return cancel_jobs(
            self._caravan.database, JobFilter(batch_id=self.id), clock=self._caravan.clock
        ).jobs

    def retry(self, states: Collection[JobState | str] = (JobState.FAILED,)) -> int:
        """Ask the jobs in ``states`` again; returns how many."""
        chosen = JobFilter(batch_id=self.id, states=frozenset(JobState(state) for state in states))
        again = retry_jobs(self._caravan.database, chosen, clock=self._caravan.clock).jobs
        self._caravan.wake()
        return again


class Client:
    """Caravan's database, for a producer. Thread-safe as SQLAlchemy's engine is; ``close`` it, or use ``with``.

    Without ``database_url`` it is the embedded database in ``home``, made where it is missing, and ``caravan up`` or a
    ``run`` serves it. Other settings by their names. Raises SettingsRefused, DatabaseUnavailable, SchemaOutdated.
    """

    def __init__(self, home: str | Path | None = None, **settings: Any) -> None:
        self.settings: Settings = load_settings(home=home, **settings)
        if not self.settings.database_url:
            self.settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.database: Database = open_database(self.settings.database)
        if not is_current(self.database):
            if not self.settings.database_url:
                upgrade(self.settings.database)
            check_schema(self.database)
        self.clock: Clock = self.database.clock()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self.database.close()

    def submit(
        self,
        jobs: Jobs,
        *,
        model: str | None = None,
        name: str | None = None,
        key: str | None = None,
        system: str | None = None,
        format: Any = None,
        options: Mapping[str, Any] | None = None,
        think: bool | str | None = None,
        priority: Any = None,
    ) -> BatchHandle:
        """Store the jobs as a batch, and wake the workers of a fleet.

        What is given by name fills gaps of the jobs. ``format``: ``"json"``, a JSON Schema or a pydantic class. The same
        jobs given again (or the same ``key``) are the same batch. Raises InputRefused with every problem, by the job's
        place from 1.
        """
        from api_schemas.jobs import JobDefaults

        defaults = JobDefaults(
            model=model,
            system=system,
            format=_schema(format),
            options=options,
            think=think,
            priority=priority,
        )
        with ExitStack() as exits:
            folder = exits.enter_context(tempfile.TemporaryDirectory())
            path = Path(folder) / "jobs.jsonl"
            with path.open("w", encoding="utf-8") as file:
                for number, job in enumerate(_plain(jobs), start=1):
                    file.write(_line(job, number) + "\n")
            recipe = Recipe(defaults=defaults)
            with path.open("rb") as lines:
                submitted = submit_lines(
                    self.database,
                    (line.rstrip(b"\n") for line in lines),
                    key=key or content_key(path, recipe),
                    name=name or "python",
                    source="python",
                    defaults=defaults,
                    clock=self.clock,
                    max_attempts=self.settings.max_attempts,
                )
        self.wake()
        return self._handle(submitted.batch)

    def batch(self, reference: str | int) -> BatchHandle:
        """A batch by number, key, name, the beginning of one, or ``@last``. Raises NotFound, Conflict."""
        with self.database.read() as conn:
            return self._handle(find_batch(conn, str(reference)))

    def batches(self, limit: int = 50) -> list[BatchHandle]:
        """The newest first."""
        with self.database.read() as conn:
            return [self._handle(batch) for batch in list_batches(conn, limit)]

    def wake(self) -> None:
        """Have a fleet's workers look at the database; where one process serves, it looks by itself."""
        if not self.settings.broker_url:
            return
        from worker.dispatch.app import make_app  # Celery takes a third of a second to import
        from worker.dispatch.wake import wake_hosts
        from worker.services.tick import hosts_to_wake

        wake_hosts(make_app(self.settings), hosts_to_wake(self.database, clock=self.clock))

    def _handle(self, batch: Any) -> BatchHandle:
        return BatchHandle(batch.id, batch.key, batch.name, self)


def _plain(jobs: Jobs) -> Iterator[Any]:
    """What a producer gives, one job after another; a DataFrame row by row."""
    if hasattr(jobs, "to_dict") and hasattr(jobs, "columns"):
        from api_schemas.jobs import FIELDS
        from worker.documents.job_lines import job_values

        names = [str(column) for column in jobs.columns]
        for row in jobs.itertuples(index=False, name=None):  # type: ignore[attr-defined]
            values = {name: _cell(value) for name, value in zip(names, row, strict=True)}
            yield job_values(values, prompt=None, system=None, id_column=None, reserved=FIELDS)
        return
    yield from jobs


def _cell(value: Any) -> Any:
    """A cell as JSON takes it: numpy's numbers as Python's, NaN and NaT as nothing."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return None
    if isinstance(value, float) and math.isnan(value):
        return None
    value = value.item() if hasattr(value, "item") else value
    return value.isoformat() if hasattr(value, "isoformat") else value


def _line(job: Any, number: int) -> str:
    if isinstance(job, str):
        job = {"prompt": job}
    elif hasattr(job, "model_dump"):
        job = job.model_dump(mode="json", exclude_none=True)
    if not isinstance(job, Mapping):
        told = f"expected a dictionary, a pydantic model or a text, got {type(job).__name__}"
        raise InputRefused([Problem(number, "", "invalid_value", told)])
    fields = dict(job)
    if fields.get("format") is not None:
        fields["format"] = _schema(fields["format"])
    try:
        return json.dumps(fields, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise InputRefused(
            [Problem(number, "", "invalid_value", f"cannot be written as JSON: {error}")]
        ) from error


def _schema(format: Any) -> Any:
    """``json`` or a schema as it is; of a pydantic class its JSON Schema."""
    return format.model_json_schema() if hasattr(format, "model_json_schema") else format

"""For producers in Python: submit, wait, read the results. ``from caravan import Caravan``."""

import hashlib
import json
import math
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from api_schemas.jobs import FIELDS, JobDefaults, check_defaults
from worker.clock import Clock
from worker.documents.job_lines import job_values
from worker.domain.batches import Batch, BatchProgress, BatchState
from worker.domain.jobs import JobFilter, JobState
from worker.errors import DatabaseUnavailable, InputRefused, Problem, SettingsRefused
from worker.services.actions import cancel_jobs, retry_jobs
from worker.services.intake import PROBLEMS_SHOWN
from worker.services.recipe import InputLine, Recipe
from worker.services.results import result_lines
from worker.services.submit import CheckModels, submit_lines
from worker.settings import Settings, load_settings
from worker.storage.batches import find_batch, list_batches
from worker.storage.counts import batch_progress
from worker.storage.engine import Database, open_database
from worker.storage.migrate import check_schema, is_current, upgrade

if TYPE_CHECKING:
    from typing import Self

    import pandas

    from api_schemas.jobs import PriorityName

Jobs = Iterable[Any]
"""Dictionaries with the fields of a job line, pydantic models of them, bare prompts, or a DataFrame."""
OnProgress = Callable[[BatchProgress], None]

IN_MEMORY = 32 * 1024 * 1024
"""Bytes of job lines that are kept in memory until all are there; more go to a temporary file."""
DATABASE_SECONDS = 60.0
"""How long a wait rides out a database that is away."""


@dataclass(frozen=True, slots=True)
class BatchHandle:
    """A batch, from outside. Good for as long as the ``Caravan`` that gave it is open."""

    id: int
    key: str
    name: str
    _caravan: "Client" = field(repr=False, compare=False)

    def progress(self) -> BatchProgress:
        """Its jobs by state, now. Raises DatabaseUnavailable."""
        with self._caravan.database.read() as conn:
            return batch_progress(conn, self.id)

    def wait(
        self, callback: OnProgress | None = None, timeout: float | None = None, poll: float = 1.0
    ) -> BatchProgress:
        """Wait until nothing of it can change by itself any more: all ended or held, or it is paused and nothing runs.

        ``callback`` hears of each look, every ``poll`` seconds; what it raises ends the wait. Raises TimeoutError after
        ``timeout`` seconds, DatabaseUnavailable when the database is away for longer than ``DATABASE_SECONDS``.
        """
        began = read_at = time.monotonic()
        while True:
            try:
                progress = self.progress()
                read_at = time.monotonic()
            except DatabaseUnavailable:
                if time.monotonic() - read_at > DATABASE_SECONDS:
                    raise
            else:
                if callback is not None:
                    callback(progress)
                if _at_rest(progress):
                    return progress
            left = math.inf if timeout is None else began + timeout - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"batch {self.id} is not done after {timeout:g} s")
            time.sleep(min(poll, left))  # noqa: TID251 - the producer waits

    def results(self, states: Collection[JobState | str] | None = None) -> Iterator[dict[str, Any]]:
        """Result lines in the order of the input, in constant memory, open jobs too; with ``states`` those in them.

        Raises ValueError for a state that is none.
        """
        wanted = None if states is None else _states(states)
        return result_lines(self._caravan.database, self.id, states=wanted)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self.results()

    def to_dataframe(self, states: Collection[JobState | str] | None = None) -> "pandas.DataFrame":
        """The results as a table in memory. Raises ImportError where pandas is not installed."""
        try:
            import pandas
        except ImportError as error:
            raise ImportError("to_dataframe() needs pandas: pip install pandas") from error
        from api_schemas.jobs import ResultLine

        return pandas.DataFrame(list(self.results(states)), columns=list(ResultLine.model_fields))

    def cancel(self) -> int:
        """Cancel what has not ended; returns how many jobs. Those that run stop within seconds.

        Raises Conflict where nothing is left.
        """
        done = cancel_jobs(self._caravan.database, JobFilter(batch_id=self.id), clock=self._caravan.clock)
        return done.jobs + done.running

    def retry(self, states: Collection[JobState | str] = (JobState.FAILED,)) -> int:
        """Ask the jobs in ``states`` again (of failed, cancelled, expired, held); returns how many.

        Raises ValueError for a state that is none; Conflict for a batch that was never complete.
        """
        chosen = JobFilter(batch_id=self.id, states=frozenset(_states(states)))
        again = retry_jobs(self._caravan.database, chosen, clock=self._caravan.clock).jobs
        self._caravan.wake()
        return again


def _states(names: Collection[JobState | str]) -> set[JobState]:
    return {JobState(name) for name in ([names] if isinstance(names, str) else names)}


def _at_rest(progress: BatchProgress) -> bool:
    """Whether nothing can change by itself. A batch that somebody is sending just now is not."""
    match progress.batch.state:
        case BatchState.RECEIVING:
            return False
        case BatchState.PAUSED:
            return not progress.counts.get(JobState.RUNNING, 0)
        case _:
            return not progress.open


class Client:
    """Caravan's database, for a producer. Threads may share it; ``close`` it, or use ``with``.

    Without ``database_url`` it is the embedded database in ``home``, made where it is missing, and ``caravan up`` or a
    ``run`` serves it. What is not given comes from ``CARAVAN_*`` and ``caravan.toml``, and so do other ``settings``,
    by their names. Raises SettingsRefused, DatabaseUnavailable, SchemaOutdated.
    """

    def __init__(
        self,
        home: str | Path | None = None,
        database_url: str | None = None,
        broker_url: str | None = None,
        **settings: Any,
    ) -> None:
        _see_known(settings)
        self.settings: Settings = load_settings(
            home=home, database_url=database_url, broker_url=broker_url, **settings
        )
        embedded = not self.settings.database_url
        if embedded:
            self.settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.database: Database = open_database(self.settings.database)
        try:
            if not is_current(self.database):
                if embedded:
                    upgrade(self.settings.database)
                check_schema(self.database)
        except BaseException:
            self.database.close()
            raise
        self.clock: Clock = self.database.clock()

    def __enter__(self) -> "Self":
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
        format: Any = None,
        options: Mapping[str, Any] | None = None,
        think: bool | str | None = None,
        priority: "PriorityName | None" = None,
        system: str | None = None,
    ) -> BatchHandle:
        """Store the jobs as a batch, and wake the workers of a fleet.

        What is given by name fills gaps of the jobs. ``format``: ``"json"``, a JSON Schema or a pydantic class. The same
        jobs given again in the same way are the same batch; with ``key`` those of that key are, whatever they say.
        Raises InputRefused with every problem (at most 20 are kept), by the job's place from 1; DatabaseUnavailable,
        after which the same call goes on where it stopped.
        """
        defaults = defaults_of(
            model=model, system=system, format=format, options=options, think=think, priority=priority
        )
        return self.take_in(jobs, defaults, name=name, key=key)

    def take_in(
        self,
        jobs: Jobs,
        defaults: JobDefaults,
        *,
        name: str | None,
        key: str | None,
        check_models: CheckModels | None = None,
    ) -> BatchHandle:
        """``submit`` for whoever serves, too: ``check_models`` as ``submit_lines`` takes it."""
        wrong = [Problem(p.line, p.field, p.code, p.message) for p in check_defaults(defaults)]
        if wrong:
            raise InputRefused(wrong)
        with tempfile.SpooledTemporaryFile(max_size=IN_MEMORY) as kept:
            found, problems = _written(jobs, cast("IO[bytes]", kept), Recipe(defaults=defaults))
            kept.seek(0)
            submitted = submit_lines(
                self.database,
                (
                    InputLine(number, None if number in problems else line, problems.get(number))
                    for number, line in enumerate(kept, start=1)
                ),
                key=found if key is None else key,
                name="python" if name is None else name,
                source="python",
                defaults=defaults,
                clock=self.clock,
                max_attempts=self.settings.max_attempts,
                check_models=check_models,
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
        """Have a fleet's workers look at the database; where one process serves, it looks by itself.

        A broker that is away costs seconds and nothing else.
        """
        if not self.settings.broker_url:
            return
        from worker.dispatch.app import make_app  # Celery takes a third of a second to import
        from worker.dispatch.wake import wake_hosts
        from worker.services.tick import hosts_to_wake

        wake_hosts(make_app(self.settings), hosts_to_wake(self.database, clock=self.clock))

    def _handle(self, batch: Batch) -> BatchHandle:
        return BatchHandle(batch.id, batch.key, batch.name, self)


def _see_known(settings: Mapping[str, Any]) -> None:
    """Raises SettingsRefused for a name that is none."""
    for name in settings:
        if name not in Settings.model_fields:
            near = get_close_matches(name, Settings.model_fields, n=1)
            raise SettingsRefused(f"unknown setting {name}{f', did you mean {near[0]}?' if near else ''}")


# -- from Python's values to job lines --------------------------------------------------------------------------------


def defaults_of(*, format: Any, options: Mapping[str, Any] | None, **said: Any) -> JobDefaults:
    """What holds for all jobs, as plain values. Raises InputRefused for what JSON does not know."""
    try:
        return JobDefaults(
            format=_schema(format),
            options=None if options is None else json.loads(json.dumps(dict(options), default=_plain_value)),
            **said,
        )
    except (TypeError, ValueError) as error:
        raise InputRefused([Problem(0, "options", "invalid_value", f"options: {error}")]) from error


def _written(jobs: Jobs, out: IO[bytes], recipe: Recipe) -> tuple[str, dict[int, Problem]]:
    """Write each job as a line. Returns the key of them all, and what is wrong with those that cannot be lines: their
    lines hold nothing."""
    digest = hashlib.sha256(json.dumps(recipe.kept, sort_keys=True).encode())
    problems: dict[int, Problem] = {}
    for number, job in enumerate(_one_by_one(jobs), start=1):
        try:
            line = _line(job)
        except (TypeError, ValueError, RecursionError) as error:
            line = b"{}"
            problems[number] = Problem(number, "", "invalid_value", str(error))
        digest.update(line + b"\n")
        out.write(line + b"\n")
        if len(problems) == PROBLEMS_SHOWN:
            break
    return f"run-{digest.hexdigest()[:32]}", problems


def _one_by_one(jobs: Jobs) -> Iterator[Any]:
    """What a producer gives, one job after another; a DataFrame row by row."""
    if isinstance(jobs, str | bytes | Mapping) or hasattr(jobs, "model_dump"):
        told = f"expected a list of jobs, or anything else to iterate over; got one {type(jobs).__name__}"
        raise InputRefused([Problem(0, "", "invalid_value", told)])
    if not hasattr(jobs, "itertuples"):
        yield from jobs
        return
    names = [str(column) for column in cast("Any", jobs).columns]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        told = f"several columns are named {sorted(twice)[0]!r}"
        raise InputRefused([Problem(0, "", "invalid_value", told)])
    for row in jobs.itertuples(index=False, name=None):
        cells = ((name, _cell(value)) for name, value in zip(names, row, strict=True))
        values = {name: value for name, value in cells if value is not None}
        yield job_values(values, prompt=None, system=None, id_column=None, reserved=FIELDS)


def _cell(value: Any) -> Any:
    """A cell of a DataFrame as JSON takes it; NaN, NaT and NA are None."""
    if type(value).__name__ in ("NAType", "NaTType"):
        return None
    if hasattr(value, "tolist"):
        value = value.tolist()  # numpy's
    return None if isinstance(value, float) and math.isnan(value) else value


def _line(job: Any) -> bytes:
    """A job as a job line. Raises TypeError, ValueError, RecursionError that say what cannot be one."""
    if isinstance(job, str):
        job = {"prompt": job}
    elif hasattr(job, "model_dump"):
        job = job.model_dump(mode="json", exclude_none=True)
    if not isinstance(job, Mapping):
        raise TypeError(f"expected a dictionary, a pydantic model or a text, got {type(job).__name__}")
    fields = dict(job)
    if fields.get("format") is not None:
        fields["format"] = _schema(fields["format"])
    try:
        line = json.dumps(fields, ensure_ascii=False, default=_plain_value)
    except (TypeError, ValueError) as error:
        raise TypeError(f"cannot be written as JSON: {error}") from error
    try:
        return line.encode()
    except UnicodeEncodeError:  # a lone surrogate: escaped it can be read, and is replaced
        return json.dumps(fields, default=_plain_value).encode()


def _plain_value(value: Any) -> Any:
    """What JSON does not know: numpy's values, dates, pydantic models, other mappings and sequences."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json", exclude_none=True)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview):
        return list(value)
    raise TypeError(f"a value of type {type(value).__name__} has no form in JSON")


def _schema(format: Any) -> Any:
    """``json`` or a schema as it is; of a pydantic class its JSON Schema."""
    return format.model_json_schema() if hasattr(format, "model_json_schema") else format

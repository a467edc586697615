"""Caravan's database, for a program that has jobs: they are taken in here, and found again."""

import re
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from api_schemas.submissions import Submission
from worker.client.fields import Fields, refused, shows_fields, submission_of
from worker.client.handle import BatchHandle
from worker.client.job_lines import MOST_COLUMNS, Jobs, write_lines
from worker.clock import Clock, SystemClock
from worker.documents.job_lines import column_problems
from worker.documents.templates import prompt_template
from worker.domain.batches import Batch, BatchState
from worker.domain.numbers import count_of
from worker.door.intake import Intake
from worker.door.observer import CheckModels, Choice, Difference, Observer
from worker.door.rows import InputLine, RowFile, open_input
from worker.door.submit import Receipt, submit
from worker.errors import Conflict, ExtraMissing, InputRefused, Problem, SettingsRefused
from worker.observability.events import emit
from worker.settings import Settings, load_settings
from worker.storage.batches import batch_of_key, find_batch, list_batches
from worker.storage.engine import Database, open_database
from worker.storage.migrate import bring_up_to_date, check_schema, is_current
from worker.storage.types import storable

if TYPE_CHECKING:
    from typing import Self

SOURCE = "python"


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
        _check_names(settings)
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
                    bring_up_to_date(
                        self.database,
                        backups=self.settings.home / "backups",
                        now=SystemClock().now(),
                    )
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

    @shows_fields
    def submit(self, jobs: Jobs, **fields: Unpack[Fields]) -> BatchHandle:
        """Store the jobs as a batch, wake the workers of a fleet, and return without waiting for answers.

        ``jobs`` are dictionaries with the fields of a job line, pydantic models of them, bare prompts, or a DataFrame. An
        iterable is read once. ``fields`` are those of a submission; a job's own field wins over the same one here.

        - ``model``: one or several; a job that names no model is asked of each.
        - ``prompt`` (Jinja2 text) or ``template`` (its file or text): the jobs are rows. Their columns are the variables and
          become metadata; ``system`` may use them too, and ``id_column`` names the column with the ``custom_id``.
        - ``format``: ``"json"``, a JSON Schema or a pydantic class; ``repairs``: further tries for what does not fit it.
        - ``limit``, or ``sample`` and ``seed``: how many of the jobs to ask.
        - ``max_failures``: a number or ``"5%"``; more failures pause the batch.
        - ``reuse``: take stored answers to the same requests, where temperature is 0 or a seed is set; ``"any"``: always.
        - ``keep``: how long the batch is kept after its end, such as ``"30d"`` or ``"forever"``.
        - ``on_bad_line="skip"``: leave out jobs that are wrong, and warn, instead of refusing all of them.

        The same jobs, given in the same way, are the same batch. A ``key`` names the batch instead, whatever the jobs are.
        Where jobs changed since a batch of this ``name``, ``extend`` takes the change into that batch and ``new`` makes
        another one. ``retry_failed`` asks failed jobs again.

        Raises InputRefused with at most 20 problems, each with the job's place from 1; Conflict where the batch was
        cancelled, or the jobs changed and neither ``extend`` nor ``new`` is set; DatabaseUnavailable, after which the same
        call continues where it stopped.
        """
        receipt = self.submit_jobs(jobs, submission_of(**fields))
        return self.handle(receipt.batch)

    def submit_jobs(
        self, jobs: Jobs, submission: Submission, *, check_models: CheckModels | None = None
    ) -> Receipt:
        """``submit``, which also checks the models; ``check_models`` as ``door.submit`` takes it. Raises InputRefused."""
        submission = submission.model_copy(update={"max_attempts": self.settings.max_attempts})
        key = submission.key
        if key is not None and (not key or storable(key) != key):
            raise refused("key", "key: expected characters other than NUL and lone surrogates")
        # a file, since jobs may be many and are read more than once: for their key, to compare, to store
        with tempfile.TemporaryDirectory(prefix="caravan-") as folder:
            path = Path(folder) / "jobs.jsonl"
            with path.open("wb") as out:
                written = write_lines(jobs, out, rows=not submission.is_plain)
            if not written.count:
                raise refused("", "the input holds no job", code="empty")
            if wrong := _missing_columns(submission, written.columns):
                raise InputRefused(wrong)
            if written.problems:
                raise _problems(path, submission, written.problems)
            rows = RowFile(path, SOURCE)
            self._see_not_cancelled(submission, submission.key or rows.key(submission))
            observer = _InPython()
            try:
                receipt = submit(
                    self.database,
                    submission,
                    rows,
                    observer=observer,
                    check_models=check_models,
                    clock=self.clock,
                )
            except InputRefused as error:
                raise InputRefused(
                    [_in_python(problem) for problem in error.problems], more_problems=error.more_problems
                ) from None
        self.wake()
        if receipt.rejected:
            message = f"batch {receipt.batch.id}: {count_of(receipt.rejected, 'job is', 'jobs are')} wrong and left out"
            warnings.warn(f"{message}, the first: {observer.first}", stacklevel=3)
        return receipt

    def batch(self, reference: str | int) -> BatchHandle:
        """A batch by number, key, name, the beginning of one, or ``@last``. Raises NotFound, Conflict."""
        with self.database.read() as conn:
            return self.handle(find_batch(conn, str(reference)))

    def batches(self, limit: int = 50) -> list[BatchHandle]:
        """At most ``limit`` batches, the newest first."""
        with self.database.read() as conn:
            return [self.handle(batch) for batch in list_batches(conn, limit)]

    def wake(self) -> None:
        """Have a fleet's workers look at the database; where one process serves, it looks by itself.

        A broker that is away costs seconds and nothing else.
        """
        if not self.settings.broker_url:
            return
        try:
            from worker.dispatch import require_fleet

            require_fleet()
            from worker.dispatch.app import make_app  # Celery takes a third of a second to import
            from worker.dispatch.wake import PRODUCER_SECONDS, wake_hosts
        except ExtraMissing as error:  # what was submitted is stored, and the next tick wakes the hosts
            emit("broker.unavailable", message=str(error))
            return
        from worker.maintenance.hold import hosts_to_wake

        wake_hosts(
            make_app(self.settings, socket_seconds=PRODUCER_SECONDS),
            hosts_to_wake(self.database, clock=self.clock),
        )

    def _see_not_cancelled(self, submission: Submission, key: str) -> None:
        """A batch that somebody cancelled is not taken for one that is being answered. Raises Conflict."""
        if submission.on_change == "new":
            return
        with self.database.read() as conn:
            same = batch_of_key(conn, key)
        if same is not None and same.state is BatchState.CANCELLED:
            whose = "of these very jobs" if submission.key is None else f"with the key {submission.key!r}"
            raise Conflict(
                f"batch {same.id} {whose} was cancelled; new=True asks them in a batch of its own, "
                f"batch({same.id}).retry(states=['cancelled']) goes on with that one"
            )

    def handle(self, batch: Batch) -> BatchHandle:
        """A batch, for whoever waits for it."""
        return BatchHandle(batch.id, batch.key, batch.name, self)


class _InPython(Observer):
    """Nobody can be asked what to do with changed jobs, or shown those that are left out."""

    first: Problem | None = None
    """What is wrong with the first of these."""

    def rejected(self, problem: Problem, line: InputLine) -> None:
        self.first = self.first or problem

    def rows_changed(self, batch: Batch, difference: Difference) -> Choice | None:
        raise Conflict(
            f"batch {batch.id} ({batch.name}) asked these jobs before they changed: {difference}. extend=True takes the "
            "change into that batch, new=True makes a batch of its own"
        )


def _missing_columns(submission: Submission, columns: tuple[str, ...]) -> list[Problem]:
    """Columns that are named and that no row has, each told once, as of a table."""
    if not columns or len(columns) >= MOST_COLUMNS:
        return []
    wrong = column_problems(
        columns,
        templated=submission.prompt is not None,
        id_column=submission.id_column,
        image_columns=submission.image_columns,
    )
    for text, source in (
        (submission.prompt, submission.prompt_source),
        (submission.system_template, "system"),
    ):
        if text is not None:
            wrong += prompt_template(text, source=source).missing(columns)
    return [
        replace(
            problem,
            message=problem.message.replace("--id:", "id_column:")
            .replace("--image:", "image_columns:")
            .replace("--prompt '", "prompt='"),
        )
        for problem in wrong
    ]


def _in_python(problem: Problem) -> Problem:
    """A problem of an argument by its name in Python: ``max_failures``, not ``--max-failures``."""
    if problem.code != "cannot_apply":
        return problem
    names = {
        "--new": "new=True",
        "--by TIME": "deadline",
        "--expire (expires)": "expires",
        "--expire": "expires",
    }
    message = problem.message
    for option, name in names.items():
        message = message.replace(option, name)
    message = re.sub(r"--([a-z]+(?:-[a-z]+)*)", lambda match: match[1].replace("-", "_"), message)
    return replace(problem, field=problem.field.removeprefix("--").replace("-", "_"), message=message)


def _problems(path: Path, submission: Submission, bad: Mapping[int, Problem]) -> InputRefused:
    """What is wrong with all of the jobs, where some could not even be written as lines."""
    intake = Intake(submission)
    for _ in intake.read(_with(open_input(path, submission), bad)):
        pass
    return intake.problems.refusal


def _with(lines: Iterable[InputLine], bad: Mapping[int, Problem]) -> Iterator[InputLine]:
    for line in lines:
        yield line._replace(raw=None, problem=bad[line.line]) if line.line in bad else line


def _check_names(settings: Mapping[str, Any]) -> None:
    """Raises SettingsRefused for an unknown name."""
    for name in settings:
        if name not in Settings.model_fields:
            near = get_close_matches(name, Settings.model_fields, n=1)
            raise SettingsRefused(f"unknown setting {name}{f', did you mean {near[0]}?' if near else ''}")

"""Which jobs a command is about: the options that choose them, and what they stand for."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.cli.answers import check_codes
from worker.cli.groups import BATCH_IN_WORDS, option
from worker.cli.json_output import AsJson
from worker.domain.answers import ANY_ANSWER, AnswerFilter
from worker.domain.batches import Batch
from worker.domain.jobs import JobState
from worker.domain.runners import RunnerKey, normalise_model
from worker.domain.selection import Selection
from worker.errors import NotFound
from worker.records import record
from worker.storage.batches import find_batch
from worker.storage.ids import SEQ_BITS

if TYPE_CHECKING:
    from worker.storage.engine import Connection

Target = Annotated[
    str | None,
    typer.Argument(metavar="BATCH", help=f"{BATCH_IN_WORDS}; or --job."),
]

WholeBatch = Annotated[str, typer.Argument(metavar="BATCH", help=f"{BATCH_IN_WORDS}.")]

Jobs = Annotated[
    list[str] | None,
    option("--job", "This job: its number, or BATCH:custom_id; repeat for more.", metavar="ID"),
]

States = Annotated[list[JobState] | None, option("--state", "Only jobs in this state; repeat for more.")]

Codes = Annotated[
    list[str] | None,
    option(
        "--code",
        "Only jobs that failed, or are held, with this code; repeat for more.",
        callback=check_codes,
        metavar="CODE",
    ),
]

Models = Annotated[
    list[str] | None, option("--model", "Only jobs of this model; repeat for more.", metavar="MODEL")
]

Where = Annotated[
    list[str] | None,
    option("--where", "Only where the metadata says so; repeat for more.", metavar="KEY=VALUE"),
]

Matching = Annotated[
    str | None,
    option("--matching", "Only where prompt or answer hold these, as in caravan search.", metavar="WORDS"),
]

Yes = Annotated[bool, option("--yes -y", "Do not ask.")]

DryRun = Annotated[bool, option("--dry-run", "Print how many jobs would change; change nothing.")]


@record
class ActionRequest:
    """What was asked for, as it was typed."""

    yes: bool
    dry_run: bool
    as_json: bool
    target: str | None = None
    jobs: list[str] | None = None
    states: Iterable[JobState] | None = None
    codes: list[str] | None = None
    models: list[str] | None = None
    where: list[str] | None = None
    matching: str | None = None
    answers: AnswerFilter = ANY_ANSWER


@record
class ConfirmOptions:
    """Whether and how an action goes ahead."""

    yes: Yes = False
    dry_run: DryRun = False
    json_: AsJson = False

    def about(self, *jobs: Any) -> ActionRequest:
        """The action on ``jobs``, as ``ActionRequest`` names them."""
        return ActionRequest(self.yes, self.dry_run, self.json_, *jobs)


def choose(conn: "Connection", request: ActionRequest) -> tuple[Selection, Batch | None]:
    """The jobs that are meant, and their batch where one was named."""
    if (request.target is None) == (not request.jobs):
        both = "give one of the two, a batch or jobs with --job ID, not both"
        message = "name a batch, or jobs with --job ID" if request.target is None else both
        raise typer.BadParameter(message, param_hint="BATCH")
    batch = None if request.target is None else find_batch(conn, request.target)
    chosen = Selection(
        batch_id=None if batch is None else batch.id,
        job_ids=frozenset(one for job in request.jobs for one in find_jobs(conn, job))
        if request.jobs
        else None,
        states=None if request.states is None else frozenset(request.states),
        codes=None if request.codes is None else frozenset(request.codes),
        models=None if request.models is None else frozenset(map(normalise_model, request.models)),
        metadata=tuple(parse_pair(one) for one in request.where or ()),
        answers=request.answers,
    )
    refuse_unknown_metadata(conn, chosen.batch_id, dict(chosen.metadata))
    refuse_unknown_models(conn, chosen.batch_id, chosen.models or ())
    return chosen, batch


def refuse_unknown_metadata(conn: "Connection", batch_id: int | None, keys: Iterable[str]) -> None:
    """Refuse a name of --where that no job has: it is mistyped. Raises NotFound."""
    from worker.storage.selection import metadata_missing

    for key in keys:
        names = metadata_missing(conn, batch_id, key)
        if names is None:
            continue
        of = "" if batch_id is None else f" of batch {batch_id}"
        near = get_close_matches(key, names, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names[:8]) or 'none'}"
        raise NotFound(f"--where: no job{of} has metadata {key!r}; {hint}")


def refuse_unknown_models(conn: "Connection", batch_id: int | None, models: Iterable[str]) -> None:
    """Refuse a model of --model that no job of the batch has. Raises NotFound."""
    from worker.storage.reports import jobs_by_runner_key

    if batch_id is None or not models:
        return
    there = sorted({RunnerKey.parse(key).model for key in jobs_by_runner_key(conn, batch_id)})
    for model in models:
        if there and model not in there:
            near = get_close_matches(model, there, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(there[:8])}"
            raise NotFound(f"--model: no job of batch {batch_id} has the model {model!r}; {hint}")


def parse_pair(text: str) -> tuple[str, str]:
    """KEY=VALUE of --where. Raises typer.BadParameter."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise typer.BadParameter(f"{text!r}: expected KEY=VALUE", param_hint="--where")
    return key, value


def find_jobs(conn: "Connection", reference: str) -> list[int]:
    """The job of that number, or those of ``BATCH:custom_id``, one per model. Raises NotFound; Conflict."""
    from worker.storage.reports import jobs_named, read_job

    if reference.isascii() and reference.isdigit():
        number = int(reference)
        if not 1 << SEQ_BITS <= number < 1 << 62:
            raise NotFound(
                f"no job {reference}; caravan jobs BATCH lists them, and BATCH:custom_id names one"
            )
        return [read_job(conn, number).id]
    batch, colon, custom_id = reference.partition(":")
    if not colon or not batch:
        raise NotFound(f"no job {reference!r}: expected its number, or BATCH:custom_id")
    within = find_batch(conn, batch)
    ids = jobs_named(conn, within.id, custom_id)
    if not ids:
        raise NotFound(f"batch {within.id} ({within.name}) has no job {custom_id!r}")
    return ids

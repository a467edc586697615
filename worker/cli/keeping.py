"""``caravan prune`` and ``delete``: what is kept no longer, and what a producer wants gone."""

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.cli.actions import _jobs as jobs_of
from worker.cli.actions import principal
from worker.cli.answers import AnswerOptions, check_codes
from worker.cli.confirm import confirm
from worker.cli.groups import BATCH_IN_WORDS, option, with_groups
from worker.cli.json_output import AsJson, print_json
from worker.cli.selection import (
    ConfirmOptions,
    Matching,
    parse_pair,
    refuse_unknown_metadata,
    refuse_unknown_models,
)
from worker.cli.settings import opened, settings_for
from worker.domain.jobs import JobState
from worker.domain.keeping import parse_keep
from worker.domain.numbers import count_of
from worker.domain.runners import normalise_model
from worker.domain.selection import Selection
from worker.storage.batches import find_batch, list_batches

if TYPE_CHECKING:
    from api_schemas.output.base import Output
    from worker.domain.batches import Batch
    from worker.maintenance.keeping import Gone
    from worker.storage.engine import Database

Batches = Annotated[
    list[str] | None,
    typer.Argument(metavar="[BATCH]…", help=f"{BATCH_IN_WORDS}."),
]
Yes = Annotated[bool, option("--yes -y", "Do not ask.")]
DryRun = Annotated[bool, option("--dry-run", "Print what would be pruned; change nothing.")]

MOST_LINES = 10
EVERY_BATCH = 1_000_000


def prune(
    batch: Batches = None,
    older_than: Annotated[
        str | None, option("--older-than", "Batches that ended longer ago: 90d, 12h, 6w.", metavar="TIME")
    ] = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    json_: AsJson = False,
) -> None:
    """Forget prompts and answers of batches that are over.

    What was counted stays. Without BATCH and --older-than: what was to be kept until now, by --keep of each batch and
    CARAVAN_KEEP_DAYS. Batches that are not over, and those with --keep forever, are left alone; naming one means it
    all the same.

    Example: caravan prune --older-than 90d --dry-run
    """
    from api_schemas.output.batches import PrunedOutput
    from worker.maintenance.keeping import due_batches, give_room_back, named_batches
    from worker.maintenance.keeping import prune as forget

    if batch and older_than is not None:
        raise typer.BadParameter("names other batches than BATCH does; give one", param_hint="--older-than")
    settings = settings_for()
    age = None if older_than is None else _age(older_than)
    with opened(settings) as database:
        clock = database.clock()
        if batch:
            with database.read() as conn:
                ids = sorted({find_batch(conn, reference).id for reference in batch})
            due = named_batches(database, ids)
        else:
            due = due_batches(database, clock=clock, default=settings.keep, older_than=age)
        about = f"{jobs_of(due.jobs)} of {_batches(len(due.batches))}"
        if not due.batches or dry_run:
            shape = PrunedOutput(batches=list(due.ids), jobs=due.jobs, bytes=0, dry_run=dry_run)
            _tell(shape, f"would prune {about}" if due.batches else "nothing to prune", as_json=json_)
            if dry_run and not json_:
                _list(due.batches)
            return
        confirm(f"Prune {about}? Their prompts and answers go.", yes=yes)
        gone = forget(database, due.ids, clock=clock)
        room = give_room_back(database, clock=clock)
        text = f"{jobs_of(gone.jobs)} of {_batches(len(gone.batches))} pruned{_room(database, room)}"
    shape = PrunedOutput(batches=list(gone.batches), jobs=gone.jobs, bytes=room, dry_run=False)
    _tell(shape, text, as_json=json_)


@with_groups
def delete(
    answers: AnswerOptions,
    approval: ConfirmOptions,
    batch: Batches = None,
    every: Annotated[bool, option("--all", "All batches, with --where, --custom-id or --matching.")] = False,
    state: Annotated[
        list[JobState] | None, option("--state", "Only jobs in this state; repeat for more.")
    ] = None,
    code: Annotated[
        list[str] | None,
        option(
            "--code",
            "Only jobs that failed with this code; repeat for more.",
            callback=check_codes,
            metavar="CODE",
        ),
    ] = None,
    model: Annotated[
        list[str] | None, option("--model", "Only jobs of this model; repeat for more.", metavar="MODEL")
    ] = None,
    where: Annotated[
        list[str] | None,
        option("--where", "Only where the metadata says so; repeat for more.", metavar="KEY=VALUE"),
    ] = None,
    custom_id: Annotated[
        list[str] | None,
        option("--custom-id", "Only jobs with this custom_id; repeat for more.", metavar="ID"),
    ] = None,
    matching: Matching = None,
) -> None:
    """Delete jobs for good: prompts, answers and attempts.

    What was counted stays; what runs is cancelled first. Backups and files that were written are yours to delete.

    Example: caravan delete @last --where customer=4711 --dry-run
    """
    from api_schemas.output.batches import DeletedOutput
    from worker.maintenance.keeping import count_deletable, delete_jobs, give_room_back

    if every == bool(batch):
        raise typer.BadParameter("name batches, or give --all", param_hint="BATCH")
    if every and not (where or custom_id or matching):
        raise typer.BadParameter("--all needs --where, --custom-id or --matching", param_hint="--all")
    with opened(settings_for()) as database:
        named = _named(database, batch)
        pairs = tuple(parse_pair(one) for one in where or ())
        with database.read() as conn:
            only = named[0].id if len(named) == 1 else None
            refuse_unknown_metadata(conn, only, dict(pairs))
            refuse_unknown_models(conn, only, frozenset(map(normalise_model, model or ())))
        chosen = [
            Selection(
                one.id,
                states=frozenset(state) if state else None,
                codes=frozenset(code) if code else None,
                models=frozenset(map(normalise_model, model)) if model else None,
                custom_ids=frozenset(custom_id) if custom_id else None,
                metadata=pairs,
                answers=answers.filter,
            )
            for one in named
        ]
        whole = matching is None and any(
            one.whole_batch and row.pruned_at is None for one, row in zip(chosen, named, strict=True)
        )
        if matching is not None:
            from worker.search.search import jobs_matching

            chosen = jobs_matching(database, chosen, matching)
        jobs = count_deletable(database, chosen)
        about = f"{jobs_of(jobs)} of {_batches(len(chosen))}"
        if approval.dry_run or not (jobs or whole):
            shape = DeletedOutput(batches=[], jobs=jobs, dry_run=approval.dry_run)
            text = f"would delete {about}" if approval.dry_run else "no jobs to delete"
            _tell(shape, text, as_json=approval.json_)
            return
        confirm(f"Delete {about} for good?", yes=approval.yes)
        clock = database.clock()
        gone = delete_jobs(database, chosen, clock=clock, principal=principal())
        give_room_back(database, clock=clock)
    shape = DeletedOutput(batches=list(gone.batches), jobs=gone.jobs, dry_run=False)
    _tell(shape, _deleted(gone, about), as_json=approval.json_)


def _deleted(gone: "Gone", about: str) -> str:
    nothing_left = f"; nothing is left of batch {', '.join(map(str, gone.batches))}" if gone.batches else ""
    return f"{jobs_of(gone.jobs)} deleted{nothing_left}" if gone.jobs else f"deleted {about}{nothing_left}"


def _named(database: "Database", named: list[str] | None) -> "list[Batch]":
    with database.read() as conn:
        if not named:
            return list_batches(conn, EVERY_BATCH)
        batches = {batch.id: batch for batch in (find_batch(conn, reference) for reference in named)}
    return [batches[batch] for batch in sorted(batches)]


def _age(text: str) -> timedelta:
    try:
        age = parse_keep(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--older-than") from error
    if not age:
        raise typer.BadParameter("expected a time, such as 90d", param_hint="--older-than")
    return age


def _batches(n: int) -> str:
    return count_of(n, "batch", "batches")


def _list(due: Any) -> None:
    for batch in due[:MOST_LINES]:
        typer.echo(
            f"  batch {batch.batch_id} ({batch.name}), ended {batch.ended_at.astimezone():%Y-%m-%d %H:%M}"
        )
    if len(due) > MOST_LINES:
        typer.echo(f"  … and {len(due) - MOST_LINES:,} more")


def _room(database: "Database", size: int) -> str:
    """What a person wants to know of the file then."""
    from worker.storage.keeping import room

    if size:
        return f"; the file is {size:,} bytes smaller"
    left = room(database)
    if left is None or left.by_itself or not left.free:
        return ""
    return f"; {left.free:,} bytes of the file are free for what comes: caravan db compact gives them back"


def _tell(shape: "Output", text: str, *, as_json: bool) -> None:
    if as_json:
        print_json(shape)
    else:
        typer.echo(text)

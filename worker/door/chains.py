"""Resolves which jobs wait for which: names of lines become numbers, and errors have their line."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from graphlib import CycleError, TopologicalSorter

from worker.door.intake import Following, Intake
from worker.errors import Problem
from worker.kinds.registry import KINDS
from worker.storage.engine import Database
from worker.storage.extend import stored_jobs
from worker.storage.follows.links import Link, link_jobs, mark_followed
from worker.storage.follows.runners import (
    Conversation,
    Question,
    conversations_of,
    questions_of,
    share_runner,
)
from worker.storage.ids import job_id

CHUNK = 5000
MOST_PROBLEMS = 20

Place = Callable[[str, str], int | None]
"""The number of a job of this batch by its custom_id and model."""


def link_jobs_of(database: Database, batch_id: int, intake: Intake) -> list[Problem]:
    """Link the jobs of a batch all of whose lines were read, found by their names; or tell what is wrong, and link none.

    Idempotent: those that are linked already stay so. Raises DatabaseUnavailable.
    """
    if not intake.following:
        return []
    place, numbers = _by_name(database, batch_id, intake.following)
    return _link(database, intake.following, place, numbers)


def mark_parents(database: Database, batch_id: int) -> None:
    """From now on the ends of those that linked jobs wait for are news, all of them when this returns. Idempotent; in
    chunks, so that nobody waits long. Raises DatabaseFailure."""
    last: int | None = 0
    while last is not None:
        last = database.transact(partial(mark_followed, batch_id=batch_id, after=last))


def missing_parents(database: Database, batch_id: int, intake: Intake) -> list[Problem]:
    """What neither the lines that were read nor the batch that they extend have of those that are waited for."""
    if not intake.following:
        return []
    stored, _ = _by_name(database, batch_id, intake.following)

    def place(custom_id: str, model: str) -> int | None:
        seq = intake.place_of(custom_id, model)
        return stored(custom_id, model) if seq is None else job_id(batch_id, seq)

    every = {(job.custom_id, job.model): job_id(batch_id, job.seq) for job in intake.following}
    return _resolved(intake.following, place, every)[1]


def _by_name(
    database: Database, batch_id: int, following: Sequence[Following]
) -> tuple[Place, Mapping[tuple[str, str], int]]:
    names = {follower.custom_id for follower in following}
    names |= {name for follower in following for name in follower.after.parents if isinstance(name, str)}
    with database.read() as conn:
        there = {name: job.id for name, job in stored_jobs(conn, batch_id, sorted(names)).items()}
    by_name: dict[str, list[int]] = defaultdict(list)
    for (custom_id, _), number in there.items():
        by_name[custom_id].append(number)

    def place(custom_id: str, model: str) -> int | None:
        exact = there.get((custom_id, model))
        others = by_name.get(custom_id, [])
        return exact if exact is not None else others[0] if len(others) == 1 else None

    return place, there


def _link(
    database: Database,
    following: Sequence[Following],
    place: Place,
    numbers: Mapping[tuple[str, str], int],
) -> list[Problem]:
    links, problems = _resolved(following, place, numbers)
    lines = {
        numbers[follower.custom_id, follower.model]: follower
        for follower in following
        if (follower.custom_id, follower.model) in numbers
    }
    outside = {link.parent for link in links if link.parent not in lines}
    carried = {job for link in links if link.carry for job in (link.job, link.parent)}
    with database.read() as conn:
        stored = questions_of(conn, outside | carried)
    for link in links:
        if len(problems) >= MOST_PROBLEMS:
            break
        at = lines[link.job]
        if link.parent in outside and link.parent not in stored:
            problems.append(_problem(at, "unknown", f"after: there is no job {link.parent:,}"))
        elif link.carry and link.parent in stored and link.job in stored:
            message = _cannot_go_on(stored[link.parent], stored[link.job])
            problems += [_problem(at, "conflict", message)] if message else []
    circle = _circle(links) if not problems else None
    if circle is not None:
        at = lines[circle[0]]
        order = " after ".join(lines[job].custom_id for job in circle[:5])
        problems.append(_problem(at, "circle", f"after: these wait for each other: {order}"))
    if problems:
        return problems
    for start in range(0, len(links), CHUNK):
        database.transact(partial(link_jobs, links=links[start : start + CHUNK]))
    for conversations in _portions(conversations_of(links)):
        database.transact(partial(share_runner, conversations=conversations))
    return []


def _cannot_go_on(parent: Question, job: Question) -> str | None:
    """Why a job cannot go on from its parent's answer; None where it can. The turns of a chat are texts, which any
    model reads."""
    if KINDS[parent.kind].shape.carries is None:
        return f"after: that job ({parent.kind}) has no answer to go on from; carry none only waits for it"
    if parent.model == job.model or KINDS[job.kind].shape.carries == "turns":
        return None
    return (
        f"after: that job is of {parent.model}, this one of {job.model}, and a context goes only to the model it came from; "
        "carry none only waits for it"
    )


def _portions(conversations: Iterable[Conversation]) -> Iterator[list[Conversation]]:
    """Conversations of about ``CHUNK`` jobs together, so that no transaction is long."""
    portion: list[Conversation] = []
    jobs = 0
    for conversation in conversations:
        portion.append(conversation)
        jobs += len(conversation)
        if jobs >= CHUNK:
            yield portion
            portion, jobs = [], 0
    if portion:
        yield portion


def _resolved(
    following: Sequence[Following], place: Place, numbers: Mapping[tuple[str, str], int]
) -> tuple[list[Link], list[Problem]]:
    links: list[Link] = []
    problems: list[Problem] = []
    for follower in following:
        job = numbers.get((follower.custom_id, follower.model))
        if job is None:
            continue  # it was running when its line changed, and is left as it is
        for name in follower.after.parents:
            parent = name if isinstance(name, int) else place(name, follower.model)
            if parent is None:
                if len(problems) < MOST_PROBLEMS:
                    message = (
                        f"after: no line that was read has the custom_id {name!r} (for {follower.model})"
                    )
                    problems.append(_problem(follower, "unknown", message))
                continue
            links.append(
                Link(job, parent, follower.after.carry, follower.after.release, follower.after.combines)
            )
    return links, problems


def _problem(following: Following, code: str, message: str) -> Problem:
    return Problem(following.line, "after", code, message)


def _circle(links: Sequence[Link]) -> list[int] | None:
    """Jobs that wait for each other, the first one last again; None where none do."""
    if all(link.parent < link.job for link in links):
        return None
    sorter: TopologicalSorter[int] = TopologicalSorter()
    for link in links:
        sorter.add(link.job, link.parent)
    try:
        sorter.prepare()
    except CycleError as error:
        circle: list[int] = error.args[1]
        return circle
    return None

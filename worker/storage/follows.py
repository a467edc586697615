"""Jobs that wait for others: linked, and let go, failed or cancelled when those have ended.

``jobs.followed`` marks a job whose end is news to somebody; whoever ends it need not know. A pass over the marked ones
that have ended settles those that wait for them and takes the mark off. Who finishes a job does the same at once, in
its own transaction, so that a slot goes on with its conversation; rows that somebody else holds are left to the pass.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import Row, func, insert, or_, select, text, update
from sqlalchemy.engine import Connection

from worker.domain.batches import BatchState
from worker.domain.jobs import JobState, Part
from worker.domain.runners import RunnerKey
from worker.errors import Code
from worker.policy.context_window import bucket
from worker.policy.follow import Parent, Verdict, verdict
from worker.storage.deltas import Change, add_changes
from worker.storage.ids import id_range
from worker.storage.kept import answered_before, return_to_answers
from worker.storage.models import ModelTold, known_models
from worker.storage.picking import change_picked, in_batch
from worker.storage.tables import batches, follows, fresh_results, jobs, payloads, results
from worker.storage.transitions import CANCEL, FAIL_FOLLOWER, FOLLOW, PROMOTE, move
from worker.storage.types import storable

_MANY = 500
"""Values in one IN list."""


@dataclass(frozen=True, slots=True)
class Link:
    """A job by its number, and one that it waits for."""

    job: int
    parent: int
    carry: bool
    release: bool
    combines: bool = False


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of jobs that waited."""

    promoted: int = 0
    failed: int = 0
    cancelled: int = 0

    def __add__(self, other: "Settled") -> "Settled":
        return Settled(
            self.promoted + other.promoted, self.failed + other.failed, self.cancelled + other.cancelled
        )

    @property
    def any(self) -> bool:
        return self != Settled()


# -- linked -----------------------------------------------------------------------------------------------------------

_LINK = text(
    "INSERT INTO follows (job_id, parent_id, release, combines) VALUES (:job, :parent, :release, :combines) "
    "ON CONFLICT (job_id, parent_id) DO UPDATE SET release = excluded.release, combines = excluded.combines"
)


def link_jobs(conn: Connection, links: Sequence[Link]) -> None:
    """Note who waits for whom; again is as once. They are looked at once ``mark_followed`` was called."""
    if links:
        rows = [
            {"job": one.job, "parent": one.parent, "release": one.release, "combines": one.combines}
            for one in links
        ]
        conn.execute(_LINK, rows)


MARKED_AT_ONCE = 5000
"""Jobs that wait, in one transaction that marks what they wait for."""


def mark_followed(conn: Connection, batch_id: int, *, after: int = 0) -> int | None:
    """From now on the ends of those that jobs of this batch wait for are news: of the next jobs behind the job ``after``.
    Returns the last of these jobs, None where there are no more.

    A batch that is not sealed yet is marked before its seal, all but what ``mark_outside`` marks with it.
    """
    ids = id_range(batch_id)
    values = {"low": max(ids["low"], after + 1), "high": ids["high"]}
    last: int | None = conn.scalar(_NEXT_LINKED, values | {"limit": MARKED_AT_ONCE})
    if last is not None:
        conn.execute(_MARK[conn.dialect.name], values | {"high": last + 1})
    return last


def mark_outside(conn: Connection, batch_id: int) -> None:
    """The same for those of other batches, in the transaction of the seal: before it their ends are news to nobody, and
    take the mark off. Those of its own cannot end before."""
    conn.execute(_MARK_OUTSIDE[conn.dialect.name], id_range(batch_id))


_NEXT_LINKED = text(
    "SELECT max(job_id) FROM (SELECT job_id FROM follows WHERE job_id >= :low AND job_id < :high ORDER BY job_id "
    "LIMIT :limit) AS next_"
)


def _mark(condition: str) -> Mapping[str, Any]:
    """Those that are marked already too: who ends one at this moment is about to take its mark off, and has to be waited
    for."""
    parents = f"SELECT parent_id FROM follows WHERE job_id >= :low AND job_id < :high{condition}"
    pick = f"SELECT id FROM jobs WHERE id IN ({parents}) ORDER BY id"
    statements = change_picked(pick, "followed = true", "jobs.id", wait=True)
    return {dialect: text(statement) for dialect, statement in statements.items()}


_MARK = _mark("")
_MARK_OUTSIDE = _mark(" AND NOT (parent_id >= :low AND parent_id < :high)")


def unlinked(conn: Connection, batch_id: int) -> list[int]:
    """Jobs of the batch that wait and nobody knows what for."""
    ids = id_range(batch_id)
    linked = select(follows.c.job_id).where(follows.c.job_id == jobs.c.id).exists()
    query = select(jobs.c.id).where(
        jobs.c.id >= ids["low"], jobs.c.id < ids["high"], jobs.c.state == JobState.WAITING, ~linked
    )
    return list(conn.scalars(query))


class Asked(NamedTuple):
    """Which model a job asks, and what it is asked."""

    model: str
    kind: str


def asked_of(conn: Connection, job_ids: Collection[int]) -> dict[int, Asked]:
    """What these jobs ask, of those that are there."""
    found: dict[int, Asked] = {}
    for ids in _slices(sorted(job_ids)):
        rows = conn.execute(select(jobs.c.id, jobs.c.model, jobs.c.kind).where(jobs.c.id.in_(ids)))
        found.update((job, Asked(model, kind)) for job, model, kind in rows)
    return found


Conversation = Sequence[tuple[int, int]]
"""Jobs that go on from each other's context, each with its parent (0: none), in an order in which a parent comes before
its children."""


def one_runner(conn: Connection, conversations: Sequence[Conversation]) -> None:
    """Jobs that go on from each other's context need a window for all of it, and one runner: the largest that one of
    them needs, where the producer named none. Few statements, however many conversations there are."""
    if not conversations:
        return
    models, rows = known_models(conn), _keys(conn, [job for order in conversations for job, _ in order])
    moved: dict[str, list[Row[Any]]] = defaultdict(list)
    for order in conversations:
        widest = _widest(order, rows, models)
        for row in (rows[job] for job, _ in order if job in rows):
            key = _widened(row, widest.get(row.model, 0))
            if key != row.runner_key:
                moved[key].append(row)
    _set_keys(conn, moved)


def _widest(
    order: Conversation, rows: Mapping[int, Row[Any]], models: Mapping[str, ModelTold]
) -> Mapping[str, int]:
    """By model the largest window that a job of one conversation needs."""
    before: dict[int, int] = {}
    widest: dict[str, int] = {}
    for job, parent in order:
        if job not in rows:
            continue
        row = rows[job]
        earlier = before.get(parent, 0)
        before[job] = earlier + row.estimate
        key = RunnerKey.parse(row.runner_key)
        if key.at_least:
            window = int(dict(key.options).get("num_ctx", 0))
            trained = models.get(row.model, ModelTold()).trained_context
            needed = bucket(earlier + window, trained=trained)
            widest[row.model] = max(widest.get(row.model, 0), needed)
    return widest


def conversations_of(links: Iterable[Link]) -> Iterator[Conversation]:
    """The conversations that these links make."""
    children: dict[int, list[int]] = defaultdict(list)
    has_parent = set()
    for one in (link for link in links if link.carry):
        children[one.parent].append(one.job)
        has_parent.add(one.job)
    for root in [one for one in children if one not in has_parent]:
        order, todo = [(root, 0)], [root]
        while todo:
            parent = todo.pop()
            for child in children.get(parent, ()):
                order.append((child, parent))
                todo.append(child)
        yield order


def _keys(conn: Connection, job_ids: Sequence[int]) -> dict[int, Row[Any]]:
    j = jobs.c
    found: dict[int, Row[Any]] = {}
    for ids in _slices(sorted(set(job_ids))):
        rows = conn.execute(
            select(j.id, j.batch_id, j.model, j.runner_key, j.priority, j.state, j.estimate).where(
                j.id.in_(ids)
            )
        )
        found |= {row.id: row for row in rows}
    return found


def _widened(row: Row[Any], window: int) -> str:
    """The runner key of a job that needs at least ``window`` tokens; its own where nothing can be changed."""
    key = RunnerKey.parse(row.runner_key)
    if not key.at_least or row.state not in (JobState.SCHEDULED, JobState.WAITING):
        return str(row.runner_key)
    options = tuple(
        (name, max(int(value), window) if name == "num_ctx" else value) for name, value in key.options
    )
    return RunnerKey(key.model, options, key.shift, at_least=True).text


def _set_keys(conn: Connection, moved: Mapping[str, Sequence[Row[Any]]]) -> None:
    """Give the rows other runner keys."""
    changes: Counter[Change] = Counter()
    for key, rows in sorted(moved.items()):
        for ids in _slices([row.id for row in rows]):
            conn.execute(update(jobs).where(jobs.c.id.in_(ids)).values(runner_key=key))
        for row in rows:
            changes[row.batch_id, row.runner_key, row.priority, row.state] -= 1
            changes[row.batch_id, key, row.priority, row.state] += 1
    add_changes(conn, changes)


# -- settled ----------------------------------------------------------------------------------------------------------


_IS_NEWS = text("jobs.followed")
"""Not the column, which becomes ``followed = 1`` on SQLite: ``ix_jobs_followed`` is used where its own words are."""


def settle_followers(conn: Connection, *, now: datetime, limit: int = 500) -> Settled:
    """Settle those that wait for jobs which have ended, at most ``limit`` of these; what fails so may be news itself."""
    query = (
        select(jobs.c.id).where(_IS_NEWS, jobs.c.finished_at.is_not(None)).order_by(jobs.c.id).limit(limit)
    )
    if conn.dialect.name == "postgresql":
        query = query.with_for_update(skip_locked=True)
    return settle_after(conn, conn.scalars(query).all(), now=now)


def settle_after(conn: Connection, parents: Sequence[int], *, now: datetime) -> Settled:
    """Settle those that wait for these jobs, which have ended and whose rows the caller holds."""
    done = Settled()
    for ids in _slices(parents):
        done += _settle(conn, ids, now)
    return done


def _settle(conn: Connection, parents: Sequence[int], now: datetime) -> Settled:
    waiting = _waiting(conn, parents)
    held = _locked(conn, sorted({row.job_id for row in waiting}))
    verdicts = _verdicts(conn, sorted(held))
    by_verdict: dict[Verdict, list[Row[Any]]] = defaultdict(list)
    for job, found in verdicts.items():
        by_verdict[found].append(held[job])
    _end(conn, by_verdict, now)
    # one that somebody holds is looked at again: by then whoever holds it has seen all of its parents, or we do
    open_still = {row.parent_id for row in waiting if row.job_id not in held}
    for ids in _slices([parent for parent in parents if parent not in open_still]):
        conn.execute(update(jobs).where(jobs.c.id.in_(ids)).values(followed=False))
    return Settled(*(len(by_verdict[one]) for one in (Verdict.PROMOTE, Verdict.FAIL, Verdict.CANCEL)))


def _waiting(conn: Connection, parents: Sequence[int]) -> Sequence[Any]:
    """Those that wait for these, of batches that can be worked on."""
    j = jobs.c
    return conn.execute(
        select(follows.c.job_id, follows.c.parent_id)
        .join(jobs, j.id == follows.c.job_id)
        .join(batches, batches.c.id == j.batch_id)
        .where(
            follows.c.parent_id.in_(parents),
            j.state == JobState.WAITING,
            batches.c.state.not_in((str(BatchState.RECEIVING), str(BatchState.REFUSED))),
        )
    ).all()


def _locked(conn: Connection, job_ids: Sequence[int]) -> dict[int, Row[Any]]:
    j = jobs.c
    found: dict[int, Row[Any]] = {}
    for ids in _slices(job_ids):
        query = (
            select(j.id, j.batch_id, j.custom_id, j.model, j.runner_key, j.priority, j.state, j.attempt)
            .where(j.id.in_(ids), j.state == JobState.WAITING)
            .order_by(j.id)
        )
        if conn.dialect.name == "postgresql":
            query = query.with_for_update(skip_locked=True, of=jobs)
        found |= {row.id: row for row in conn.execute(query)}
    return found


def _verdicts(conn: Connection, job_ids: Sequence[int]) -> dict[int, Verdict]:
    parents: dict[int, list[Parent]] = defaultdict(list)
    for ids in _slices(job_ids):
        rows = conn.execute(
            select(follows.c.job_id, follows.c.release, jobs.c.state)
            .outerjoin(jobs, jobs.c.id == follows.c.parent_id)
            .where(follows.c.job_id.in_(ids))
        )
        for job, release, state in rows:
            parents[job].append(Parent(None if state is None else JobState(state), bool(release)))
    return {job: verdict(told) for job, told in parents.items()}


def _end(conn: Connection, by_verdict: Mapping[Verdict, Sequence[Row[Any]]], now: datetime) -> None:
    answered = _answered(conn, [*by_verdict.get(Verdict.FAIL, ()), *by_verdict.get(Verdict.CANCEL, ())])
    for found, rows in by_verdict.items():
        match found:
            case Verdict.WAIT:
                continue
            case Verdict.PROMOTE:
                transition = PROMOTE
            case Verdict.FAIL:
                transition = FAIL_FOLLOWER
                _failed(conn, [row for row in rows if row.id not in answered], now)
            case Verdict.CANCEL:
                transition = CANCEL
        move(conn, transition, rows, now=now)
    for ids in _slices(answered):
        return_to_answers(conn, jobs.c.id.in_(ids))


def _answered(conn: Connection, rows: Sequence[Row[Any]]) -> list[int]:
    """Those of the jobs that have an answer from before."""
    answered: list[int] = []
    for ids in _slices([row.id for row in rows]):
        answered += conn.scalars(select(jobs.c.id).where(jobs.c.id.in_(ids), answered_before()))
    return answered


def _failed(conn: Connection, rows: Sequence[Row[Any]], now: datetime) -> None:
    if not rows:
        return
    why = _why(conn, [row.id for row in rows])
    conn.execute(
        insert(results),
        [
            {
                "job_id": row.id,
                "batch_id": row.batch_id,
                "custom_id": row.custom_id,
                "model": row.model,
                "state": str(JobState.FAILED),
                "host": "",  # it was never asked
                "error_code": str(Code.PARENT_FAILED),
                "error_message": storable(why.get(row.id, "the job before it is not there any more")),
                "attempts": row.attempt,
                "finished_at": now,
                "day": now.astimezone(UTC).date(),
            }
            for row in rows
        ],
    )
    conn.execute(insert(fresh_results), [{"job_id": row.id} for row in rows])


def _why(conn: Connection, job_ids: Sequence[int]) -> dict[int, str]:
    """Which parent has no answer, and since when that is known."""
    found: dict[int, str] = {}
    for ids in _slices(job_ids):
        rows = conn.execute(
            select(follows.c.job_id, jobs.c.custom_id, jobs.c.state, results.c.error_code)
            .join(jobs, jobs.c.id == follows.c.parent_id)
            .outerjoin(results, results.c.job_id == jobs.c.id)
            .where(
                follows.c.job_id.in_(ids), jobs.c.finished_at.is_not(None), jobs.c.state != JobState.SUCCEEDED
            )
            .order_by(follows.c.parent_id)
        )
        for job, parent, state, code in rows:
            found.setdefault(
                job, f"{parent}, which it follows, {_ended(state)}{f' ({code})' if code else ''}"
            )
    return found


def _ended(state: str) -> str:
    return {"cancelled": "was cancelled"}.get(state, state)


# -- asked again ------------------------------------------------------------------------------------------------------


def wait_again(conn: Connection, job_ids: Collection[int]) -> None:
    """Those of these jobs, which the caller has just made ``scheduled``, that follow others wait until the others are
    looked at."""
    for ids in _slices(sorted(job_ids)):
        parents = conn.execute(
            select(follows.c.job_id, follows.c.parent_id).where(follows.c.job_id.in_(ids))
        ).all()
        mine = sorted({row.job_id for row in parents})
        if mine:
            there = set(
                conn.scalars(select(jobs.c.id).where(jobs.c.id.in_({row.parent_id for row in parents})))
            )
            mine = [
                one for one in mine if any(row.parent_id in there for row in parents if row.job_id == one)
            ]
            follow(conn, mine)
            conn.execute(update(jobs).where(jobs.c.id.in_(sorted(there))).values(followed=True))


def follow(conn: Connection, job_ids: Collection[int]) -> None:
    """These jobs, which the caller has just made ``scheduled``, are ``waiting``."""
    j = jobs.c
    for ids in _slices(sorted(job_ids)):
        rows = conn.execute(
            select(j.id, j.batch_id, j.runner_key, j.priority, j.state).where(j.id.in_(ids))
        ).all()
        move(conn, FOLLOW, rows)


def failed_for(conn: Connection, parents: Collection[int]) -> list[int]:
    """Jobs of the same batches that failed because one of these had, those that failed because of them, and so on."""
    found: set[int] = set()
    todo = sorted(parents)
    while todo:
        new: set[int] = set()
        for ids in _slices(todo):
            new.update(
                conn.scalars(
                    select(follows.c.job_id)
                    .join(jobs, jobs.c.id == follows.c.job_id)
                    .join(results, results.c.job_id == follows.c.job_id)
                    .where(
                        follows.c.parent_id.in_(ids),
                        jobs.c.state == JobState.FAILED,
                        results.c.error_code == str(Code.PARENT_FAILED),
                    )
                )
            )
        todo = sorted(new - found - set(parents))
        found |= new
    return sorted(found - set(parents))


def going_on_from(conn: Connection, parents: Collection[int]) -> list[int]:
    """Jobs whose requests hold the answers of these, as context or as parts, and those that hold theirs, and so on."""
    found: set[int] = set()
    todo = sorted(parents)
    while todo:
        new: set[int] = set()
        for ids in _slices(todo):
            new.update(
                conn.scalars(
                    select(follows.c.job_id)
                    .join(jobs, jobs.c.id == follows.c.job_id)
                    .where(follows.c.parent_id.in_(ids), or_(follows.c.combines, jobs.c.carries))
                )
            )
        todo = sorted(new - found - set(parents))
        found |= new
    return sorted(found - set(parents))


# -- asked and told ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Earlier:
    """The answer that a job goes on from."""

    parent: int
    custom_id: str
    context: bytes | None
    """Packed; None where it has none."""
    digest: str | None
    answered: bool


def earlier_answers(conn: Connection, job_ids: Collection[int]) -> dict[int, Earlier]:
    """By job what it goes on from; one whose parent is gone is not among them."""
    found: dict[int, Earlier] = {}
    for ids in _slices(sorted(job_ids)):
        rows = conn.execute(
            select(
                follows.c.job_id,
                jobs.c.id,
                jobs.c.custom_id,
                jobs.c.state,
                results.c.context,
                results.c.digest,
            )
            .join(jobs, jobs.c.id == follows.c.parent_id)
            .outerjoin(results, results.c.job_id == jobs.c.id)
            .where(follows.c.job_id.in_(ids))
        )
        for job, parent, custom_id, state, context, digest in rows:
            found[job] = Earlier(parent, custom_id, context, digest, state == JobState.SUCCEEDED)
    return found


def parts_of(conn: Connection, job_ids: Collection[int]) -> dict[int, tuple[Part, ...]]:
    """By job the answers that its prompt is made of, in the order of the input; None where one has none."""
    found: dict[int, list[Part]] = defaultdict(list)
    for ids in _slices(sorted(job_ids)):
        rows = conn.execute(
            select(
                follows.c.job_id, jobs.c.custom_id, results.c.answer, results.c.parsed, payloads.c.metadata
            )
            .join(jobs, jobs.c.id == follows.c.parent_id)
            .join(payloads, payloads.c.job_id == jobs.c.id)
            .outerjoin(results, (results.c.job_id == jobs.c.id) & (results.c.state == "succeeded"))
            .where(follows.c.job_id.in_(ids))
            .order_by(follows.c.job_id, jobs.c.id)
        )
        for job, custom_id, answer, parsed, said in rows:
            found[job].append(Part(custom_id, answer, parsed, said or {}))
    return {job: tuple(parts) for job, parts in found.items()}


def combining_requests(conn: Connection, job_ids: Collection[int]) -> dict[int, dict[str, Any]]:
    """What the templates of these jobs may say beside their parts, of those that combine the answers of others."""
    found: dict[int, dict[str, Any]] = {}
    for ids in _slices(sorted(job_ids)):
        combining = select(follows.c.job_id).where(follows.c.job_id.in_(ids), follows.c.combines).distinct()
        rows = conn.execute(
            select(payloads.c.job_id, payloads.c.request).where(payloads.c.job_id.in_(combining))
        )
        found |= {row.job_id: row.request["combine"] for row in rows if "combine" in (row.request or {})}
    return found


@dataclass(frozen=True, slots=True)
class Before:
    """A job that another waits for, as it is now."""

    id: int
    custom_id: str
    state: JobState


def parents_of(conn: Connection, job_id: int, *, limit: int = 20) -> list[Before]:
    """What it waits for, or waited for; what has not ended first."""
    rows = conn.execute(
        select(jobs.c.id, jobs.c.custom_id, jobs.c.state)
        .join(follows, follows.c.parent_id == jobs.c.id)
        .where(follows.c.job_id == job_id)
        .order_by(jobs.c.finished_at.is_not(None), jobs.c.id)
        .limit(limit)
    )
    return [Before(row.id, row.custom_id, JobState(row.state)) for row in rows]


def waits_in_vain(conn: Connection, batch_id: int) -> int:
    """Jobs of the batch that wait, directly or not, for one that is held, and so for somebody to let that go."""
    ids = id_range(batch_id)
    return int(conn.scalar(_IN_VAIN, ids) or 0)


_IN_VAIN = text(
    "WITH RECURSIVE stuck (id) AS (SELECT f.job_id FROM follows f JOIN jobs p ON p.id = f.parent_id "
    "JOIN jobs c ON c.id = f.job_id WHERE p.state = 'held' AND c.state = 'waiting' AND f.job_id >= :low "
    "AND f.job_id < :high UNION SELECT f.job_id FROM stuck s JOIN follows f ON f.parent_id = s.id "
    "JOIN jobs c ON c.id = f.job_id WHERE c.state = 'waiting' AND f.job_id >= :low AND f.job_id < :high) "
    "SELECT count(*) FROM stuck"
)


def _slices(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(ids), _MANY):
        yield ids[start : start + _MANY]


def part_counts(conn: Connection, batch_id: int) -> dict[JobState, int]:
    """Jobs of a batch by state whose answers others are made of: parts, which are no answers of their own."""
    parents = select(follows.c.parent_id).distinct().where(in_batch(batch_id, follows.c.job_id))
    query = select(jobs.c.state, func.count()).where(jobs.c.id.in_(parents)).group_by(jobs.c.state)
    return {JobState(state): n for state, n in conn.execute(query)}

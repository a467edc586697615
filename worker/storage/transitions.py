"""The only writer of ``jobs.state``: one table of transitions, and the statements and counts that are made of it.

Every other module says which rows change and by which transition. A transition says which states a verb may leave, the
state it enters and the columns it writes. Columns that belong to a state are cleared when the state is left. Every SET
clause begins with a comment that names the verb: it stands in the logs of the database, and a test refuses any other
statement that changes a state.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from operator import attrgetter
from typing import Any

from sqlalchemy import TextClause, bindparam, text
from sqlalchemy.engine import Connection

from worker.domain.jobs import FINAL, JobState
from worker.storage.deltas import Change, add_changes
from worker.storage.picking import change_picked
from worker.storage.rows import among, members
from worker.storage.slices import slices
from worker.storage.types import UtcTime

_SCHEDULED, _WAITING, _QUEUED, _RUNNING, _HELD = (
    frozenset({state})
    for state in (JobState.SCHEDULED, JobState.WAITING, JobState.QUEUED, JobState.RUNNING, JobState.HELD)
)
_IDLE = frozenset(JobState) - FINAL - _RUNNING
"""States of jobs that have not ended and that no worker holds."""

_OWN_COLUMNS: Sequence[tuple[frozenset[JobState], Sequence[str]]] = (
    (_RUNNING, ("lease_token", "lease_until")),
    (_HELD, ("hold_code", "hold_reason")),
    (FINAL, ("finished_at",)),
    # the attempt from which the job was rescued, whose late answer is accepted until somebody claims or ends the job
    (_SCHEDULED | _QUEUED | _HELD, ("rescued_token",)),
)
"""Columns that are set in some states alone."""


@dataclass(frozen=True, slots=True, eq=False)
class Transition:
    """One way from some states to another."""

    verb: str
    """The word of the diagram in ``docs/explanation/job_lifecycle.md``."""
    leaves: frozenset[JobState]
    enters: JobState
    writes: Mapping[str, str] = field(default_factory=dict)
    """Column → SQL, with ``:parameters``, besides what follows from the two states."""

    @property
    def columns(self) -> dict[str, str]:
        """Every column that is written → SQL. Whoever ends a job gives its time as ``:now``."""
        columns = {"state": f"'{self.enters}'"}
        for states, names in _OWN_COLUMNS:
            if self.enters not in states and self.leaves & states:
                columns |= dict.fromkeys(names, "NULL")
        if self.enters in FINAL and not self.leaves <= FINAL:
            columns["finished_at"] = ":now"
        return columns | dict(self.writes)

    @property
    def clause(self) -> str:
        """What stands behind SET."""
        return f"/* {self.verb} */ " + ", ".join(f"{name} = {sql}" for name, sql in self.columns.items())

    @property
    def condition(self) -> str:
        """The SQL condition for the states that it leaves."""
        return f"state IN ({', '.join(repr(str(state)) for state in sorted(self.leaves))})"


_NEVER_RAN = {"host": "NULL", "started_at": "NULL"}
_FROM_RESCUE = {"rescued_token": "lease_token", "losses": "losses + :loss"}

PROMOTE = Transition("promote", _SCHEDULED | _WAITING, JobState.QUEUED, {"eligible_at": ":now"})
PROMOTE_DUE = Transition("promote", _SCHEDULED, JobState.QUEUED)
"""Of a job whose back-off is over: it has been eligible since then."""

CLAIM = Transition(
    "claim",
    _QUEUED,
    JobState.RUNNING,
    {
        "attempt": "attempt + 1",
        "lease_token": ":token",
        "lease_until": ":until",
        "host": ":host",
        "started_at": ":now",
        "asked": "false",
    },
)
RELEASE = Transition("release", _RUNNING, JobState.QUEUED, _NEVER_RAN)
RESCUE = Transition("rescue", _RUNNING, JobState.SCHEDULED, {**_FROM_RESCUE, "eligible_at": ":now"})
RESCUE_SUSPECT = Transition(
    "hold", _RUNNING, JobState.HELD, {**_FROM_RESCUE, "hold_code": ":code", "hold_reason": ":reason"}
)
"""Of a job that was running when its host or worker died once too often."""

FINISH = Transition("finish", _RUNNING | _QUEUED | _SCHEDULED | _HELD, JobState.SUCCEEDED)
"""From any state but ``running`` it is the late finish: the job was rescued from exactly this attempt and nobody has
claimed it since, so the text that its host did generate is kept."""
FAIL = Transition("fail", _RUNNING, JobState.FAILED, {"charged": "charged + 1"})
FAIL_FOLLOWER = Transition("fail", _WAITING, JobState.FAILED)
RETRY = Transition(
    "retry",
    _RUNNING,
    JobState.SCHEDULED,
    {"eligible_at": ":at", "charged": "charged + :charge", "losses": "losses + :lost", **_NEVER_RAN},
)
REUSE = Transition("reuse", _QUEUED, JobState.SUCCEEDED)
REUSE_CLAIMED = Transition("reuse", _RUNNING, JobState.SUCCEEDED, _NEVER_RAN)

HOLD = Transition(
    "hold", _IDLE - _HELD | _RUNNING, JobState.HELD, {"hold_code": ":code", "hold_reason": ":reason"}
)
UNHOLD = Transition("unhold", _HELD, JobState.SCHEDULED, {"eligible_at": "NULL", "losses": "0"})
PAUSE = Transition("pause", _QUEUED, JobState.SCHEDULED, {"eligible_at": "NULL"})
FOLLOW = Transition("follow", _SCHEDULED, JobState.WAITING)

CANCEL = Transition("cancel", _IDLE, JobState.CANCELLED, {"cancel_requested_at": ":now"})
CANCEL_RUNNING = Transition(
    "cancel",
    _RUNNING,
    JobState.CANCELLED,
    {"cancel_requested_at": "coalesce(cancel_requested_at, :now)"},
)
CANCEL_RELEASED = Transition("cancel", _RUNNING, JobState.CANCELLED, _NEVER_RAN)
"""Of a job that was claimed, cancelled and given back before it was started."""
EXPIRE = Transition("expire", _IDLE, JobState.EXPIRED)
RESTORE = Transition("restore", FINAL - {JobState.SUCCEEDED}, JobState.SUCCEEDED)
"""Of a job that was asked again and got no new answer: it has its old one."""

_ANEW = {
    "eligible_at": "NULL",
    "charged": "0",
    "losses": "0",
    "widened": "false",
    "rescued_token": "NULL",
    "cancel_requested_at": "NULL",
    **_NEVER_RAN,
}
ASK_AGAIN = Transition(
    "retry",
    frozenset(JobState) - _RUNNING - _WAITING,
    JobState.SCHEDULED,
    {
        **_ANEW,
        # its deadline may have passed: who asks again wants the answer all the same
        "expires": "expires AND (deadline IS NULL OR deadline > :now)",
        # a stored answer is looked for again, but for no job whose own answer is to be replaced
        "reuse": "CASE WHEN state <> 'succeeded' AND reuse IS NOT NULL THEN 1 END",
    },
)
REPLACE = Transition(
    "replace",
    frozenset(JobState) - _RUNNING,
    JobState.SCHEDULED,
    {
        **_ANEW,
        **{
            name: f":{name}"
            for name in (
                *("carries", "priority", "runner_key", "prefix_group", "estimate", "deadline", "expires"),
                *("reuse", "kind"),
            )
        },
    },
)
"""Of a job whose line in the input changed: it asks something else from now on."""

TRANSITIONS: Sequence[Transition] = tuple(value for value in globals().values() if type(value) is Transition)


def arrows() -> frozenset[tuple[JobState, str, JobState]]:
    """(from, verb, to) of every transition that changes a state."""
    return frozenset(
        (state, transition.verb, transition.enters)
        for transition in TRANSITIONS
        for state in transition.leaves
        if state is not transition.enters
    )


# -- statements -------------------------------------------------------------------------------------------------------

_TIMES = frozenset({"now", "at", "until", "deadline"})
"""Parameters that are times."""
_PARAMETER = re.compile(r"(?<!:):([a-z_]+)")


def typed(statement: str) -> TextClause:
    """``statement`` with the types of its times and lists."""
    names = set(_PARAMETER.findall(statement))
    return text(statement).bindparams(
        *(bindparam(name, type_=UtcTime) for name in sorted(names & _TIMES)),
        *(bindparam(name, expanding=True) for name in sorted(names & {"ids"})),
    )


@cache
def by_pick(
    transition: Transition, pick: str, dialect: str, *, give: str = "jobs.id", wait: bool = False
) -> TextClause:
    """Move the jobs whose ids ``pick`` selects, as ``change_picked`` does, and give columns of them."""
    return typed(change_picked(pick, transition.clause, give, wait=wait)[dialect])


@cache
def by_id(transition: Transition) -> TextClause:
    """Move the job ``:job``; for rows that are written each with values of its own."""
    return typed(f"UPDATE jobs SET {transition.clause} WHERE id = :job")


@cache
def _by_ids(transition: Transition, dialect: str) -> TextClause:
    return typed(f"UPDATE jobs SET {transition.clause} WHERE {among(dialect, 'id')}")


def write_state(conn: Connection, transition: Transition, job_ids: Sequence[int], **values: Any) -> None:
    """Move jobs that the caller has locked and counts."""
    for some in slices(job_ids):
        conn.execute(_by_ids(transition, conn.dialect.name), {"members": members(conn, some), **values})


# -- rows and their counts --------------------------------------------------------------------------------------------


def move(conn: Connection, transition: Transition, rows: Sequence[Any], **values: Any) -> None:
    """Move ``rows``, which the caller read and locked in this transaction, and count them: ``id``, ``batch_id``,
    ``runner_key``, ``priority`` and ``state`` of each. Raises ValueError for a row in a state that this transition does
    not leave."""
    if not rows:
        return
    changes: Counter[Change] = Counter()
    count_moves(changes, transition, rows)
    write_state(conn, transition, [row.id for row in rows], **values)
    add_changes(conn, changes)


def move_picked(
    conn: Connection,
    transition: Transition,
    pick: str,
    values: Mapping[str, Any],
    *,
    old: JobState | None = None,
    wait: bool = False,
) -> list[int]:
    """Move the jobs that ``pick`` selects, all in the state ``old``, and count them; returns their ids."""
    give = "jobs.id, jobs.batch_id, jobs.runner_key, jobs.priority"
    rows = conn.execute(by_pick(transition, pick, conn.dialect.name, give=give, wait=wait), values).all()
    count_picked(conn, transition, rows, old=old)
    return [row.id for row in rows]


_COUNTED = attrgetter("batch_id", "runner_key", "priority")


def count_picked(
    conn: Connection, transition: Transition, rows: Iterable[Any], *, old: JobState | None = None
) -> None:
    """Count rows that a statement of ``by_pick`` moved. ``old`` may be left out where there is only one."""
    if old is None:
        [old] = transition.leaves
    changes: Counter[Change] = Counter()
    for (batch, key, priority), count in Counter(map(_COUNTED, rows)).items():
        changes[batch, key, priority, str(old)] -= count
        changes[batch, key, priority, str(transition.enters)] += count
    add_changes(conn, changes)


_MOVED = attrgetter("batch_id", "runner_key", "priority", "state")


def count_moves(
    changes: Counter[Change], transition: Transition, rows: Sequence[Any], *, runner_key: str | None = None
) -> None:
    """Note in ``changes`` that the jobs of ``rows`` move, to another runner key where it is given. Raises ValueError as
    ``count_move`` does."""
    for (batch, key, priority, state), count in Counter(map(_MOVED, rows)).items():
        if state not in transition.leaves:
            raise _stays(next(row for row in rows if row.state == state), transition)
        changes[batch, key, priority, str(state)] -= count
        changes[batch, runner_key or key, priority, str(transition.enters)] += count


def count_move(
    changes: Counter[Change],
    transition: Transition,
    row: Any,
    *,
    runner_key: str | None = None,
    priority: int | None = None,
) -> None:
    """Note in ``changes`` that the job of ``row`` moves, to another runner key and priority where they are given.
    Raises ValueError for a row in a state that this transition does not leave."""
    if row.state not in transition.leaves:
        raise _stays(row, transition)
    changes[row.batch_id, row.runner_key, row.priority, str(row.state)] -= 1
    key = row.runner_key if runner_key is None else runner_key
    changes[row.batch_id, key, row.priority if priority is None else priority, str(transition.enters)] += 1


def _stays(row: Any, transition: Transition) -> ValueError:
    return ValueError(f"job {row.id} is {row.state}, which {transition.verb} does not leave")

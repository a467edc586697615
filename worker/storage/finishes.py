"""How outcomes reach the database: in groups, each through the fence, few statements however many there are."""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import field
from datetime import UTC, datetime
from functools import cache
from itertools import starmap
from operator import attrgetter
from typing import Any, assert_never

from sqlalchemy import select, text, update
from sqlalchemy.engine import Connection

from worker.domain.attempts import Cancelled, Failed, Finish, Held, Outcome, Retried, Succeeded
from worker.domain.batches import BatchState
from worker.domain.jobs import FINAL, JobState
from worker.domain.replies import Result
from worker.errors import Code
from worker.records import record
from worker.replies.contexts import pack_context
from worker.storage.deltas import Change, add_changes
from worker.storage.follows.settling import settle_after
from worker.storage.old_answers import answered_before, forget_question
from worker.storage.reuse import remember_answers
from worker.storage.rollups import forget_results
from worker.storage.rows import Insert, among, json_value, members, time_value, write_rows
from worker.storage.tables import batches, jobs
from worker.storage.transitions import (
    CANCEL_RUNNING,
    FAIL,
    FINISH,
    HOLD,
    RETRY,
    Transition,
    by_id,
    count_moves,
    write_state,
)
from worker.storage.tries import earlier_tries
from worker.storage.types import storable


@record
class Finished:
    """Jobs whose outcome was stored, and jobs whose fence refused it."""

    accepted: list[int] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)


def finish_jobs(conn: Connection, finishes: Sequence[Finish], *, now: datetime) -> Finished:
    """Store how attempts ended: result, state, counters and attempt in the caller's one transaction.

    A job that is asked again goes back to its old answer where no new one came. An outcome is accepted where token and
    attempt match the running job; an answer also where the job was rescued from exactly this attempt and since then
    neither claimed nor cancelled. Storing the same finish again is refused, which makes a commit whose answer was lost
    safe to repeat.
    """
    ids = sorted({finish.job_id for finish in finishes})
    stored = conn.execute(_rows(conn.dialect.name), {"members": members(conn, ids)}).all()
    rows = {row.id: row for row in starmap(_Row, stored)}
    finished, ends = Finished(), _Ends(conn, now)
    for finish in finishes:
        row = rows.get(finish.job_id)
        state = None if row is None else _accepted_state(row, finish)
        if row is None or state is None:
            finished.refused.append(finish.job_id)
            ends.add_late(finish)
        else:
            del rows[finish.job_id]  # a stale finish beside it must not take the row from the fresh one
            finished.accepted.append(finish.job_id)
            ends.add(row, finish, state)
    ends.write()
    return finished


@record
class _Row:
    """The row of a job whose attempt ended. To read a column of SQLAlchemy's own rows takes ten times as long."""

    id: int
    batch_id: int
    custom_id: str
    model: str
    state: str
    priority: int
    runner_key: str
    attempt: int
    lease_token: str | None
    rescued_token: str | None
    cancel_requested_at: datetime | None
    reuse: int | None
    followed: bool
    tries: int
    """How often a host was asked before."""
    answered: bool
    """There is an answer from before."""
    batch_state: str


@cache
def _rows(dialect: str) -> Any:
    more: dict[str, Any] = {
        "tries": earlier_tries(),
        "answered": answered_before(),
        "batch_state": select(batches.c.state).where(batches.c.id == jobs.c.batch_id).scalar_subquery(),
    }
    columns = (more[name].label(name) if name in more else jobs.c[name] for name in _Row.__annotations__)
    query = select(*columns).where(text(among(dialect, "jobs.id")))
    # in the order of ids, so that two grouped finishes never wait for each other in a circle
    return query.order_by(jobs.c.id).with_for_update() if dialect == "postgresql" else query


def _accepted_state(row: _Row, finish: Finish) -> JobState | None:
    """The state the job goes to, or None where the fence refuses."""
    if row.attempt != finish.attempt:
        return None
    stopped = row.batch_state == BatchState.CANCELLED  # its row may not have followed yet
    if row.lease_token == finish.token:  # it runs: no other job has a token (the constraint ``lease``)
        cancelled = stopped or row.cancel_requested_at is not None
        return JobState.CANCELLED if cancelled else _state(finish.outcome)
    late = (
        not stopped
        and row.rescued_token == finish.token
        and row.state
        in (
            JobState.QUEUED,
            JobState.SCHEDULED,
            JobState.HELD,
        )
    )
    if late and isinstance(finish.outcome, Succeeded):
        return JobState.SUCCEEDED
    return None


def _state(outcome: Outcome) -> JobState:
    match outcome:
        case Succeeded():
            return JobState.SUCCEEDED
        case Failed():
            return JobState.FAILED
        case Retried():
            return JobState.SCHEDULED
        case Held():
            return JobState.HELD
        case Cancelled():
            return JobState.CANCELLED
        case _:
            assert_never(outcome)


_WIDEN = text("UPDATE jobs SET runner_key = :key, widened = true WHERE id = :job")

_ENDED = ("outcome", "charged", "error_code", "error_message", "partial")
_ATTEMPT_COLUMNS = ("job_id", "attempt", "host", "run_id", "started_at", "ended_at", *_ENDED)
_NEW_VALUES = ", ".join(f"{name} = excluded.{name}" for name in (*_ENDED, "ended_at"))
_ATTEMPT = Insert("attempts", _ATTEMPT_COLUMNS)
_RESCUED = Insert("attempts", _ATTEMPT_COLUMNS, f"ON CONFLICT (job_id, attempt) DO UPDATE SET {_NEW_VALUES}")
# A late answer is noted on the attempt it belongs to, but never over how that attempt is known to have ended.
_LATE = text(
    f"INSERT INTO attempts ({', '.join(_ATTEMPT_COLUMNS)}) SELECT {', '.join(f':{name}' for name in _ATTEMPT_COLUMNS)} "
    "WHERE EXISTS (SELECT 1 FROM jobs WHERE id = :job_id) "
    f"ON CONFLICT (job_id, attempt) DO UPDATE SET {_NEW_VALUES} WHERE attempts.outcome = 'rescued'"
)


class _Ends:
    """What a group writes, sorted by statement."""

    def __init__(self, conn: Connection, now: datetime) -> None:
        self._conn, self._now = conn, now
        self._time = time_value(conn)
        self._moment = self._time(now), now.astimezone(UTC).date().isoformat()
        self._moved: defaultdict[tuple[Transition, str | None], list[_Row]] = defaultdict(list)
        """By transition, and runner key where a job goes to another one."""
        self._charged: list[int] = []
        self._retried: list[dict[str, Any]] = []
        self._held: list[dict[str, Any]] = []
        self._results: list[tuple[Any, ...]] = []
        self._remembered: list[int] = []
        self._replaced: list[int] = []
        self._kept: list[int] = []
        self._attempts: list[tuple[Any, ...]] = []
        self._rescued: list[tuple[Any, ...]] = []
        """Of jobs that were rescued from the attempt, which has a row since."""
        self._late: list[tuple[Any, ...]] = []
        self._runs: list[int | None] = []

    def add_late(self, finish: Finish) -> None:
        """Note an outcome that the fence refused."""
        self._late.append(_attempt(finish, "late", charged=False, time=self._time))

    def add(self, row: _Row, finish: Finish, state: JobState) -> None:
        outcome: Outcome | None = finish.outcome
        charged = False
        new_key: str | None = None
        kind = "retried" if state is JobState.SCHEDULED else str(state)
        if row.answered:
            if state is JobState.SUCCEEDED:
                self._replaced.append(row.id)
            elif state in FINAL:  # no new answer came: the old one stays, and the job with it
                charged = state is JobState.FAILED
                state, outcome = JobState.SUCCEEDED, None
        match state, outcome:
            case JobState.SUCCEEDED, Succeeded(result=result):
                transition = FINISH
                self._results.append(_result(row, finish, state, result, None, "", self._moment))
                if row.reuse is not None:  # for those beside it that ask the same; else it has time
                    self._remembered.append(row.id)
            case JobState.SUCCEEDED, None:
                transition = FINISH
                self._kept.append(row.id)
                if charged:
                    self._charged.append(row.id)
            case JobState.SCHEDULED, Retried(at=at, charged=charged, lost=lost, runner_key=new_key):
                transition = RETRY
                self._retried.append({"job": row.id, "at": at, "charge": int(charged), "lost": int(lost)})
            case JobState.HELD, Held(code=code, message=message):
                transition = HOLD
                self._held.append({"job": row.id, "code": str(code), "reason": storable(message)})
            case JobState.FAILED, Failed(code=code, message=message, partial=partial, result=result):
                charged, transition = True, FAIL
                self._results.append(
                    _result(row, finish, state, result, code, message, self._moment, partial)
                )
            case _:
                transition = CANCEL_RUNNING
        self._moved[transition, new_key].append(row)
        self._runs.append(finish.run_id)
        attempts = self._rescued if row.lease_token is None else self._attempts
        attempts.append(_attempt(finish, kind, charged=charged, time=self._time))

    def write(self) -> None:
        conn = self._conn
        changes: Counter[Change] = Counter()
        followed: list[int] = []
        for (transition, key), rows in self._moved.items():
            count_moves(changes, transition, rows, runner_key=key)
            if transition.enters in FINAL:
                write_state(conn, transition, [row.id for row in rows], now=self._now)
                followed += [row.id for row in rows if row.followed]
        if self._replaced:
            forget_results(conn, self._replaced)
        if self._kept:
            forget_question(conn, self._kept)
        if self._charged:
            conn.execute(update(jobs).where(jobs.c.id.in_(self._charged)).values(charged=jobs.c.charged + 1))
        widened = [
            {"job": row.id, "key": key}
            for (_, key), rows in self._moved.items()
            if key is not None
            for row in rows
        ]
        runs = sorted(Counter(run for run in self._runs if run is not None).items())
        for statement, values in (
            (by_id(RETRY), self._retried),
            (_WIDEN, widened),
            (by_id(HOLD), self._held),
            (_RUN_JOBS, [{"run": run, "jobs": n} for run, n in runs]),
        ):
            if values:
                conn.execute(statement, values)
        write_rows(conn, _RESULT, self._results)
        write_rows(conn, _FRESH, [row[:1] for row in self._results])
        write_rows(conn, _ATTEMPT, self._attempts)
        write_rows(conn, _RESCUED, self._rescued)
        if self._late:  # after those, which a late one never changes
            conn.execute(_LATE, [dict(zip(_ATTEMPT_COLUMNS, late, strict=True)) for late in self._late])
        if self._replaced:
            from worker.storage.schedule_answers import renew_answers  # few jobs had an answer before

            renew_answers(conn, self._replaced)
        remember_answers(conn, sorted(self._remembered))
        add_changes(conn, changes)
        settle_after(conn, sorted(followed), now=self._now)


_RUN_JOBS = text("UPDATE runs SET jobs = jobs + :jobs WHERE id = :run")


def _attempt(finish: Finish, kind: str, *, charged: bool, time: Callable[[datetime], Any]) -> tuple[Any, ...]:
    """A row of ``_ATTEMPT``."""
    code: Code | None = None
    message: str | None = None
    partial: str | None = None
    match finish.outcome:
        case Succeeded(result=result):
            if kind == "cancelled":  # it was generated: not as a result, but kept
                partial = result.answer
        case (
            Failed(code=code, message=message, partial=partial)
            | Retried(code=code, message=message, partial=partial)
        ):
            pass
        case Held(code=code, message=message):
            pass
        case Cancelled(partial=partial):
            code = Code.CANCELLED
    return (
        finish.job_id,
        finish.attempt,
        finish.host,
        finish.run_id,
        time(finish.started_at),
        time(finish.ended_at),
        kind,
        charged,
        None if code is None else str(code),
        None if message is None else storable(message),
        storable(partial) if partial else None,
    )


def _result(
    row: _Row,
    finish: Finish,
    state: JobState,
    result: Result | None,
    code: Code | None,
    message: str,
    moment: tuple[Any, str],
    partial: str = "",
) -> tuple[Any, ...]:
    """A row of ``_RESULT``."""
    head = (
        row.id,
        row.batch_id,
        row.custom_id,
        row.model,
        str(state),
        finish.host,
        None if finish.digest is None else storable(finish.digest)[:80],
        None if code is None else str(code),
        None if code is None else storable(message),
        row.tries + 1,
        *moment,
    )
    if result is None:
        return (*head, storable(partial) if partial else None, False, *_NO_REPLY)
    context = None if result.context is None else pack_context(result.context)
    return (
        *head,
        storable(result.answer),
        result.empty,
        None if result.reasoning is None else storable(result.reasoning),
        None if result.done_reason is None else storable(result.done_reason)[:30],
        context,
        None if context is None or result.context is None else len(result.context),
        json_value(result.parsed),
        json_value(result.logprobs),
        json_value(list(result.tool_calls) or None),
        *_figures(result),
    )


_FIGURES = (
    "embedding",
    "reasoning_open",
    "cut",
    "prompt_fit",
    "prompt_tokens",
    "output_tokens",
    "tokens_per_second",
    "total_seconds",
    "load_seconds",
    "prompt_eval_seconds",
    "eval_seconds",
    "total_duration",
    "load_duration",
    "prompt_eval_duration",
    "eval_duration",
    "created_at",
)
"""What is stored of a result as it is."""
_figures = attrgetter(*_FIGURES)
_REPLY = (
    "reasoning",
    "done_reason",
    "context",
    "context_length",
    "parsed",
    "logprobs",
    "tool_calls",
    *_FIGURES,
)
_NO_REPLY = (None,) * len(_REPLY)
_JOB = ("job_id", "batch_id", "custom_id", "model", "state", "host", "digest", "error_code", "error_message")
_RESULT = Insert("results", (*_JOB, "attempts", "finished_at", "day", "answer", "empty", *_REPLY))
_FRESH = Insert("fresh_results", ("job_id",))

"""Decides whether a job that waits for others may begin."""

from collections.abc import Iterable
from enum import StrEnum

from worker.domain.jobs import FINAL, JobState
from worker.records import record


@record
class Parent:
    """A job that another waits for."""

    state: JobState | None
    """None: it was deleted."""
    release: bool
    """Without an answer of this one it begins all the same."""


class Verdict(StrEnum):
    """What becomes of the job that waits."""

    WAIT = "wait"
    PROMOTE = "promote"
    FAIL = "fail"
    CANCEL = "cancel"


def verdict(parents: Iterable[Parent]) -> Verdict:
    """One parent that has no answer is enough to end it, unless it is to begin without; else it waits for the last.

    >>> verdict([Parent(JobState.SUCCEEDED, False), Parent(JobState.RUNNING, False)])
    <Verdict.WAIT: 'wait'>
    >>> verdict([Parent(JobState.FAILED, False), Parent(JobState.RUNNING, False)])
    <Verdict.FAIL: 'fail'>
    """
    ends = list(parents)
    lost = [
        end.state
        for end in ends
        if not end.release
        and end.state is not JobState.SUCCEEDED
        and (end.state is None or end.state in FINAL)
    ]
    if any(state is not JobState.CANCELLED for state in lost):
        return Verdict.FAIL
    if lost:
        return Verdict.CANCEL
    return (
        Verdict.WAIT
        if any(end.state is not None and end.state not in FINAL for end in ends)
        else Verdict.PROMOTE
    )

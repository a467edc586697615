"""The next step of the loop that serves a host, as a table of cases."""

from dataclasses import replace
from typing import Any

import pytest

from worker.domain.jobs import Priority
from worker.policy.facts import Decision, LoadRunner, RunJobs, Wait
from worker.policy.serving import (
    AHEAD_BELOW,
    GROUPS_AHEAD,
    NO_WORK,
    PROBE_EVERY,
    SHARED_PROBE_EVERY,
    SHORT_CALL,
    Action,
    End,
    HandedOver,
    Situation,
    Step,
    action,
    admission,
    after_step,
    claim_limit,
    claims_ahead,
    group_waits,
    hand_over,
    look_due,
    next_step,
    suspect_first,
)
from worker.policy.sharing import DRY_EVERY, DRY_EVERY_OF_BULK

IDLE = Situation(
    100.0, unfinished=0, ready=0, limit=2, handed=HandedOver(low_water=2), idle_since=100.0, linger=5.0
)
BUSY = replace(IDLE, unfinished=2)
"""Both slots run a job."""
SHORT = replace(BUSY, unfinished=4, ready=2, job_seconds=AHEAD_BELOW / 2)
"""Jobs so short that some wait for their slot here."""
BULK = HandedOver(low_water=2, bulk=True)
ALONE = HandedOver(low_water=2, alone=True)
GROUPED = HandedOver(low_water=2, grouped=True)


@pytest.mark.parametrize(
    ("case", "situation", "step"),
    [
        ("nothing runs", IDLE, Step.FIND_WORK),
        ("nothing runs and nothing is to be done", replace(IDLE, tried={Step.FIND_WORK}), Step.COLLECT),
        (
            "nothing was to be done for as long as it lingers",
            replace(IDLE, tried={Step.FIND_WORK}, now=105.0),
            End(NO_WORK),
        ),
        ("it lingered, and has not looked once more", replace(IDLE, now=105.0), Step.FIND_WORK),
        ("a slot is free", replace(BUSY, unfinished=1), Step.FIND_WORK),
        ("a job was handed over, and runs", replace(BUSY, unfinished=1, moved=True), Step.COLLECT),
        ("all slots run a job", BUSY, Step.ADMIT),
        ("it was tried to admit one just now", replace(BUSY, admitted_at=99.8), Step.COLLECT),
        ("it was tried since the last wait", replace(BUSY, tried={Step.ADMIT}), Step.COLLECT),
        ("the slots run dry for a load", replace(BUSY, intends=True), Step.COLLECT),
        ("jobs are short and enough wait here", SHORT, Step.ADMIT),
        ("jobs are short and few wait here", replace(SHORT, ready=1), Step.FIND_WORK),
        ("as many jobs wait, but they are long", replace(SHORT, ready=1, job_seconds=9.0), Step.ADMIT),
        ("a suspect runs alone", replace(BUSY, unfinished=1, handed=ALONE), Step.COLLECT),
        ("a suspect has ended", replace(IDLE, handed=ALONE), Step.FIND_WORK),
        ("the host steps back", replace(IDLE, paused=True), Step.COLLECT),
        (
            "the host steps back for longer than it lingers",
            replace(IDLE, paused=True, now=106.0),
            End(NO_WORK),
        ),
        ("the leases may have run out", replace(BUSY, unfinished=1, leased=False), Step.COLLECT),
        ("a runner fell silent and others still run", replace(BUSY, unfinished=1, broken=True), Step.COLLECT),
        ("a runner fell silent and nothing runs", replace(IDLE, broken=True), Step.MEND),
        ("it could not be mended yet", replace(IDLE, broken=True, tried={Step.MEND}), Step.COLLECT),
        (
            "a slot is free, and nothing has happened since work was looked for",
            replace(BUSY, unfinished=1, ended=False, changed=False, looked_for_work_at=99.9),
            Step.COLLECT,
        ),
        (
            "the same, and a job has ended here",
            replace(BUSY, unfinished=1, changed=False, looked_for_work_at=99.9),
            Step.FIND_WORK,
        ),
        (
            "the same, and others changed the database",
            replace(BUSY, unfinished=1, ended=False, looked_for_work_at=99.9),
            Step.FIND_WORK,
        ),
        (
            "the same, and time has passed",
            replace(BUSY, unfinished=1, ended=False, changed=False, looked_for_work_at=99.0),
            Step.FIND_WORK,
        ),
        (
            "nothing runs: it looks with each poll",
            replace(IDLE, ended=False, changed=False, looked_for_work_at=99.9),
            Step.FIND_WORK,
        ),
        (
            "all slots run a job, and others changed nothing",
            replace(BUSY, changed=False, admitted_at=98.5),
            Step.COLLECT,
        ),
        ("the same for longer", replace(BUSY, changed=False, admitted_at=98.0), Step.ADMIT),
        ("it is told to stop", replace(BUSY, ending="stopped"), End("stopped")),
        (
            "it is told to stop while a runner is broken",
            replace(IDLE, broken=True, ending="stopped"),
            End("stopped"),
        ),
        ("groups: none begins otherwise", replace(BUSY, handed=GROUPED), Step.FIND_WORK),
        ("groups: the next one waits here", replace(BUSY, handed=GROUPED, fresh=True), Step.ADMIT),
        (
            "groups: as many wait as may",
            replace(BUSY, handed=GROUPED, unfinished=2 * GROUPS_AHEAD + 1),
            Step.ADMIT,
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_next_step(case: str, situation: Situation, step: Step | End) -> None:
    assert next_step(situation) == step


SHARED = replace(BUSY, shared=True, dry_at=100.0, sharing_check_at=100.0, unfinished=1)


@pytest.mark.parametrize(
    ("case", "changes", "step"),
    [
        ("bulk runs, and it was looked just now", {"handed": BULK}, Step.FIND_WORK),
        ("bulk runs for a while", {"handed": BULK, "now": 100.0 + SHARED_PROBE_EVERY}, Step.CHECK_SHARING),
        ("the same, looked for", {"handed": BULK, "now": 105.0, "tried": {Step.CHECK_SHARING}}, Step.FIND_WORK),
        ("normal jobs run for as long", {"now": 100.0 + SHARED_PROBE_EVERY}, Step.FIND_WORK),
        ("somebody came, and a job still runs", {"handed": BULK, "gives_way": True}, Step.COLLECT),
        ("somebody came, and nothing runs", {"handed": BULK, "gives_way": True, "unfinished": 0}, Step.FIND_WORK),
        ("bulk runs for so long that the slots run dry", {"now": 100.0 + DRY_EVERY_OF_BULK, "handed": BULK,
                                                          "sharing_check_at": 114.0}, Step.COLLECT),
        ("normal jobs run for so long", {"now": 100.0 + DRY_EVERY_OF_BULK}, Step.FIND_WORK),
        ("normal jobs run until the slots run dry", {"now": 100.0 + DRY_EVERY}, Step.COLLECT),
        ("the host is nobody else's", {"now": 100.0 + DRY_EVERY, "shared": False}, Step.FIND_WORK),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_the_next_step_on_a_host_that_other_people_use(
    case: str, changes: dict[str, Any], step: Step
) -> None:
    assert next_step(replace(SHARED, **changes)) == step


@pytest.mark.parametrize(
    ("seconds", "ahead"), [(None, False), (AHEAD_BELOW / 2, True), (AHEAD_BELOW, False), (60.0, False)]
)
def test_only_jobs_that_are_known_to_be_short_are_claimed_ahead(seconds: float | None, ahead: bool) -> None:
    assert claims_ahead(seconds) is ahead


@pytest.mark.parametrize(
    ("dry", "after_suspect", "priorities", "first"),
    [
        (True, False, None, True),
        (False, False, None, False),
        (True, True, None, False),
        (True, False, (Priority.INTERACTIVE,), False),
    ],
)
def test_a_suspect_goes_first_only_onto_dry_slots_and_never_twice_in_a_row(
    dry: bool, after_suspect: bool, priorities: tuple[Priority, ...] | None, first: bool
) -> None:
    assert suspect_first(dry=dry, after_suspect=after_suspect, priorities=priorities) is first


RUN = RunJobs("m:1", 8, "resident")
URGENT = replace(RUN, priorities=(Priority.INTERACTIVE,))
LOAD = LoadRunner("m:2", "longest")
REST = Wait("nothing")


@pytest.mark.parametrize(
    ("situation", "decision", "done"),
    [
        (IDLE, RUN, Action.RUN),
        (BUSY, RUN, Action.RUN),
        (IDLE, LOAD, Action.LOAD),
        (BUSY, LOAD, Action.RUN_DRY),
        (IDLE, REST, Action.REST),
    ],
)
def test_a_load_waits_until_the_slots_are_dry(situation: Situation, decision: Decision, done: Action) -> None:
    assert action(situation, decision) is done


@pytest.mark.parametrize(
    ("situation", "decision", "done"),
    [
        (BUSY, URGENT, Action.RUN),
        (replace(BUSY, unfinished=3), URGENT, Action.REST),
        (BUSY, RUN, Action.REST),
        (BUSY, LOAD, Action.RUN_DRY),
        (BUSY, REST, Action.REST),
    ],
)
def test_beside_full_slots_begins_one_interactive_job_and_nothing_else(
    situation: Situation, decision: Decision, done: Action
) -> None:
    assert admission(situation, decision) is done


@pytest.mark.parametrize(
    ("decision", "free", "seconds", "jobs"),
    [
        (RUN, 2, None, 2),
        (RUN, 2, 60.0, 2),
        (RUN, 2, AHEAD_BELOW / 2, 8),
        (RUN, 0, 60.0, 1),
        (replace(RUN, whole=True), 2, 60.0, 8),
        (replace(RUN, jobs=1), 2, None, 1),
    ],
)
def test_long_jobs_are_claimed_for_free_slots_alone(
    decision: RunJobs, free: int, seconds: float | None, jobs: int
) -> None:
    assert claim_limit(decision, free=free, job_seconds=seconds) == jobs


def test_what_was_handed_over_says_when_more_is_claimed_and_what_may_run_beside_it() -> None:
    before = HandedOver(low_water=7)
    normal, bulk = [Priority.NORMAL] * 20, [Priority.BULK] * 3

    assert hand_over(before, normal, limit=2, alone=False, whole=False) == HandedOver(low_water=10)
    assert hand_over(before, bulk, limit=4, alone=False, whole=True) == HandedOver(4, grouped=True, bulk=True)
    assert hand_over(before, normal[:1], limit=2, alone=True, whole=True) == HandedOver(2, alone=True)
    assert hand_over(before, [], limit=2, alone=False, whole=True).low_water == 7


@pytest.mark.parametrize(
    ("situation", "looked_at", "due"),
    [
        (IDLE, 100.0 - PROBE_EVERY, False),
        (IDLE, 99.0 - PROBE_EVERY, True),
        (replace(IDLE, shared=True, dry_at=100.0), 99.0 - SHARED_PROBE_EVERY, True),
        (replace(IDLE, shared=True, dry_at=100.0), 99.0, False),
        (replace(IDLE, shared=True, dry_at=100.0 - DRY_EVERY), 99.0, True),
    ],
)
def test_a_host_is_looked_at_again_sooner_where_people_use_it_too(
    situation: Situation, looked_at: float, due: bool
) -> None:
    assert look_due(situation, looked_at) is due


@pytest.mark.parametrize(
    ("seconds", "ready", "waits"),
    [(SHORT_CALL / 2, 2, True), (SHORT_CALL / 2, 1, False), (SHORT_CALL, 2, False)],
)
def test_outcomes_of_short_calls_wait_for_others_while_jobs_are_ready(
    seconds: float, ready: int, waits: bool
) -> None:
    assert group_waits(HandedOver(low_water=2), seconds=seconds, ready=ready) is waits


def test_what_the_loop_remembers_of_a_step() -> None:
    looked = after_step(replace(IDLE, now=101.0), Step.FIND_WORK)
    assert (looked.tried, looked.ended, looked.changed) == ({Step.FIND_WORK}, False, False)
    assert looked.idle_since == 100.0
    assert after_step(replace(BUSY, now=101.0), Step.ADMIT).idle_since == 101.0

    loaded = after_step(replace(IDLE, now=101.0, moved=True), Step.FIND_WORK)
    assert (loaded.tried, loaded.moved, loaded.idle_since) == (frozenset(), False, 101.0)

    waited = after_step(replace(looked, moved=True), Step.COLLECT)
    assert (waited.tried, waited.moved) == (frozenset(), False)

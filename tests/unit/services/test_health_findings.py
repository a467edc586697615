from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from worker.domain.backlog import Waiting
from worker.domain.health import Finding, HealthLimits, Kind, Pulse
from worker.domain.hosts import Health
from worker.domain.jobs import Priority
from worker.domain.model_operations import ModelPart, ModelVerb, PartState
from worker.health.findings import Disk, HealthFacts, HostStatus, SpoolFile, Unfired, findings

NOW = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)
LIMITS = HealthLimits()
WELL = HostStatus("gpu-1", Health.READY)


def ago(**span: float) -> datetime:
    return NOW - timedelta(**span)


def pulse(name: str, seconds: float = 0, every: float = 5) -> Pulse:
    return Pulse(name, ago(seconds=seconds), {"every": every})


def pulses(**seconds: float) -> dict[str, Pulse]:
    return {name: pulse(name, late) for name, late in {"beat": 0, "tick": 0, "chores": 0, **seconds}.items()}


def waiting(**fields: Any) -> Waiting:
    defaults: dict[str, Any] = {"priority": Priority.NORMAL, "jobs": 3, "oldest_at": ago(minutes=1)}
    return Waiting("m", "m", **{**defaults, **fields})


def resting(seconds: float) -> Pulse:
    return Pulse("up", ago(seconds=seconds), {"every": 5, "rests": 300})


FLEET = HealthFacts(NOW, fleet=True, pulses=pulses(), hosts=(WELL,))
UP = HealthFacts(NOW, fleet=False, held=True, pulses={"up": pulse("up")}, hosts=(WELL,))


def ids(facts: HealthFacts, limits: HealthLimits = LIMITS) -> list[str]:
    return [finding.id for finding in findings(facts, limits) if finding.bad]


@pytest.mark.parametrize(
    "facts",
    [
        FLEET,
        UP,
        HealthFacts(NOW, fleet=False),
        replace(FLEET, pulses=pulses(beat=24, tick=25)),
        replace(FLEET, waiting=(waiting(oldest_at=ago(hours=23)),)),
        replace(FLEET, hosts=(replace(WELL, health=Health.DRAINING, work_since=ago(days=1)),)),
        replace(FLEET, hosts=(replace(WELL, health=Health.UNREACHABLE, since=ago(seconds=90)),)),
        replace(FLEET, hosts=(replace(WELL, work_since=ago(days=1), busy=True),)),
        replace(FLEET, hosts=(replace(WELL, work_since=ago(days=1), last_claim_at=ago(minutes=14)),)),
        replace(FLEET, hosts=(replace(WELL, work_since=ago(minutes=14), last_claim_at=ago(days=1)),)),
        replace(FLEET, spools=(SpoolFile(Path("a.jsonl"), ago(minutes=9)),)),
        replace(FLEET, disks=(Disk(Path("/home"), 500_000_000),)),
        replace(FLEET, held_jobs=3),
        replace(FLEET, unfired=(Unfired("nightly", ago(minutes=14)),)),
        HealthFacts(NOW, fleet=False, held=True, waiting=(waiting(),)),
        replace(UP, pulses={"up": resting(359)}),
        replace(UP, pulses={"up": resting(100)}, waiting=(waiting(oldest_at=ago(seconds=24)),)),
        replace(UP, pulses={"up": resting(100)}, waiting=(waiting(oldest_at=ago(days=1)),)),
        HealthFacts(NOW, fleet=False, hosts=(replace(WELL, serving=True),), waiting=(waiting(),)),
    ],
)
def test_all_is_well(facts: HealthFacts) -> None:
    assert ids(facts) == []


@pytest.mark.parametrize(
    ("facts", "wanted"),
    [
        (replace(FLEET, pulses={}), ["beat:beat", "control:tick", "control:chores"]),
        (replace(FLEET, pulses=pulses(beat=26)), ["beat:beat"]),
        (replace(FLEET, pulses=pulses(tick=26)), ["control:tick"]),
        (replace(FLEET, pulses=pulses(chores=26)), ["control:chores"]),
        (replace(UP, pulses={"up": pulse("up", 26)}), ["serving:up"]),
        (replace(UP, pulses={"up": resting(361)}), ["serving:up"]),
        (
            replace(UP, pulses={"up": resting(100)}, waiting=(waiting(oldest_at=ago(seconds=26)),)),
            ["serving:up"],
        ),
        (replace(UP, held=False, ended=True), ["serving:up"]),
        (HealthFacts(NOW, fleet=False, waiting=(waiting(),)), ["serving:nobody"]),
        (replace(FLEET, waiting=(waiting(oldest_at=ago(hours=25)),)), ["jobs:oldest"]),
        (replace(FLEET, unfired=(Unfired("nightly", ago(minutes=16)),)), ["schedules:nightly"]),
        (
            replace(FLEET, hosts=(replace(WELL, health=Health.UNREACHABLE, since=ago(minutes=3)),)),
            ["hosts:gpu-1"],
        ),
        (replace(FLEET, hosts=(replace(WELL, health=Health.QUARANTINED),)), ["hosts:gpu-1"]),
        (replace(FLEET, hosts=(replace(WELL, health=Health.SLOW),)), ["hosts:gpu-1"]),
        (replace(FLEET, hosts=(replace(WELL, work_since=ago(minutes=16)),)), ["hosts:gpu-1"]),
        (replace(UP, hosts=(replace(WELL, work_since=ago(minutes=16), serving=True),)), ["hosts:gpu-1"]),
        (replace(FLEET, disks=(Disk(Path("/home"), 499_000_000),)), ["disk:/home"]),
        (replace(FLEET, spools=(SpoolFile(Path("s/a.jsonl"), ago(minutes=11)),)), ["spool:a.jsonl"]),
    ],
)
def test_what_is_wrong_is_found_and_says_what_helps(facts: HealthFacts, wanted: list[str]) -> None:
    assert ids(facts) == wanted
    assert all(finding.message and finding.remedy for finding in findings(facts, LIMITS))


def test_an_old_job_is_no_fault_where_no_host_could_take_it_or_nobody_minds() -> None:
    old = replace(FLEET, waiting=(waiting(oldest_at=ago(days=9)),))

    assert ids(replace(old, hosts=())) == []
    assert ids(replace(old, hosts=(replace(WELL, health=Health.DRAINING),))) == []
    assert ids(old, HealthLimits(oldest_job=None)) == []


def test_a_database_that_cannot_be_read_is_told_and_nothing_is_made_up_about_the_rest() -> None:
    fault = Finding(Kind.DATABASE, "away", "refused", "look")

    found = findings(HealthFacts(NOW, fleet=True, fault=fault, disks=(Disk(Path("/"), 0),)), LIMITS)

    assert [finding.id for finding in found] == ["database:away", "disk:/"]


def test_held_jobs_are_a_note_at_the_end() -> None:
    found = findings(replace(FLEET, held_jobs=3, disks=(Disk(Path("/"), 0),)), LIMITS)

    assert [(finding.id, finding.bad) for finding in found] == [("disk:/", True), ("jobs:held", False)]


def test_a_failed_operation_on_a_model_is_bad_where_jobs_wait_for_it_and_else_a_note() -> None:
    part = ModelPart(
        7, ModelVerb.PULL, "gpu-1", "m", state=PartState.FAILED, error="no route", changed_at=ago(hours=3)
    )
    [note] = findings(replace(FLEET, failed_models=(part,)), LIMITS)

    assert (note.id, note.bad) == ("hosts:gpu-1.m", False)
    assert note.message == "pull of m on gpu-1 failed 3 h 0 min ago: no route"
    assert ids(replace(FLEET, failed_models=(part,), waiting=(waiting(),))) == ["hosts:gpu-1.m"]


def test_a_process_that_is_missed_is_judged_by_how_often_it_said_it_would_come() -> None:
    slow = replace(FLEET, pulses={**pulses(), "chores": pulse("chores", 74, every=15)})

    assert ids(slow) == []
    assert ids(replace(slow, pulses={**pulses(), "chores": pulse("chores", 76, every=15)})) == [
        "control:chores"
    ]

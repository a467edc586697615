"""What makes a soak fail."""

import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.soak.history import Again, Generation, Waste
from benchmarks.soak.verdict import Soaked, Stored, defects

ANSWER = Generation("job-1", "gpu-1", 1, 2, whole=True, tokens=9, crc=7)
STORED = Stored(
    states={"succeeded": 1},
    failures={},
    reruns={},
    late=0,
    doubled=[],
    custom_ids=["job-1"],
    unfinished=[],
    hosts={"job-1": "gpu-1"},
    crcs={"job-1": 7},
)


def soaked() -> Soaked:
    return Soaked(
        seed=1,
        submitted=["job-1"],
        seconds=240,
        troubles=Counter({"worker killed": 2}),
        restarts=2,
        stored=STORED,
        generations=[ANSWER],
        again=[],
        waste=Waste(1, 0),
        held=0,
        checker="",
        finished=True,
        defects=[],
    )


def test_a_soak_in_which_every_job_ended_once_is_fine() -> None:
    good = soaked()
    good.again = [Again(ANSWER, ANSWER, ran=0.3)]

    assert good.wrong() == []
    assert "lost 0, double 0, mixed up 0, checker clean" in good.figures()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"submitted": ["job-1", "job-2"]}, "1 jobs lost: job-2"),
        ({"stored": replace(STORED, unfinished=["job-1"])}, "1 jobs lost: job-1"),
        ({"stored": replace(STORED, doubled=["job-1"])}, "1 jobs done twice: job-1"),
        ({"stored": replace(STORED, crcs={"job-1": 8})}, "1 answers that no host gave: job-1"),
        ({"again": [Again(ANSWER, ANSWER, ran=5.0)]}, "generated again: job-1 by gpu-1, 5.0 s"),
        ({"checker": "counts differ"}, "caravan db check: counts differ"),
        ({"defects": ["worker: KeyError"]}, "1 defects in the logs: worker: KeyError"),
        ({"finished": False}, "it did not come to an end"),
    ],
)
def test_a_soak_fails_with_the_reason_in_words(change: dict[str, object], told: str) -> None:
    bad = soaked()

    for name, value in change.items():
        setattr(bad, name, value)

    assert [told in wrong for wrong in bad.wrong()] == [True]


def test_what_a_killed_host_had_answered_may_stand_in_no_diary() -> None:
    cut_short = soaked()

    cut_short.generations = [Generation("job-1", "gpu-1", 1, math.inf)]
    assert cut_short.mixed_up == []

    cut_short.generations = [Generation("job-1", "gpu-2", 1, math.inf)]
    assert cut_short.mixed_up == ["job-1"]


def test_a_defect_is_found_in_a_log(tmp_path: Path) -> None:
    (tmp_path / "worker-gpu-1.log").write_text("fine\nTask caravan.serve raised unexpected: KeyError(1)\n")

    assert defects(tmp_path) == ["worker-gpu-1: Task caravan.serve raised unexpected: KeyError(1)"]

"""The chart of the loop that serves a host against ``policy.serving.next_step``."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import product
from typing import Any

from tests.repo.docs.pages import blocks_of
from worker.policy.serving import End, HandedOver, Situation, Step, after_step, begin, next_step

[CHART] = blocks_of("mermaid", containing="[*] --> find_work")
ARROW = re.compile(r"^\s*(\S+) --> (\S+?)(?:: (.+))?$")

FIRST = begin(100.0, slots=2, linger=5.0, shared=True, admit_every=0.5)
EFFECTS: dict[Step, list[dict[str, Any]]] = {
    Step.FIND_WORK: [
        {},
        {"moved": True, "unfinished": 2},
        {"moved": True},
        {"moved": True, "intends": True},
        {"paused": True},
    ],
    Step.ADMIT: [{"admitted_at": 100.0}, {"admitted_at": 100.0, "moved": True}, {"intends": True}],
    Step.CHECK_SHARING: [{"sharing_check_at": 100.0}, {"gives_way": True}],
    Step.MEND: [{}, {"broken": False}],
    Step.COLLECT: [{}],
}
"""What a step may change of the situation. While the loop waits in COLLECT everything may change."""


def situations() -> Iterator[Situation]:
    """What the loop may find once it waited, and at its start."""
    handed = (HandedOver(2), HandedOver(2, alone=True), HandedOver(2, bulk=True))
    for unfinished, jobs, paused, broken, intends, seconds in product(
        (0, 1, 2), handed, (False, True), (False, True), (False, True), (0.0, 10.0)
    ):
        yield replace(
            FIRST,
            unfinished=unfinished,
            handed=jobs,
            paused=paused,
            broken=broken,
            intends=intends,
            idle_since=100.0 - seconds,
            sharing_check_at=100.0 - seconds,
            admitted_at=100.0 - seconds,
            job_seconds=0.1 if seconds else None,
        )


def arrows(starts: Iterable[tuple[str, Situation]]) -> set[tuple[str, str]]:
    """The arrows of the loop from these steps and situations, until it waits."""
    found, todo, done = set(), list(starts), set()
    while todo:
        name, now = todo.pop()
        if (name, now) in done:
            continue
        done.add((name, now))
        step = next_step(now)
        if isinstance(step, End):
            found.add((name, "[*]"))
            continue
        found.add((name, step.name.lower()))
        if step is not Step.COLLECT:
            changed = [after_step(replace(now, **effects), step) for effects in EFFECTS[step]]
            todo += [(step.name.lower(), now) for now in changed]
    return found


def test_the_arrows_of_the_chart_are_the_steps_that_follow_each_other() -> None:
    starts = [
        now for now in situations() if not now.unfinished and not now.intends and now.handed == FIRST.handed
    ]
    found = arrows([("[*]", now) for now in starts] + [("collect", now) for now in situations()]) - {
        ("[*]", "[*]")
    }
    drawn = [ARROW.match(line) for line in CHART.text.splitlines() if "-->" in line]

    assert {(match[1], match[2]) for match in drawn if match} == found


def test_whatever_runs_a_pass_ends_once_it_has_to() -> None:
    for now in situations():
        assert next_step(replace(now, ending="stopped")) == End("stopped")

"""The state diagram of the documents against the table of transitions."""

import re

from tests.repo.docs.pages import blocks_of, inline_code
from worker.domain.batches import BatchState
from worker.domain.jobs import FINAL, JobState
from worker.storage.transitions import arrows

[DIAGRAM] = blocks_of("mermaid", containing="[*] --> scheduled")
PAGE = DIAGRAM.page
ARROW = re.compile(r"^\s*(\S+) --> (\S+?)(?:: (\w+))?$")


def _arrows() -> list[tuple[str, str, str]]:
    """(from, to, verb) of every arrow; the verb is empty where none is given."""
    lines = [line for line in DIAGRAM.text.splitlines() if "-->" in line]
    found = [ARROW.match(line) for line in lines]
    assert all(found), [line for line, match in zip(lines, found, strict=True) if not match]
    return [(match[1], match[2], match[3] or "") for match in found if match]


def test_the_arrows_between_states_are_the_transitions() -> None:
    drawn = [arrow for arrow in _arrows() if "[*]" not in arrow]

    assert sorted(drawn) == sorted((str(was), str(then), verb) for was, verb, then in arrows())


def test_the_states_that_end_in_the_diagram_are_the_final_ones() -> None:
    assert {was for was, then, _ in _arrows() if then == "[*]"} == {str(state) for state in FINAL}


def test_the_diagram_begins_where_jobs_are_submitted() -> None:
    assert {(then, verb) for was, then, verb in _arrows() if was == "[*]"} == {("scheduled", "submit")}


def test_every_state_and_verb_is_named_on_the_page() -> None:
    named = set(inline_code(PAGE))

    assert {str(state) for state in (*JobState, *BatchState)} - named == set()
    assert {verb for _, verb, _ in arrows()} - named == set()

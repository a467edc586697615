"""A night's lines are the same for the same seed, and an eighth of them looks like the whole."""

import json
from collections import Counter
from itertools import pairwise

import pytest

from benchmarks.nights.workloads import QUESTIONS, WORKLOADS, Fleet, interleaved, zipf


@pytest.mark.parametrize("name", WORKLOADS)
def test_the_same_seed_gives_the_same_lines_and_another_gives_others(name: str) -> None:
    make = WORKLOADS[name]

    first, again, other = make(0.1, 1), make(0.1, 1), make(0.1, 2)

    assert first == again
    assert first.jobs != other.jobs
    assert len({job.custom_id for job in first.jobs}) == len(first.jobs)
    assert {job.model for job in first.jobs} == set(first.models)


def test_a_line_is_what_a_producer_writes() -> None:
    job = interleaved(0.1, 1).jobs[0]

    line = json.loads(job.line())

    assert (line["custom_id"], line["model"], line["prompt"]) == (job.custom_id, job.model, job.prompt)
    assert line["options"] == {"num_predict": 256}


def test_no_model_follows_itself_where_models_are_interleaved() -> None:
    models = [job.model for job in interleaved(0.2, 1).jobs]

    assert all(one != following for one, following in pairwise(models))


def test_the_first_model_of_zipf_is_asked_twice_as_often_as_the_second() -> None:
    asked = Counter(job.model for job in zipf(1.0, 1).jobs)

    first, second = (asked[model] for model in zipf(1.0, 1).models[:2])

    assert first == pytest.approx(2 * second, abs=2)
    assert sum(asked.values()) == pytest.approx(3_400, abs=10)


def test_documents_are_asked_question_by_question() -> None:
    workload = WORKLOADS["W7"](0.1, 1)

    documents = [job.prompt.rsplit("\n\n", 1) for job in workload.jobs]

    count = len(workload.jobs) // len(QUESTIONS)
    assert [question for _, question in documents[:count]] == [QUESTIONS[0]] * count
    assert len({text for text, _ in documents[:count]}) == count
    assert {text for text, _ in documents[:count]} == {text for text, _ in documents}


def test_a_part_is_the_first_lines_on_the_same_hosts() -> None:
    workload = interleaved(0.2, 1)

    part = workload.part(1 / 8)

    assert part.jobs == workload.jobs[: len(workload.jobs) // 8]
    assert part.fleet == workload.fleet


def test_a_host_with_all_slots_busy_gets_more_done_than_one_request_alone() -> None:
    fleet = Fleet(
        hosts=1,
        slots=4,
        tokens_per_second=10.0,
        prompt_tokens_per_second=100.0,
        slot_cost=0.25,
        time_scale=0.1,
    )

    seconds = fleet.host_seconds(prompt_tokens=50, output_tokens=11)

    alone = 0.5 + 1.0
    assert seconds == pytest.approx(alone * 0.1 * 1.75 / 4)
    assert fleet.load == pytest.approx(0.6)

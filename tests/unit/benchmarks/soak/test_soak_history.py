"""When an answer was generated again without need."""

import json
import math
import zlib
from pathlib import Path

import pytest
import requests

import simulator
from benchmarks.soak.history import (
    Generation,
    GivenUp,
    Presence,
    generated_again,
    read_diary,
    waste,
)


def whole(began: float, ended: float, host: str = "gpu-1", job: str = "job-1") -> Generation:
    return Generation(job, host, began, ended, whole=True, tokens=9, crc=7)


def test_a_job_that_was_answered_once_is_not_counted() -> None:
    cut_off = Generation("job-1", "gpu-1", 1.0, 2.0)

    assert generated_again([cut_off, whole(5, 6), whole(5, 6, job="job-2")], {}) == []


@pytest.mark.parametrize(
    ("presence", "ran"),
    [
        pytest.param(Presence(), 4.0, id="it-lived-on"),
        pytest.param(Presence(deaths=[3.0, 60.0]), 4.0, id="it-died-before-and-long-after"),
        pytest.param(Presence(deaths=[10.5]), 0.5, id="it-died-with-the-answer"),
        pytest.param(Presence(deaths=[9.2]), 0.0, id="it-died-while-the-host-was-stopped"),
        pytest.param(Presence(pauses=[(9.0, 13.5)]), 0.5, id="it-slept"),
        pytest.param(Presence(deaths=[12.0], pauses=[(10.5, 11.5)]), 1.0, id="it-slept-and-died"),
    ],
)
def test_an_answer_counts_as_had_when_a_worker_ran_on_after_it(presence: Presence, ran: float) -> None:
    (again,) = generated_again([whole(9, 10), whole(14, 15, host="gpu-2")], {"gpu-1": presence})

    assert again.ran == ran
    assert again.reached == (ran >= 2)


@pytest.mark.parametrize(
    ("given_up", "reached"),
    [
        pytest.param(GivenUp("job-1", "gpu-1", 1.0, 5.0), False, id="before-the-answer"),
        pytest.param(GivenUp("job-1", "gpu-1", 1.0, 30.0), True, id="another-end"),
        pytest.param(GivenUp("job-1", "gpu-2", 1.0, 5.0), True, id="on-another-host"),
        pytest.param(GivenUp("job-2", "gpu-1", 1.0, 5.0), True, id="another-job"),
        pytest.param(GivenUp("job-1", "gpu-1", 0.1, 0.5), True, id="an-earlier-attempt"),
    ],
)
def test_an_answer_that_comes_after_its_worker_gave_up_met_nobody(given_up: GivenUp, reached: bool) -> None:
    (again,) = generated_again([whole(1, 10), whole(20, 21)], {}, [given_up])

    assert again.reached == reached


def test_answers_that_overlap_met_nobody_in_time() -> None:
    (again,) = generated_again([whole(1, 30), whole(20, 40, host="gpu-2")], {})

    assert not again.reached


def test_waste_is_all_but_the_answer_that_was_stored() -> None:
    generations = [
        whole(0, 2, host="gpu-1"),
        whole(5, 9, host="gpu-2"),
        Generation("job-2", "gpu-1", 10, math.inf),
        Generation("job-3", "gpu-1", 10, 11),
    ]

    found = waste(generations, {"job-1": "gpu-2"}, {"gpu-1": [3.0, 13.0]})

    assert (found.seconds, found.wasted) == (10, 6)
    assert found.share == 0.6


def test_a_diary_tells_whole_answers_from_those_that_were_not(tmp_path: Path) -> None:
    path = tmp_path / "new" / "gpu-1.jsonl"
    settings = simulator.HostSettings(
        "gpu-1",
        simulator.demo_models(),
        time_scale=0,
        faults=(simulator.Fault("cut", prompt="job-2", after_chunks=2),),
        diary=path,
    )

    with simulator.running(settings) as (host,):
        for number in (1, 2):
            asked = {"model": "llama3.2:3b", "prompt": f"job-{number}: hello"}
            try:
                lines = requests.post(f"{host.url}/api/generate", json=asked, timeout=10).text.splitlines()
            except requests.RequestException:
                continue

    first, second = read_diary(path, "gpu-1")
    said = "".join(json.loads(line)["response"] for line in lines)
    assert (first.job, first.whole, second.job, second.whole) == ("job-1", True, "job-2", False)
    assert first.tokens > 0
    assert first.crc == zlib.crc32(said.encode())


def test_a_killed_hosts_last_generation_has_no_end(tmp_path: Path) -> None:
    path = tmp_path / "gpu-1.jsonl"
    path.write_text('{"at": 4.0, "began": "1-1", "model": "a", "prompt": "job-7: x"}\n')

    assert read_diary(path, "gpu-1") == [Generation("job-7", "gpu-1", 4.0, math.inf)]

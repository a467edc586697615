"""The places of an input's jobs: those of a dictionary, in a tenth of its memory."""

import tracemalloc
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.door.places import Places

IDS = st.sampled_from([f"c{n}" for n in range(30)])
MODELS = st.sampled_from(["m:1", "m:2"])


@pytest.fixture(autouse=True, scope="module")
def few_recent() -> Iterator[None]:
    """So few that most places are packed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("worker.door.places._RECENT", 7)
        yield


@given(st.lists(st.tuples(IDS, MODELS), max_size=200), st.integers(0, 200))
def test_the_places_of_the_last_jobs_are_kept(jobs: list[tuple[str, str]], last: int) -> None:
    places = Places()
    for place, job in enumerate(jobs, start=1):
        places.setdefault(*job, place)
    first = {job: place for place, job in reversed([*enumerate(jobs, start=1)])}

    places.forget(last)

    for job, place in first.items():
        assert places.get(*job) == (place if place > last else None)
        assert places.setdefault(*job, 500) == (place if place > last else 500)


@given(st.lists(st.tuples(IDS, MODELS), max_size=200))
def test_each_job_has_the_place_where_it_stood_first(jobs: list[tuple[str, str]]) -> None:
    places, expected = Places(), dict[tuple[str, str], int]()

    for place, job in enumerate(jobs, start=1):
        assert places.setdefault(*job, place) == expected.setdefault(job, place)

    for n in range(30):
        for model in ("m:1", "m:2"):
            assert places.get(f"c{n}", model) == expected.get((f"c{n}", model))


def test_many_jobs_keep_their_places_in_little_memory() -> None:
    many = 50_000
    tracemalloc.start()
    places = Places()
    for n in range(1, many + 1):
        places.setdefault(f"custom-id-{n}", "m:1", n)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert all(places.get(f"custom-id-{n}", "m:1") == n for n in range(1, many + 1, 97))
    assert held < 40 * many

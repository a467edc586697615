"""The places of an input's jobs: those of a dictionary, in a tenth of its memory."""

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from worker.door.places import Places

IDS = st.sampled_from([f"c{n}" for n in range(30)])
MODELS = st.sampled_from(["m:1", "m:2"])


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

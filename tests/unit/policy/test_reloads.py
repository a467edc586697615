"""When a job has loaded its runner as a side effect, and when the host is slow for each request."""

import pytest

from worker.policy.reloads import looks_reloaded


@pytest.mark.parametrize(
    ("seconds", "usual", "load", "reloaded"),
    [
        (0.9, [0.001], 12.0, False),  # nobody would notice
        (12.1, [0.001, 0.002], 12.0, True),
        (4.0, [0.001, 0.002], 30.0, True),  # the weights were still in the page cache
        (12.1, [], 12.0, True),  # the first job after a load
        (1.6, [], 3.0, False),  # a large vocabulary, of which nothing is known yet
        (1.7, [1.6, 1.5, 1.7], 3.0, False),
        (9.0, [1.6, 1.5, 1.7], 10.0, True),
        (12.1, [], None, False),  # it was there when the worker began: nothing to compare with
    ],
)
def test_a_reload_is_told_from_what_each_request_costs(
    seconds: float, usual: list[float], load: float | None, reloaded: bool
) -> None:
    assert looks_reloaded(seconds, usual=usual, load=load) is reloaded

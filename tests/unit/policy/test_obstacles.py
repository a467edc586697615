"""What keeps a host from jobs of a runner key, whatever they would pay."""

import pytest

from worker.policy.facts import HostFacts, Work
from worker.policy.picture import Obstacle, can_hold, obstacle

NOW = 1000.0
KEY = "m:1 num_ctx=8192"
WORK = Work(KEY, {}, model="m:1", memory=8)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        pytest.param(HostFacts("h"), None, id="nothing is known of it"),
        pytest.param(HostFacts("h", models=frozenset({"m:1"}), memory=8), None, id="it has all"),
        pytest.param(HostFacts("h", draining=True), Obstacle.RESTS, id="it takes nothing new"),
        pytest.param(
            HostFacts("h", resident={KEY: 1}, draining=True), Obstacle.RESTS, id="not even what is loaded"
        ),
        pytest.param(HostFacts("h", blocked={KEY: NOW + 1}), Obstacle.STEPS_BACK, id="it failed lately"),
        pytest.param(HostFacts("h", blocked={KEY: NOW}), None, id="it may be tried again"),
        pytest.param(
            HostFacts("h", blocked={"m:1 num_ctx=32768": NOW + 1}), None, id="a larger window failed"
        ),
        pytest.param(HostFacts("h", models=frozenset()), Obstacle.NO_MODEL, id="it has no model"),
        pytest.param(HostFacts("h", memory=7), Obstacle.NO_ROOM, id="it is too small"),
        pytest.param(HostFacts("h", memory=7, resident={KEY: 0}), None, id="it is loaded all the same"),
    ],
)
def test_a_host_takes_work_where_nothing_is_in_the_way(host: HostFacts, expected: Obstacle | None) -> None:
    assert obstacle(host, WORK, NOW) is expected
    assert can_hold(host, WORK, NOW) is (expected is None)

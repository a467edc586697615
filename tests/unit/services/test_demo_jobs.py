"""The jobs of the demo on a real host."""

import json

import pytest

from worker.domain.hosts import HostModel
from worker.errors import NoHost
from worker.stack.demo import demo_file, real_lines

VECTORS = HostModel("all-minilm:latest", "d1", False, 4096, size=45_000_000, capabilities=("embedding",))
SPEAKING = HostModel(
    "qwen2.5:0.5b", "d2", False, 4096, size=400_000_000, capabilities=("completion", "tools")
)
OLD = HostModel("old:latest", "d3", False, 4096, size=500_000_000)


def test_the_smallest_models_that_answer_prompts_are_asked() -> None:
    lines = real_lines(demo_file(), [OLD, VECTORS, SPEAKING])

    assert {json.loads(line)["model"] for line in lines} == {SPEAKING.name, OLD.name}


def test_a_host_that_only_makes_vectors_is_told_what_to_pull() -> None:
    with pytest.raises(NoHost, match="answers prompts"):
        real_lines(demo_file(), [VECTORS])

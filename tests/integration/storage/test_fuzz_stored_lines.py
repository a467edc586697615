"""Whatever the door lets in is stored on both databases, and comes back as it was let in."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api_schemas.jobs import JobDefaults, ParsedLine, read_job_line
from api_schemas.submissions import Submission
from tests.integration.storage.conftest import Store, a_result
from worker.domain.attempts import Succeeded
from worker.domain.selection import Selection
from worker.door.intake import Intake
from worker.storage.results import iter_results

DEFAULTS = JobDefaults(model="qwen3:8b")

texts = st.text(st.characters() | st.sampled_from("\0\ud800\udfff\ufeff\u2028\x1b\\\"'%"), max_size=12)
values = st.recursive(
    st.none()
    | st.booleans()
    | texts
    | st.integers()
    | st.integers(10**300, 10**301)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([-0.0, 1e308, 5e-324, 2**53 + 1, 0.1]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
nested = st.integers(1, 150).map(lambda depth: json.loads("[" * depth + "]" * depth))
jobs = st.fixed_dictionaries(
    {"prompt": texts.map(lambda text: "x" + text)},
    optional={
        "custom_id": texts.map(lambda text: "x" + text),
        "system": texts,
        "metadata": st.dictionaries(texts, values | nested, max_size=4),
        "options": st.fixed_dictionaries(
            {},
            optional={
                "seed": st.integers(-(2**53), 2**53),
                "stop": st.lists(texts.map(lambda t: "s" + t), max_size=2),
            },
        ),
        "format": st.fixed_dictionaries({"title": texts, "const": values}),
    },
)


@pytest.mark.fault(28)
@settings(
    max_examples=50,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(job=jobs)
def test_what_the_door_takes_is_stored_and_comes_back_alike(store: Store, job: dict[str, Any]) -> None:
    raw = json.dumps(job)
    parsed = read_job_line(raw, line=1, defaults=DEFAULTS)
    assert isinstance(parsed, ParsedLine), parsed
    [new] = Intake(Submission.of_defaults(DEFAULTS)).read([raw])
    batch = store.submit(new)

    [claimed] = store.claim(runner_key=new.runner_key)
    store.finish(claimed, Succeeded(a_result(answer=parsed.prompt)))

    [row] = iter_results(store.database, Selection(batch), long=["prompt"])
    assert (claimed.prompt, row.prompt, row.answer) == (parsed.prompt, parsed.prompt, parsed.prompt)
    assert claimed.request == parsed.request
    assert row.metadata == parsed.metadata
    assert row.custom_id == parsed.custom_id
    for text in (parsed.prompt, parsed.custom_id):
        assert "\0" not in text
        text.encode()


@pytest.mark.fault(28)
@pytest.mark.parametrize("odd", ["NaN", "Infinity", "-Infinity", "1e999", "9" * 5000, "[" * 300 + "]" * 300])
def test_what_no_database_could_hold_is_refused_at_the_door_by_its_line(odd: str) -> None:
    for field in (
        f'"metadata":{{"a":{odd}}}',
        f'"format":{{"const":{odd}}}',
        f'"options":{{"seed":{odd}}}',
        f'"x":{odd}',
    ):
        found = read_job_line(f'{{"prompt":"x",{field}}}', line=4, defaults=DEFAULTS)

        assert isinstance(found, list), field
        assert found[0].line == 4

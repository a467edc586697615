"""A name that stands twice in one object of a line."""

import pytest

from api_schemas.jobs import read_job_line
from api_schemas.json_text import NotJson, load_json
from tests.unit.api_schemas.lines import only, read


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        ('{"model":"m","prompt":"A","prompt":"B"}', "prompt"),
        ('{"model":"m","prompt":"A","pr\\u006fmpt":"B"}', "prompt"),
        ('{"model":"m","prompt":"A","options":{"seed":1,"seed":2}}', "seed"),
        ('{"model":"m","prompt":"A","metadata":{"a":{"id":1,"id":1}}}', "id"),
        ('{"model":"m","prompt":"A","metadata":{"a":[{"b":1,"c":2,"b":1}]}}', "b"),
        ('{"model":"m","prompt":"A","unknown":1,"unknown":1}', "unknown"),
        ('{"model":"m","prompt":"A NaN","prompt":"B"}', "prompt"),
        ('{"model":"m","prompt":"A","format":{"type":"object","type":"string"}}', "type"),
    ],
)
def test_a_name_that_stands_twice_is_refused_by_line_and_name(raw: str, name: str) -> None:
    field, code, message = only(raw)

    assert (field, code) == (name, "duplicate_field")
    assert "twice" in message


def test_one_name_in_several_objects_is_no_repetition() -> None:
    parsed = read('{"model":"m","prompt":"A","metadata":{"prompt":"B","l":[{"a":1},{"a":2}]}}')

    assert parsed.metadata == {"prompt": "B", "l": [{"a": 1}, {"a": 2}]}


def test_json_of_any_origin_is_read_by_the_same_rule() -> None:
    assert load_json('{"a": 9007199254740993, "b": null}') == {"a": 9007199254740993, "b": None}
    for wrong in ('{"a":1,"a":1}', '{"a":NaN}', "[Infinity]", "[" * 100_000, "9" * 5000, '{"a"'):
        with pytest.raises(NotJson):
            load_json(wrong)


def test_stream_is_taken_without_effect() -> None:
    for value in ("true", "false"):
        parsed = read_job_line(f'{{"model":"m","prompt":"A","stream":{value}}}', line=1)

        assert not isinstance(parsed, list)
        assert (parsed.request, parsed.ignored) == ({}, ("stream",))
    assert read('{"model":"m","prompt":"A","stream":null}').ignored == ()

"""Lines that say the same are validated once, and come out as if each had been."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api_schemas import line_reader
from api_schemas.job_problems import LineProblem
from api_schemas.jobs import JobDefaults, ParsedLine, overridden, read_job_line
from api_schemas.line_reader import MOST_KEPT, LineReader
from api_schemas.shapes import CHAT, EMBED, GENERATE
from tests.unit.api_schemas.test_fuzz_job_lines import DEFAULTS, lines, reproducible, values

SHAPES = (GENERATE, CHAT, EMBED)
own = st.fixed_dictionaries(
    {},
    optional={
        "custom_id": values | st.sampled_from(['"a"', '"b"', '" "', "null", f'"{"x" * 201}"']),
        "prompt": values | st.sampled_from(['"A: \\"b\\": c"', '"B\\n"', '"b\\\\"', '"\\u001c"', '" "']),
        "metadata": values | st.sampled_from(['{"a":1,"a":1}', '{"a":[{"b":1,"b":2}]}', '{"a" : "\\u0000"}']),
        "input": values,
        "kind": st.sampled_from(['"embed"', '"chat"', '"generate"']),
    },
)


def _with(line: str, fields: dict[str, str]) -> str:
    """The line with further fields, some of which it may have already."""
    more = ",".join(f'"{name}":{value}' for name, value in fields.items())
    return f"{line[:-1]}{',' if more and line != '{}' else ''}{more}}}"


@settings(reproducible, max_examples=120)
@given(lines, st.lists(own, min_size=2, max_size=6), st.booleans())
def test_any_line_comes_out_as_if_it_were_read_alone(
    line: str, many: list[dict[str, str]], override: bool
) -> None:
    reader = LineReader(DEFAULTS, SHAPES, override=override)

    for number, fields in enumerate([{}, *many, {}, *many], start=1):
        raw = _with(line, fields)
        expected = read_job_line(raw, line=number, defaults=DEFAULTS, shapes=SHAPES)
        if override and isinstance(expected, ParsedLine):
            expected = overridden(expected, DEFAULTS, shapes=SHAPES)
        assert reader.read(raw, number) == expected
        assert reader.read(raw.encode("utf-8", "surrogatepass"), number) == expected


def _raw(**fields: Any) -> str:
    return json.dumps({"model": "m", "prompt": "Hi", "options": {"seed": 1}} | fields)


def read(reader: LineReader, raw: str, line: int = 7) -> ParsedLine:
    parsed = reader.read(raw, line)
    assert isinstance(parsed, ParsedLine), parsed
    return parsed


def test_lines_that_say_the_same_are_validated_once(monkeypatch: pytest.MonkeyPatch) -> None:
    validated: list[int] = []

    def count(raw: bytes | str, *, line: int, **given: Any) -> ParsedLine | list[LineProblem]:
        validated.append(line)
        return read_job_line(raw, line=line, **given)

    monkeypatch.setattr(line_reader, "read_job_line", count)
    reader = LineReader()

    many = [
        read(reader, _raw(custom_id=f"a-{n}", prompt=f"Say: {n}", metadata={"n": n}), n) for n in range(1, 9)
    ]
    other = read(reader, _raw(options={"seed": 2}), 9)

    assert validated == [1, 9]
    assert many[-1][:4] == (8, "a-8", "Say: 8", {"n": 8})
    assert many[-1].request is many[0].request is not other.request


def test_what_is_kept_of_an_input_is_bounded() -> None:
    reader = LineReader()

    for n in range(3 * MOST_KEPT):
        assert read(reader, _raw(options={"seed": n})).request == {"options": {"seed": n}}

    assert len(reader._cache) <= MOST_KEPT


def test_what_is_given_for_all_lines_is_kept_with_them() -> None:
    deadline = datetime(2026, 12, 1, tzinfo=UTC)
    given = JobDefaults(options={"seed": 7, "top_k": 3}, deadline=deadline)
    filled, overriding = LineReader(given), LineReader(given, override=True)

    for prompt in ("A", "B"):
        line = read(filled, _raw(prompt=prompt))
        assert (line.prompt, line.deadline) == (prompt, deadline)
        assert line.request["options"] == {"seed": 1, "top_k": 3}
        assert read(overriding, _raw(prompt=prompt)).request["options"] == {"seed": 7, "top_k": 3}


@pytest.mark.parametrize("twice", ['"prompt":"A","prompt":"B"', '"prompt":"B","metadata":{"a":1,"a":2}'])
def test_a_name_that_stands_twice_is_refused_in_a_known_line_too(twice: str) -> None:
    reader = LineReader()
    read(reader, '{"model":"m","prompt":"A","metadata":{}}')
    read(reader, '{"model":"m","prompt":"A"}')

    found = reader.read(f'{{"model":"m",{twice}}}', 3)

    assert isinstance(found, list)
    assert [(problem.line, problem.code) for problem in found] == [(3, "duplicate_field")]

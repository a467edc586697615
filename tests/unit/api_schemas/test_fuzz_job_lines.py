"""Any line is a job, or problems that name the line and the field; soon, and in little memory."""

import json
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api_schemas.job_line import FIELDS
from api_schemas.job_problems import MOST_PROBLEMS, PROBLEM_CODES, LineProblem
from api_schemas.jobs import JobDefaults, ParsedLine, read_job_line
from api_schemas.options import Options

DEFAULTS = JobDefaults(model="m")
MB = 2**20

reproducible = settings(max_examples=300)

odd_numbers = st.sampled_from(
    [
        "NaN",
        "Infinity",
        "-Infinity",
        "1e999",
        "-0.0",
        "1E5",
        "4096.0",
        "9" * 400,
        "9" * 5000,
        "-1",
        "0.1e-400",
        "2147483648",
    ]
)
odd_texts = st.text(st.characters(), max_size=8).map(json.dumps) | st.sampled_from(
    [
        '"\\u0000"',
        '"\\ud800"',
        '"\\ud83d\\ude00"',
        '"1h"',
        '"0001-01-01T00:00:00+23:59"',
        '"json"',
        '"' + "1h" * 200 + '"',
    ]
)
values = st.recursive(
    odd_numbers | odd_texts | st.sampled_from(["null", "true", "false", "{}", "[]", "[" * 300 + "]" * 300]),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: "[" + ",".join(items) + "]")
        | st.dictionaries(odd_texts, inner, max_size=3).map(
            lambda items: "{" + ",".join(f"{key}:{value}" for key, value in items.items()) + "}"
        )
    ),
    max_leaves=6,
)
options = st.dictionaries(st.sampled_from([*Options.model_fields, "x"]), values, max_size=3).map(
    lambda items: "{" + ",".join(f'"{name}":{value}' for name, value in items.items()) + "}"
)
lines = st.dictionaries(st.sampled_from([*FIELDS, "x"]), values | options, max_size=4).map(
    lambda items: (
        "{" + ",".join(f'"{name}":{value}' for name, value in ({"prompt": '"Hi"'} | items).items()) + "}"
    )
)


def checked(found: ParsedLine | list[LineProblem], number: int) -> None:
    if isinstance(found, ParsedLine):
        stored = json.dumps(
            [found.prompt, found.request, found.metadata, found.custom_id],
            ensure_ascii=False,
            allow_nan=False,
        )
        stored.encode()
        assert "\\u0000" not in stored
        return
    assert 0 < len(found) <= MOST_PROBLEMS
    for problem in found:
        assert problem.line == number
        assert problem.code in PROBLEM_CODES
        assert len(problem.message) < 2000
        assert not problem.field or problem.field in problem.message


@reproducible
@given(lines, st.integers(1, 10**6))
def test_a_line_of_any_values_is_a_job_or_a_problem_with_line_and_field(line: str, number: int) -> None:
    checked(read_job_line(line, line=number, defaults=DEFAULTS), number)
    checked(read_job_line(line.encode("utf-8", "surrogatepass"), line=number, defaults=DEFAULTS), number)


@reproducible
@given(lines, st.data())
def test_a_line_with_bytes_put_in_or_left_out_is_a_job_or_a_problem(line: str, data: st.DataObject) -> None:
    raw = line.encode()
    place, removed = data.draw(st.integers(0, len(raw))), data.draw(st.integers(0, 10))

    checked(
        read_job_line(
            raw[:place] + data.draw(st.binary(max_size=6)) + raw[place + removed :], line=1, defaults=DEFAULTS
        ),
        1,
    )


def _unknown_fields(size: int) -> str:
    return ",".join(f'"{n:x}":1' for n in range(size // 40))


BITES: dict[str, tuple[Callable[[int], str], str, str]] = {
    "unknown fields": (lambda size: _unknown_fields(size), "", "too_large"),
    "unknown options": (
        lambda size: '"options":{' + _unknown_fields(size) + "}",
        "options",
        "too_large",
    ),
    "images of numbers": (lambda size: '"images":[' + "1," * (2 * size) + "1]", "", "too_large"),
    "too many images": (lambda size: '"images":[' + '"AAAA",' * 64 + '"AAAA"]', "images", "too_large"),
    "empty stops": (
        lambda size: '"options":{"stop":[' + '"",' * 30_000 + '""]}',
        "options.stop[0]",
        "blank",
    ),
    "too many stops": (
        lambda size: '"options":{"stop":[' + '"x",' * 64 + '"x"]}',
        "options.stop",
        "too_large",
    ),
    "a long stop": (lambda size: '"options":{"stop":["' + "x" * 1001 + '"]}', "options.stop[0]", "too_large"),
    "a context of texts": (lambda size: '"context":[' + '"",' * 60_000 + "1]", "context[0]", "wrong_type"),
    "lists in metadata": (lambda size: '"metadata":{"a":[' + "[]," * (2 * size) + "1]}", "", "too_large"),
    "much metadata": (lambda size: '"metadata":{"a":"' + "é" * (5 * MB) + '"}', "metadata", "too_large"),
    "a long schema": (lambda size: '"format":{"enum":["' + "x" * 70_000 + '"]}', "format", "invalid_value"),
    "a long model": (lambda size: f'"model":"{"x" * size}"', "model", "too_large"),
    "a long duration": (lambda size: f'"keep_alive":"{"1h" * (size // 2)}"', "keep_alive", "invalid_value"),
    "a number beyond every float": (lambda size: f'"keep_alive":{"9" * 400}', "keep_alive", "invalid_value"),
    "a number of thousands of digits": (lambda size: f'"metadata":{{"a":{"9" * 5000}}}', "", "invalid_json"),
    "a long name": (lambda size: f'"{"x" * size}":1', "x" * 79 + "…", "unknown_field"),
    "a text of quotes without end": (lambda size: '"x":"' + '\\"' * (size // 2), "", "invalid_json"),
    "levels": (lambda size: '"metadata":' + "[" * size, "", "too_large"),
    "a long custom_id": (lambda size: f'"custom_id":"{"x" * 201}"', "custom_id", "too_large"),
    "a long prompt": (lambda size: f'"prompt":"{"x" * (4 * MB + 1)}"', "prompt", "too_large"),
    "a long system": (lambda size: f'"system":"{"é" * (2 * MB + 1)}"', "system", "too_large"),
}


@pytest.mark.fault(26)
@pytest.mark.parametrize("bite", BITES)
def test_a_line_that_bites_is_refused_soon_by_field_and_in_little_memory(bite: str) -> None:
    make, field, code = BITES[bite]
    made = make(2 * MB)
    raw = ("{" + ("" if made.startswith('"prompt"') else '"prompt":"x",') + made + "}").encode()
    tracemalloc.start()
    began = time.process_time()

    found = read_job_line(raw, line=7, defaults=DEFAULTS)

    took = time.process_time() - began
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert isinstance(found, list)
    assert (found[0].line, found[0].field, found[0].code) == (7, field, code), found[0].message
    assert most < max(128 * MB, 12 * len(raw))
    assert took < 30


@pytest.mark.fault(26)
def test_a_line_over_the_limit_is_refused_before_anything_is_made_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("api_schemas.jobs.MAX_LINE_BYTES", MB)
    raw = b'{"prompt":"' + b"x" * (2 * MB) + b'"}'
    tracemalloc.start()

    found = read_job_line(raw, line=3, defaults=DEFAULTS)

    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert isinstance(found, list)
    assert str(found[0]) == "line 3: 2,097,165 bytes, a line may have at most 1,048,576"
    assert most < MB


def test_a_context_longer_than_any_window_is_refused() -> None:
    raw = '{"prompt":"x","context":[' + "1," * 2**20 + "1]}"

    found = read_job_line(raw, line=1, defaults=DEFAULTS)

    assert isinstance(found, list)
    assert str(found[0]) == "line 1: context: more than 1,048,576 entries, which is the most that are allowed"


def test_a_context_of_a_whole_window_and_images_within_the_bounds_are_taken() -> None:
    fields: dict[str, Any] = {
        "prompt": "x",
        "context": list(range(262_144)),
        "context_digest": "a" * 64,
        "images": ["AAAA"] * 64,
        "options": {"stop": ["x" * 1000] * 64},
        "metadata": {str(n): n for n in range(5_000)},
    }

    found = read_job_line(json.dumps(fields), line=1, defaults=DEFAULTS)

    assert isinstance(found, ParsedLine)
    assert len(found.request["context"]) == 262_144
    assert found.metadata == fields["metadata"]

"""Short ways to read a line in a test; every line is line 7."""

import json
from typing import Any

from api_schemas.job_problems import LineProblem
from api_schemas.jobs import ParsedLine, read_job_line


def read(raw: bytes | str, **given: Any) -> ParsedLine:
    parsed = read_job_line(raw, line=7, **given)
    assert isinstance(parsed, ParsedLine), parsed
    return parsed


def problems(raw: bytes | str, **given: Any) -> list[LineProblem]:
    found = read_job_line(raw, line=7, **given)
    assert isinstance(found, list), found
    assert found
    return found


def line(**fields: Any) -> str:
    return json.dumps({"model": "qwen3:8b", "prompt": "Hi"} | fields, ensure_ascii=False)


def only(raw: bytes | str, **given: Any) -> tuple[str, str, str]:
    (problem,) = problems(raw, **given)
    assert problem.line == 7
    return problem.field, problem.code, problem.message

import json
import re
from pathlib import Path

import jsonschema
import pytest

from api_schemas.job_line import FIELDS
from api_schemas.job_problems import PROBLEM_CODES
from api_schemas.jobs import ParsedLine, read_job_line
from api_schemas.options import Options
from api_schemas.publish import schemas, tables
from api_schemas.results import ResultLine

DOCS = Path(__file__).parents[3] / "docs"
WIRE = "".join(
    (DOCS / f"reference/{name}.md").read_text(encoding="utf-8") for name in ("job_lines", "result_lines")
)


def examples(language: str) -> list[str]:
    blocks = re.findall(rf"```{language}\n(.*?)```", WIRE, re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


def test_every_field_option_and_code_has_its_row() -> None:
    rows = tables()

    assert all(f"| `{field}`" in rows["job line"] for field in FIELDS)
    assert all(f"`{option}`" in rows["options"] for option in Options.model_fields)
    assert all(f"`{code}`" in rows["problems"] for code in PROBLEM_CODES)
    assert all(not row.endswith("|  |") for row in rows["options"].splitlines())


@pytest.mark.parametrize("line", examples("json"))
def test_every_example_is_a_job_for_the_code_and_for_the_schema(line: str) -> None:
    parsed = read_job_line(line, line=1)

    assert isinstance(parsed, ParsedLine), parsed
    assert parsed.notes == ()
    jsonschema.validate(json.loads(line), schemas()["job_line"])


def test_every_refusal_reads_as_the_document_has_it() -> None:
    block = examples("refused")

    for number, (line, said) in enumerate(zip(block[::2], block[1::2], strict=True), start=1):
        found = read_job_line(line, line=number)
        assert isinstance(found, list)
        assert [str(problem) for problem in found] == [said]


@pytest.mark.parametrize("line", examples("result"))
def test_the_result_example_is_a_whole_result_line(line: str) -> None:
    result = ResultLine.model_validate_json(line)

    assert json.loads(line).keys() == ResultLine.model_fields.keys() - {"logprobs", "tool_calls", "embedding"}
    jsonschema.validate(json.loads(result.model_dump_json()), schemas()["result_line"])


@pytest.mark.parametrize(
    "line",
    [
        '{"model": "m"}',
        '{"model": "m", "prompt": " "}',
        '{"model": "m", "prompt": "Hi", "options": {"num_ctxt": 1}}',
        '{"model": "m", "prompt": "Hi", "keep_alive": "10"}',
        '{"model": "m", "prompt": "Hi", "think": "yes"}',
        '{"model": "m", "prompt": "Hi", "context": [1]}',
        '{"model": "m", "prompt": "Hi", "options": {"num_ctx": 0}}',
    ],
)
def test_what_the_code_refuses_the_schema_refuses_too(line: str) -> None:
    assert isinstance(read_job_line(line, line=1), list)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(json.loads(line), schemas()["job_line"])

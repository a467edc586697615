from typing import Any

import pytest

from api_schemas.jobs import JobDefaults
from tests.unit.api_schemas.lines import line, only, problems, read


@pytest.mark.parametrize(
    ("fields", "code", "message"),
    [
        (
            {"options": {"num_ctxt": 1}},
            "unknown_field",
            "options.num_ctxt: unknown option; did you mean num_ctx?",
        ),
        (
            {"options": {"numCtx": 1}},
            "unknown_field",
            "options.numCtx: unknown option; did you mean num_ctx?",
        ),
        (
            {"options": {"max_tokens": 1}},
            "unknown_field",
            "options.max_tokens: unknown option; write options.num_predict",
        ),
        (
            {"options": {"think": True}},
            "unknown_field",
            "options.think: not an option; write think beside options, not inside",
        ),
        ({"sytem": "x"}, "unknown_field", "sytem: unknown field; did you mean system?"),
        (
            {"System": "x"},
            "unknown_field",
            "System: unknown field; did you mean system?",
        ),
        (
            {"temperature": 0.1},
            "unknown_field",
            "temperature: unknown field; it is an option: write it inside options",
        ),
        (
            {"temprature": 0.1},
            "unknown_field",
            "temprature: unknown field; did you mean options.temperature?",
        ),
        (
            {"max_tokens": 5},
            "unknown_field",
            "max_tokens: unknown field; write options.num_predict",
        ),
        (
            {"stream": "false"},
            "wrong_type",
            'stream: expected true or false, got "false" (a text)',
        ),
        (
            {"options": {"num_ctx": "4096"}},
            "wrong_type",
            'options.num_ctx: expected a whole number, got "4096" (a text)',
        ),
        (
            {"options": {"num_ctx": 4096.5}},
            "wrong_type",
            "options.num_ctx: expected a whole number, got 4096.5",
        ),
        (
            {"options": {"num_ctx": True}},
            "wrong_type",
            "options.num_ctx: expected a whole number, got true",
        ),
        (
            {"options": {"use_mmap": 1}},
            "wrong_type",
            "options.use_mmap: expected true or false, got 1",
        ),
        (
            {"options": {"temperature": "hot"}},
            "wrong_type",
            'options.temperature: expected a number, got "hot" (a text)',
        ),
        (
            {"options": {"stop": "x"}},
            "wrong_type",
            'options.stop: expected a list, such as ["x"], got "x" (a text)',
        ),
        (
            {"options": {"stop": ["x", 1]}},
            "wrong_type",
            "options.stop[1]: expected a text, got 1",
        ),
        ({"options": {"stop": [""]}}, "blank", "options.stop[0]: empty"),
        ({"options": []}, "wrong_type", "options: expected an object, got a list"),
        (
            {"options": {"num_ctx": 0}},
            "out_of_range",
            "options.num_ctx: expected at least 1, got 0",
        ),
        (
            {"options": {"top_p": 1.5}},
            "out_of_range",
            "options.top_p: expected at most 1, got 1.5",
        ),
        (
            {"options": {"repeat_penalty": 0}},
            "out_of_range",
            "options.repeat_penalty: expected more than 0, got 0",
        ),
        (
            {"top_logprobs": 21},
            "out_of_range",
            "top_logprobs: expected at most 20, got 21",
        ),
        (
            {"keep_alive": "-1"},
            "invalid_value",
            'keep_alive: "-1" has no unit: write -1 (a number of seconds) or "-1s"',
        ),
        (
            {"think": "yes"},
            "invalid_value",
            'think: expected true, false, "high", "medium", "low" or "max", got "yes" (a text)',
        ),
        (
            {"format": "xml"},
            "invalid_value",
            'format: expected "json" or a JSON Schema object, got "xml"',
        ),
        (
            {"priority": "urgent"},
            "invalid_value",
            "priority: expected 'interactive', 'high', 'normal' or 'bulk', got \"urgent\"",
        ),
        ({"custom_id": 5}, "wrong_type", "custom_id: expected a text, got 5"),
        ({"custom_id": ""}, "blank", "custom_id: empty"),
        (
            {"custom_id": "x" * 201},
            "too_large",
            "custom_id: 201 characters, at most 200 are allowed",
        ),
        ({"metadata": [1]}, "wrong_type", "metadata: expected an object, got a list"),
        ({"prompt": " \n\t"}, "blank", "prompt: blank"),
        ({"prompt": ""}, "blank", "prompt: blank"),
        ({"prompt": None}, "missing", "prompt: missing"),
        ({"model": 5}, "wrong_type", "model: expected a text, got 5"),
        ({"model": ""}, "missing", "model: empty; name one, such as qwen3:8b"),
        (
            {"images": ["@@@@"]},
            "invalid_value",
            "images[0]: expected the base64 of an image file",
        ),
        (
            {"images": ["https://example.org/a.png"]},
            "invalid_value",
            "images[0]: hosts fetch no images: expected the base64 of an image file, got a URL",
        ),
        (
            {"images": ["data:image/png;base64,aGk="]},
            "invalid_value",
            "images[0]: expected bare base64: leave out the part up to the comma (data:…,)",
        ),
        (
            {"raw": True, "system": "x"},
            "conflict",
            "raw: sends the prompt as it is, which excludes system",
        ),
        (
            {"messages": [], "prompt": "x"},
            "unknown_field",
            "messages: unknown field; a line with messages has no prompt: write it as the last message",
        ),
    ],
)
def test_a_wrong_field_is_named_with_what_was_expected(
    fields: dict[str, Any], code: str, message: str
) -> None:
    assert only(line(**fields)) == (message.partition(":")[0], code, message)


@pytest.mark.parametrize("model", ["bad name!", "a/b/c/d", "-x", "m:", ":8b", "x" * 81])
def test_what_cannot_be_a_models_name_is_refused(model: str) -> None:
    assert only(line(model=model))[:2] == ("model", "invalid_value")


@pytest.mark.parametrize(
    "model",
    ["m", "qwen3:8b", "user/m:tag", "hf.co/org/m:Q4_K_M", "localhost:5000/ns/m"],
)
def test_every_form_of_a_models_name_is_taken(model: str) -> None:
    assert read(line(model=model)).model == model


@pytest.mark.parametrize("model", ["gpt-oss:120b-cloud", "kimi:cloud", "ns/m:Cloud", "m:8b:cloud"])
def test_a_cloud_model_is_refused_since_prompts_would_leave_the_house(
    model: str,
) -> None:
    field, code, message = only(line(model=model))

    assert (field, code) == ("model", "cloud_model")
    assert "prompts would leave your machines" in message


def test_a_missing_model_is_refused_unless_there_is_a_default() -> None:
    raw = '{"prompt": "Hi"}'

    assert only(raw) == (
        "model",
        "missing",
        "model: missing; name one on the line or give a default for all",
    )
    assert read(raw, defaults=JobDefaults(model="m")).model == "m"


def test_a_missing_prompt_and_the_misspelt_one_are_both_named() -> None:
    found = problems('{"model": "m", "promt": "Hi"}')

    assert [(one.field, one.code) for one in found] == [
        ("prompt", "missing"),
        ("promt", "unknown_field"),
    ]
    assert str(found[1]) == "line 7: promt: unknown field; did you mean prompt?"


def test_all_that_is_wrong_with_a_line_is_said_at_once_up_to_a_limit() -> None:
    assert len(problems(line(options={"num_ctx": "1", "seed": "2"}, think=3, raw="no"))) == 4
    assert len(problems(line(**{f"x{n}": 1 for n in range(100)}))) == 20


@pytest.mark.parametrize(
    "deadline",
    [
        "2026-12-01",
        "2026-12-01T06:00:00",
        "tomorrow",
        "1700000000",
        1700000000,
        True,
        "0001-01-01T00:00:00+14:00",
    ],
)
def test_a_deadline_without_an_hour_that_all_agree_on_is_refused(
    deadline: object,
) -> None:
    assert only(line(deadline=deadline))[:2] == ("deadline", "invalid_value")


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "nonsense"},
        {"$ref": "#/nope"},
        {"$ref": "https://example.org/schema.json"},
        {"properties": {"a": {"type": 5}}},
    ],
)
def test_a_format_that_is_no_schema_or_points_nowhere_is_refused(
    schema: dict[str, Any],
) -> None:
    assert only(line(format=schema))[:2] == ("format", "invalid_value")


def test_a_schema_with_definitions_is_taken() -> None:
    schema = {
        "$defs": {"name": {"type": "string"}},
        "type": "object",
        "properties": {"n": {"$ref": "#/$defs/name"}},
    }

    assert read(line(format=schema)).request["format"] == schema


def test_a_context_needs_the_digest_of_its_weights() -> None:
    assert only(line(context=[1, 2]))[:2] == ("context_digest", "missing")
    assert read(line(context=[])).request == {"context": []}


def test_a_line_of_another_interface_gets_one_answer_that_says_what_to_do() -> None:
    _, code, message = only(
        '{"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": {"messages": []}}'
    )

    assert code == "unsupported_format"
    assert "prompt" in message

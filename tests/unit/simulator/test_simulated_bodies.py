"""How bodies, options, durations, names and formats are read."""

import json
from typing import Any

import pytest

from simulator import Line
from simulator.bodies import BadRequest, read_generate
from simulator.durations import FOREVER, BadDuration, keep_alive_seconds, parse_duration
from simulator.gojson import BadJson, dumps, loads, string
from simulator.grammar import BadFormat, Position, grammar_of
from simulator.names import BadName, parse_name, without_source
from simulator.options import BadOption, differ, resolved
from simulator.schema import example_of
from simulator.thinking import ThinkingParser
from simulator.tokens import END, ScriptedVocabulary


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ('{"model":', "unexpected EOF"),
        ("nope", "invalid character 'o' in literal null (expecting 'u')"),
        ("{,}", "invalid character ',' looking for beginning of object key string"),
        ('{"a" 1}', "invalid character '1' after object key"),
        ('{"a":1 "b"}', "invalid character '\"' after object key:value pair"),
        ("[1 2]", "invalid character '2' after array element"),
        ("<", "invalid character '<' looking for beginning of value"),
        ('{"a":01}', "invalid character '1' after object key:value pair"),
        ('{"a":"\\x"}', "invalid character 'x' in string escape code"),
        ('{"a":NaN}', "invalid character 'N' looking for beginning of value"),
        ("-", "unexpected EOF"),
    ],
)
def test_a_body_that_is_no_json_is_refused_in_the_words_of_go(body: str, error: str) -> None:
    with pytest.raises(BadJson) as caught:
        loads(body.encode())

    assert str(caught.value) == error


def test_what_follows_the_first_value_is_ignored_and_half_characters_are_replaced() -> None:
    assert loads(b'{"a":1} trailing') == {"a": 1}
    assert loads(b'"a\\ud800b\xff"') == "a\ufffdb\ufffd"
    assert loads(b'"\\ud83d\\ude00"') == "😀"


def test_html_characters_are_escaped_as_go_does() -> None:
    assert string("<a>&\u2028") == '"\\u003ca\\u003e\\u0026\\u2028"'
    assert dumps({"k": ["天", "<"]}) == '{"k":["天","\\u003c"]}'


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        (5, 5.0),
        (0.5, 0.5),
        (0, 0.0),
        ("0", 0.0),
        ("5m", 300.0),
        ("1h30m", 5_400.0),
        ("300ms", 0.3),
        ("1.5h", 5_400.0),
        (-1, FOREVER),
        ("-1s", FOREVER),
        (1e12, 0.0),
    ],
)
def test_a_keep_alive_is_read(value: object, seconds: float | None) -> None:
    assert keep_alive_seconds(value) == seconds


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ("10", 'time: missing unit in duration "10"'),
        ("-1", 'time: missing unit in duration "-1"'),
        ("", 'time: invalid duration ""'),
        ("abc", 'time: invalid duration "abc"'),
        ("5 minutes", 'time: unknown unit " minutes" in duration "5 minutes"'),
        (True, "Unsupported type: 'bool'"),
        ({}, "Unsupported type: 'map[string]interface {}'"),
    ],
)
def test_a_bad_keep_alive_is_refused(value: object, error: str) -> None:
    with pytest.raises(BadDuration) as caught:
        keep_alive_seconds(value)

    assert str(caught.value) == error
    with pytest.raises(BadRequest):
        read_generate(json.dumps({"keep_alive": value}).encode())


def test_durations_may_have_signs_and_fractions() -> None:
    assert [parse_duration(text) for text in ("+1s", "-1.5s", ".5s", "1us")] == [1.0, -1.5, 0.5, 1e-6]


def test_keys_match_in_any_case_and_unknown_ones_are_ignored() -> None:
    asked = read_generate(b'{"MODEL":"m","Prompt":"p","promt":"x","stream":null,"think":"high"}')

    assert (asked.model, asked.prompt, asked.stream) == ("m", "p", True)
    assert asked.think is not None and (asked.think.on, asked.think.level) == (True, "high")


@pytest.mark.parametrize(
    "name", ["llama3.2:3b", "me/model:tag", "host:5000/me/model", "hf.co/me/model-GGUF:Q4_K_M"]
)
def test_a_name_is_shown_without_what_is_usual(name: str) -> None:
    shown = parse_name(name).short

    assert shown == (name if ":" in name.rpartition("/")[2] else f"{name}:latest")


@pytest.mark.parametrize("name", ["bad name!", "", "a:", "/x", "x" * 81])
def test_a_bad_name_is_refused(name: str) -> None:
    with pytest.raises(BadName):
        parse_name(name)


def test_a_name_asks_for_the_cloud_or_for_here_but_not_for_both() -> None:
    assert without_source("gpt-oss:120b-cloud") == ("gpt-oss:120b-cloud", True)
    assert without_source("llama:local") == ("llama", False)
    with pytest.raises(BadName, match="not both"):
        without_source("m:cloud:local")


def _options(line: Line, request: dict[str, Any], modelfile: dict[str, Any] | None = None) -> Any:
    return resolved(modelfile or {}, request, line=line, trained_context=8_192, default_num_ctx=4_096).runner


@pytest.mark.parametrize(
    ("loaded", "wanted", "reloads_on_o", "reloads_on_h"),
    [
        ({}, {}, False, False),
        ({}, {"num_ctx": 4_096}, False, False),
        ({}, {"num_ctx": 2_048}, True, True),
        ({"num_ctx": 2_048}, {}, True, True),
        ({"num_ctx": 100_000}, {"num_ctx": 131_072}, True, False),
        ({"num_gpu": 0}, {}, False, False),
        ({}, {"num_gpu": 0}, True, True),
        ({}, {"main_gpu": 0}, False, True),
        ({}, {"use_mmap": True}, True, True),
        ({}, {"num_thread": 2}, True, True),
        ({}, {"num_batch": 256}, True, True),
        ({}, {"draft_num_predict": 2}, False, True),
        ({}, {"temperature": 1, "seed": 3, "stop": ["x"], "num_keep": 9}, False, False),
    ],
)
def test_runner_options_decide_on_a_reload(
    loaded: dict[str, Any], wanted: dict[str, Any], reloads_on_o: bool, reloads_on_h: bool
) -> None:
    lines: tuple[tuple[Line, bool], ...] = (("O", reloads_on_o), ("H", reloads_on_h))
    for line, reloads in lines:
        assert differ(_options(line, loaded), _options(line, wanted), line) is reloads


def test_a_request_goes_over_the_modelfile_and_that_over_the_defaults() -> None:
    options = _options("O", {"num_thread": 3}, {"num_ctx": 2_048, "num_thread": 1})

    assert (options.num_ctx, options.num_thread, options.num_batch) == (2_048, 3, 512)


def test_an_option_of_the_wrong_type_is_refused_by_name() -> None:
    with pytest.raises(BadOption, match='option "num_ctx" must be of type integer'):
        _options("O", {"num_ctx": "4096"})


def test_reasoning_is_split_at_the_first_tags_only() -> None:
    parser = ThinkingParser("<think>", "</think>")
    fed = ["\n<thi", "nk>", "\n", "so ", "it</th", "ink>", "\n\n", "The <think>", " end</think>"]

    split = [parser.add(piece) for piece in fed]

    assert "".join(thinking for thinking, _ in split) == "so it"
    assert "".join(content for _, content in split) == "The <think> end</think>"


def test_an_answer_without_a_tag_at_its_start_is_all_content() -> None:
    parser = ThinkingParser("<think>", "</think>")

    assert [parser.add("  Sure"), parser.add(" <think>")] == [("", "  Sure"), ("", " <think>")]


def test_a_prompt_that_opened_the_tag_makes_all_of_it_reasoning() -> None:
    parser = ThinkingParser("<think>", "</think>", opened=True)

    assert [parser.add(" it is "), parser.add("fine</thi")] == [("it is ", ""), ("fine", "")]


@pytest.mark.parametrize("line", ["O", "H"])
@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
        {"type": "array", "items": {"enum": ["x", "y"]}, "minItems": 2},
        {"anyOf": [{"type": "boolean"}, {"const": 7}]},
        {"$defs": {"n": {"type": "number"}}, "type": "object", "properties": {"v": {"$ref": "#/$defs/n"}}},
    ],
)
def test_a_constrained_answer_fits_its_schema(schema: dict[str, Any], line: Line) -> None:
    vocabulary = ScriptedVocabulary({263: "Sure", 264: ": "})
    grammar = grammar_of(schema, line)
    assert grammar is not None
    position = Position(grammar)

    said: list[int] = []
    while END not in said and len(said) < 200:
        said.append(position.choose(263, vocabulary))

    assert said[-1] == END
    json.loads(vocabulary.decode(said))
    json.loads(example_of(schema, 5, 40))


@pytest.mark.parametrize(
    ("format", "error"),
    [
        ("xml", 'invalid format: "\\"xml\\""; expected "json" or a valid JSON Schema object'),
        (3, 'invalid format: "3"; expected "json" or a valid JSON Schema object'),
        ({"type": "nonsense"}, "invalid JSON schema in format"),
        (
            {"properties": {"a": {"type": "string", "pattern": "[a-z]+"}}, "required": ["a"]},
            "invalid JSON schema in format",
        ),
    ],
)
def test_a_bad_format_is_refused(format: object, error: str) -> None:
    with pytest.raises(BadFormat) as caught:
        grammar_of(format, "O")

    assert str(caught.value) == error

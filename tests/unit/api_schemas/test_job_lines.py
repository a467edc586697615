import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api_schemas.jobs import (
    JobDefaults,
    ParsedLine,
    check_defaults,
    read_job_line,
)
from tests.unit.api_schemas.lines import line, only, problems, read

reproducible = settings(max_examples=200)


def test_the_shortest_line_is_a_job_with_a_name_and_normal_priority() -> None:
    parsed = read(b'{"model": "qwen3:8b", "prompt": "Hi"}\n')

    assert parsed == ParsedLine(7, "line-7", "Hi", None, "qwen3:8b", 2, None, {}, ())


def test_every_field_of_a_line_finds_its_place() -> None:
    parsed = read(
        line(
            custom_id="doc-1",
            priority="interactive",
            deadline="2026-12-01T06:00:00+01:00",
            metadata={"a": [1, None, {"b": "ü"}]},
            system="Be brief.",
            template="{{ .Prompt }}",
            suffix="end",
            images=["aGk="],
            format={"type": "object"},
            options={
                "num_ctx": 8192,
                "temperature": 0,
                "stop": ["\n\n"],
                "use_mmap": True,
            },
            think="high",
            raw=False,
            keep_alive="10m",
            truncate=True,
            shift=True,
            context=[1, 2],
            context_digest="a" * 64,
            logprobs=True,
            top_logprobs=5,
        )
    )

    assert parsed == ParsedLine(
        line=7,
        custom_id="doc-1",
        model="qwen3:8b",
        prompt="Hi",
        priority=0,
        deadline=datetime(2026, 12, 1, 5, tzinfo=UTC),
        metadata={"a": [1, None, {"b": "ü"}]},
        request={
            "suffix": "end",
            "images": ["aGk="],
            "system": "Be brief.",
            "template": "{{ .Prompt }}",
            "context": [1, 2],
            "format": {"type": "object"},
            "options": {
                "num_ctx": 8192,
                "use_mmap": True,
                "temperature": 0.0,
                "stop": ["\n\n"],
            },
            "think": "high",
            "raw": False,
            "keep_alive": "10m",
            "truncate": True,
            "shift": True,
            "logprobs": True,
            "top_logprobs": 5,
            "context_digest": "a" * 64,
        },
    )


def test_the_deadline_is_in_utc() -> None:
    deadline = read(line(deadline="2026-12-01T06:00:00+08:00")).deadline

    assert deadline is not None
    assert deadline.utcoffset() == timedelta(0)


def test_null_is_the_same_as_leaving_a_field_out() -> None:
    parsed = read(
        line(
            system=None,
            options={"num_ctx": None},
            keep_alive=None,
            custom_id=None,
            priority=None,
        )
    )

    assert parsed == ParsedLine(7, "line-7", "Hi", None, "qwen3:8b", 2, None, {}, ())


def test_defaults_fill_gaps_only_and_options_one_by_one() -> None:
    defaults = JobDefaults(
        model="llama3",
        system="Be brief.",
        options={"num_ctx": 4096, "temperature": 0.5},
        keep_alive="5m",
        think=False,
        priority="bulk",
        deadline=datetime(2026, 12, 1, tzinfo=UTC),
    )

    parsed = read(
        '{"prompt": "Hi", "system": "Sing.", "options": {"num_ctx": 8192}}',
        defaults=defaults,
    )

    assert parsed == ParsedLine(
        line=7,
        custom_id="line-7",
        model="llama3",
        prompt="Hi",
        priority=3,
        deadline=datetime(2026, 12, 1, tzinfo=UTC),
        metadata=None,
        request={
            "system": "Sing.",
            "options": {"num_ctx": 8192, "temperature": 0.5},
            "think": False,
            "keep_alive": "5m",
        },
    )


def test_a_raw_line_takes_no_default_that_it_excludes() -> None:
    defaults = JobDefaults(system="Be brief.", think=False)

    assert read(line(raw=True), defaults=defaults).request == {
        "raw": True,
        "think": False,
    }


def test_defaults_themselves_are_checked() -> None:
    defaults = JobDefaults(options={"num_ctxt": 1}, keep_alive="10")

    found = check_defaults(defaults)

    assert [(one.line, one.field, one.code) for one in found] == [
        (0, "options.num_ctxt", "unknown_field"),
        (0, "keep_alive", "invalid_value"),
    ]
    assert str(found[0]) == "options.num_ctxt: unknown option; did you mean num_ctx?"
    assert check_defaults(JobDefaults(model="m", deadline=datetime(2026, 1, 1, tzinfo=UTC))) == []


def test_white_space_around_a_models_name_goes() -> None:
    assert read(line(model=" qwen3:8b ")).model == "qwen3:8b"


def test_a_whole_number_written_with_a_point_is_taken_as_one() -> None:
    options = read(line(options={"num_ctx": 4096.0, "seed": 1e3}, logprobs=True, top_logprobs=3.0)).request[
        "options"
    ]

    assert options == {"num_ctx": 4096, "seed": 1000}
    assert [type(value) for value in options.values()] == [int, int]


def test_an_option_that_no_server_reads_any_more_is_taken_and_noted() -> None:
    parsed = read(line(options={"mirostat": 2, "temperature": 0.5, "numa": True}))

    assert parsed.request["options"] == {
        "temperature": 0.5,
        "mirostat": 2,
        "numa": True,
    }
    assert parsed.notes == ("options.mirostat, options.numa: no longer read by any server",)


def test_nul_and_lone_surrogates_are_replaced_and_noted() -> None:
    parsed = read(
        r'{"model": "m", "prompt": "a\u0000b\ud800c\ud83d\ude00", "metadata": {"\udc00": "\u0000"}}'
    )

    assert parsed.prompt == "a\ufffdb\ufffdc😀"
    assert parsed.metadata == {"\ufffd": "\ufffd"}
    assert parsed.notes == (
        "prompt: 2 NUL or lone surrogates replaced by U+FFFD",
        "metadata: 2 NUL or lone surrogates replaced by U+FFFD",
    )


def test_a_line_of_python_text_with_a_lone_surrogate_is_repaired_too() -> None:
    assert read('{"model": "m", "prompt": "a\ud800b"}').prompt == "a\ufffdb"


def test_an_escaped_backslash_before_u0000_is_no_nul() -> None:
    parsed = read(r'{"model": "m", "prompt": "a\\u0000b"}')

    assert (parsed.prompt, parsed.notes) == (r"a\u0000b", ())


def test_a_prompt_that_speaks_of_nan_is_taken() -> None:
    assert read(line(prompt="NaN and Infinity")).prompt == "NaN and Infinity"


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
@pytest.mark.parametrize(
    "place",
    ['"metadata": {"x": %s}', '"options": {"temperature": %s}', '"keep_alive": %s'],
)
def test_what_json_does_not_count_as_a_number_is_refused(number: str, place: str) -> None:
    raw = '{"model": "m", "prompt": "Hi", ' + place % number + "}"

    assert problems(raw)[0].code == "invalid_json"


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (
            '{"model": "m" "prompt": "Hi"}',
            'not valid JSON: expecting \',\' delimiter at column 15, near \'{"model": "m" "prompt": "Hi"}\'',
        ),
        ("", "not valid JSON: the line is blank"),
        ("  \n", "not valid JSON: the line is blank"),
        (
            "{",
            "not valid JSON: only {; write each job on one line, with no list around them (JSONL)",
        ),
        (
            "[1]",
            "expected one JSON object a line, got a list; write each of its objects on a line, as jq -c '.[]' does",
        ),
        ('{"prompt": "a"},', "not valid JSON: a comma behind the object, at column 16; remove it"),
        (
            '{"prompt": "a"} {"prompt": "b"}',
            "not valid JSON: a second object on the line, at column 17; write each on a line of its own",
        ),
        ('{"prompt": "a', 'not valid JSON: unterminated string at column 12, near \'{"prompt": "a\''),
        ('"text"', "expected one JSON object a line, got a text"),
        ("5", "expected one JSON object a line, got a number"),
        ("null", "expected one JSON object a line, got null"),
        (
            '{"model": "m", "prompt": "a\x00b"}',
            (
                "not valid JSON: control character U+0000, which JSON writes as \\u0000 at column 28, "
                'near \'": "m", "prompt": "a\\x00b"}\''
            ),
        ),
        (
            '{"seed": ' + "9" * 5000 + "}",
            "not valid JSON: a number has thousands of digits",
        ),
        ('{"a": ' * 200_000, "nested deeper than 200 levels"),
    ],
)
def test_broken_json_is_named_with_its_place(raw: str, message: str) -> None:
    assert only(raw) == ("", "invalid_json", message)


@pytest.mark.parametrize("odd", ["", "\\u0000"])
def test_the_depth_of_metadata_has_a_limit_that_does_not_depend_on_its_text(
    odd: str,
) -> None:
    def nested(levels: int) -> str:
        deep = '{"a": ' * levels + "1" + "}" * levels
        return f'{{"model": "m", "prompt": "Hi{odd}", "metadata": {deep}}}'

    assert read(nested(199)).metadata is not None
    assert only(nested(200)) == (
        "metadata",
        "invalid_json",
        "metadata: nested deeper than 200 levels",
    )


def test_text_that_is_not_utf8_is_named_by_its_byte() -> None:
    gbk = '{"model": "m", "prompt": "中文"}'.encode("gbk")
    utf16 = '{"model": "m", "prompt": "Hi"}'.encode("utf-16")

    assert only(gbk) == (
        "",
        "invalid_encoding",
        "not UTF-8: byte 0xd6 at 27; save the file as UTF-8",
    )
    assert only(utf16) == (
        "",
        "invalid_encoding",
        "looks like UTF-16; save the file as UTF-8",
    )


@pytest.mark.parametrize("mark", ["\ufeff", "\ufeff".encode()])
def test_a_byte_order_mark_is_skipped(mark: str | bytes) -> None:
    raw = mark + line() if isinstance(mark, str) else mark + line().encode()

    assert read(raw).prompt == "Hi"


def test_a_prompt_over_the_limit_is_refused_with_its_size() -> None:
    assert only(line(prompt="x" * 5_000_000)) == (
        "prompt",
        "too_large",
        "prompt: 5,000,000 bytes, at most 4,194,304 are allowed; split the text or raise the limit",
    )


@pytest.mark.parametrize("odd", ["", "\x00"])
def test_sizes_are_counted_in_bytes_of_utf8(odd: str, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = json.dumps({"model": "m", "prompt": "中" * 10 + odd, "metadata": {"filler": "x" * 40}})

    monkeypatch.setattr("api_schemas.jobs.MAX_PROMPT_BYTES", 33)
    assert read(raw).prompt.startswith("中")
    monkeypatch.setattr("api_schemas.jobs.MAX_PROMPT_BYTES", 29)
    assert only(raw)[1] == "too_large"


def test_a_line_over_the_limit_is_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api_schemas.jobs.MAX_LINE_BYTES", 1000)

    assert only(b"{" * 1001) == (
        "",
        "too_large",
        "1,001 bytes, a line may have at most 1,000",
    )


signs = st.sampled_from('ab5 \n\t"\\{}[]:,é中😀\x00\x1f\ud800\udfff\ufeff\uffff')
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(signs, max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(signs, max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


@reproducible
@given(st.binary(max_size=60) | st.text(signs, max_size=60))
def test_nothing_that_a_line_contains_raises(raw: bytes | str) -> None:
    assert isinstance(read_job_line(raw, line=1), list | ParsedLine)


@reproducible
@given(
    st.dictionaries(
        st.sampled_from(
            [
                "model",
                "prompt",
                "options",
                "metadata",
                "keep_alive",
                "format",
                "context",
                "deadline",
                "x",
            ]
        ),
        json_values,
    )
)
def test_no_value_of_any_field_raises_and_what_is_taken_can_be_stored(
    fields: dict[str, Any],
) -> None:
    parsed = read_job_line(json.dumps(fields), line=1, defaults=JobDefaults(model="m"))

    if isinstance(parsed, ParsedLine):
        stored = json.dumps(
            [parsed.request, parsed.metadata, parsed.prompt],
            ensure_ascii=False,
            allow_nan=False,
        )
        assert "\\u0000" not in stored
        stored.encode()


@reproducible
@given(st.text(signs, min_size=1))
def test_the_quick_and_the_careful_way_read_the_same_prompt(prompt: str) -> None:
    raw = json.dumps({"model": "m", "prompt": "x" + prompt})

    quick = read(raw)
    careful = read(raw[:-1] + ', "metadata": {"odd": "NaN"}}')

    assert quick.prompt == careful.prompt


def test_a_default_accepts_empty_answers_of_every_line_that_says_nothing_else() -> None:
    defaults = JobDefaults(allow_empty=True)

    filled = read_job_line(line(), line=1, defaults=defaults)
    own = read_job_line(line(allow_empty=False), line=1, defaults=defaults)

    assert isinstance(filled, ParsedLine)
    assert isinstance(own, ParsedLine)
    assert (filled.request["allow_empty"], own.request["allow_empty"]) == (True, False)


def test_top_logprobs_without_logprobs_is_refused() -> None:
    for fields in ({"top_logprobs": 2}, {"top_logprobs": 2, "logprobs": False}):
        problems = read_job_line(line(**fields), line=1)

        assert isinstance(problems, list)
        assert [(one.field, one.code) for one in problems] == [("top_logprobs", "conflict")]

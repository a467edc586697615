"""What prompts Go templates make, as the interpreter runs them."""

import pytest

from simulator.prompt import Message, Think, fitting, rendered, rendered_fill_in
from simulator.template import parse
from simulator.template_nodes import TemplateError
from simulator.templates import PLAIN, THINKING
from simulator.thinking_tags import infer_tags

OFF = Think(False, False)


@pytest.mark.parametrize(
    ("source", "values", "text"),
    [
        ("plain", {}, "plain"),
        ("{{ .A }}", {"A": "x"}, "x"),
        ("{{ .A.B }}", {"A": {"B": 3}}, "3"),
        ("{{ .Missing }}", {}, "<no value>"),
        ("a {{- .A -}} b", {"A": "x"}, "axb"),
        ("a{{/* nothing */}}b", {}, "ab"),
        ("{{ if .A }}yes{{ else }}no{{ end }}", {"A": ""}, "no"),
        ("{{ if .A }}1{{ else if .B }}2{{ else }}3{{ end }}", {"B": True}, "2"),
        ("{{ if and .A (not .B) }}x{{ end }}", {"A": 1, "B": 0}, "x"),
        ("{{ if or .A .B }}x{{ end }}", {"A": "", "B": "b"}, "x"),
        ('{{ if eq .Role "user" "tool" }}x{{ end }}', {"Role": "tool"}, "x"),
        ('{{ if ne .Role "user" }}x{{ end }}', {"Role": "tool"}, "x"),
        ("{{ range .L }}<{{ . }}>{{ end }}", {"L": ["a", "b"]}, "<a><b>"),
        ("{{ range .L }}x{{ else }}none{{ end }}", {"L": []}, "none"),
        ("{{ range $i, $v := .L }}{{ $i }}{{ $v }}{{ end }}", {"L": ["a", "b"]}, "0a1b"),
        ("{{ range .L }}{{ if eq . 2 }}{{ break }}{{ end }}{{ . }}{{ end }}", {"L": [1, 2, 3]}, "1"),
        ("{{ range .L }}{{ if eq . 2 }}{{ continue }}{{ end }}{{ . }}{{ end }}", {"L": [1, 2, 3]}, "13"),
        ("{{ with .A }}{{ . }}{{ $.B }}{{ end }}", {"A": "a", "B": "b"}, "ab"),
        ("{{ $x := .A }}{{ $x }}", {"A": "a"}, "a"),
        ("{{ len (slice .L 1) }}", {"L": [1, 2, 3]}, "2"),
        ("{{ index .L 1 }}", {"L": ["a", "b"]}, "b"),
        ("{{ .A | json }}", {"A": {"k": "<"}}, '{"k":"\\u003c"}'),
        ('{{ print "a" .A }}', {"A": 1}, "a1"),
        ('{{ define "t" }}[{{ . }}]{{ end }}{{ template "t" .A }}', {"A": "x"}, "[x]"),
        ("{{ `raw` }}{{ true }}{{ gt 3 2 }}", {}, "rawtruetrue"),
    ],
)
def test_a_template_renders(source: str, values: dict[str, object], text: str) -> None:
    assert parse(source + "{{ if false }}{{ .Response }}{{ end }}").render(values) == text


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("{{ .A", "unclosed action"),
        ("{{ if .A }}x", "unexpected EOF"),
        ("x{{ end }}", "unexpected {{end}}"),
        ("{{ shout .A }}", 'function "shout" not defined'),
        ("{{ (.A }}", "unclosed left paren"),
        ("{{ .A | }}", "missing value for command"),
    ],
)
def test_a_bad_template_is_refused(source: str, error: str) -> None:
    with pytest.raises(TemplateError, match=error.replace("{", "\\{").replace("(", "\\(")):
        parse(source)


def test_an_old_template_is_run_once_a_turn() -> None:
    messages = [
        Message("system", "S"),
        Message("user", "one"),
        Message("assistant", "two"),
        Message("user", "three"),
    ]

    text = rendered(parse(PLAIN), messages, OFF)

    assert text == ("<|system|>S<|end|><|user|>one<|end|><|assistant|>two<|user|>three<|end|><|assistant|>")


def test_what_follows_the_response_is_left_out_of_the_last_turn() -> None:
    text = rendered(parse("{{ .Prompt }}:{{ .Response }}<|end|>"), [Message("user", "x")], OFF)

    assert text == "x:"


def test_consecutive_messages_of_a_role_become_one() -> None:
    messages = [Message("system", "a"), Message("system", "b"), Message("user", "c"), Message("user", "d")]

    text = rendered(parse(PLAIN), messages, OFF)

    assert text == "<|system|>a\n\nb<|end|><|user|>c\n\nd<|end|><|assistant|>"


def test_thinking_switched_off_leaves_an_empty_block_in_the_prompt() -> None:
    template = parse(THINKING)
    messages = [Message("user", "x")]

    assert rendered(template, messages, Think(True, True)) == "<|user|>x<|end|><|assistant|>"
    assert rendered(template, messages, Think(False, True)).endswith("<think>\n\n</think>\n\n")


def test_a_suffix_renders_without_messages() -> None:
    template = parse("<PRE>{{ .Prompt }}<SUF>{{ .Suffix }}<MID>{{ .Response }}")

    assert rendered_fill_in(template, "a", "b", OFF) == "<PRE>a<SUF>b<MID>"


def test_the_oldest_messages_go_first_and_the_system_stays() -> None:
    messages = [
        Message("system", "S"),
        Message("user", "old"),
        Message("assistant", "older"),
        Message("user", "new"),
    ]

    text = fitting(parse(PLAIN), messages, OFF, fits=lambda text: "old" not in text)

    assert text == "<|system|>S<|end|><|user|>new<|end|><|assistant|>"


@pytest.mark.parametrize(
    ("source", "tags"),
    [
        (THINKING, ("<think>", "</think>")),
        (PLAIN, None),
        ("<think>{{ .Prompt }}</think>", None),
        ("{{ range .Messages }}[T]{{ .Thinking }}[/T]{{ .Content }}{{ end }}", ("[T]", "[/T]")),
    ],
)
def test_tags_are_inferred_from_what_stands_around_the_thinking(
    source: str, tags: tuple[str, str] | None
) -> None:
    assert infer_tags(source) == tags

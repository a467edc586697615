"""What stands behind a dot in a template, and how values are printed."""

import json
from typing import Any

import pytest

from worker.documents.templates import prompt_template, prompt_text
from worker.errors import InputRefused, Problem

ORDER = {
    "no": 7,
    "items": ["tent", "rope"],
    "values": "cheap",
    "copy": "Hello",
    "get": None,
    "keys": {"pop": [1]},
}
VALUES: dict[str, Any] = {
    "order": ORDER,
    "orders": [ORDER, {"items": ["stove"]}],
    "items": 5,
    "title": "Big",
    "yes": True,
    "empty": None,
    "tags": ["a", None, True],
}


def rendered(template: str, **more: Any) -> str:
    text = prompt_template(template, source="--prompt").render({**VALUES, **more}, line=3)
    assert isinstance(text, str), text
    return text


def problem(template: str) -> str:
    text = prompt_template(template, source="--prompt").render(VALUES, line=3)
    assert isinstance(text, Problem), text
    assert (text.line, text.code) == (3, "template_error")
    return text.message


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{ order.items }}", '["tent", "rope"]'),
        ("{{ order.values }} {{ order.copy }}", "cheap Hello"),
        ("{{ order.get }}.", "."),
        ("{{ order.keys.pop }}", "[1]"),
        ("{{ order.keys }}", '{"pop": [1]}'),
        ("{{ row.items }} {{ row.order.items[0] }}", "5 tent"),
        ("{% for item in order.items %}{{ item }} {% endfor %}", "tent rope "),
        ("{% for one in orders %}{{ one.items|join('+') }} {% endfor %}", "tent+rope stove "),
        ("{{ orders|map(attribute='items')|map('first')|join(',') }}", "tent,stove"),
        ("{{ orders|map(attribute='items')|list }}", '[["tent", "rope"], ["stove"]]'),
        ("{{ order.items|length }} {{ order.items|tojson }}", '2 ["tent", "rope"]'),
        ("{% if order.items %}some{% endif %}", "some"),
        ("{% if order.get %}some{% else %}none{% endif %}", "none"),
        ("{{ order.items is defined }} {{ order.pop is defined|default(1) }}", "true false"),
        ("{% set o = order.items %}{{ o[1] }}", "rope"),
        ("{{ order.items ~ order.values }}", '["tent", "rope"]cheap'),
        ("{{ order|attr('items') }}", '["tent", "rope"]'),
    ],
)
def test_a_key_wins_over_a_method_wherever_it_is_taken(template: str, text: str) -> None:
    assert rendered(template) == text


@pytest.mark.parametrize(
    "template",
    [
        "{{ title.count }}",
        "{{ title.upper }}",
        "{{ order.pop }}",
        "{{ order.items.append }}",
        "{{ [order.update] }}",
        "{{ {'a': title.index}|tojson }}",
        "{{ title.count|upper }}",
        "{{ title.count ~ '' }}",
        "{% if title.count %}x{% endif %}",
        "{% if title.count == 1 %}x{% endif %}",
        "{% for x in title.split %}{{ x }}{% endfor %}",
        "{{ title.count is string }}",
        "{{ 'a' if title.count else 'b' }}",
        "{% set x = title.count %}{{ x }}",
        "{% macro m() %}{% endmacro %}{{ m }}",
        "{% macro m() %}{% endmacro %}{{ m|upper }}",
        "{{ range }}",
        "{{ range|string }}",
        "{{ cycler('a') }}",
        "{{ self }}",
        "{{ namespace(a=1) }}",
        "{% for x in tags %}{{ loop }}{% endfor %}",
        "{% for x in tags %}{{ loop.cycle }}{% endfor %}",
        "{{ tags|map('upper') }}",
        "{{ tags|select }}",
        "{{ orders|map(attribute='update')|list }}",
        "{{ items() }}",
        "{{ order.items() }}",
    ],
)
def test_what_is_no_value_is_refused_by_line(template: str) -> None:
    assert "built-in" not in problem(template)
    assert " at 0x" not in problem(template)


def test_a_method_that_was_not_called_is_refused_with_its_place_and_what_to_write() -> None:
    message = problem("Sum up:\n{{ title.count }}")

    assert "line 2: .count is a method of a text" in message
    assert ".count()" in message


def test_a_key_that_hides_a_method_says_how_to_walk_an_object() -> None:
    assert "order|items" in problem("{% for key, value in order.items() %}{% endfor %}")
    assert rendered("{% for key, value in order|items %}{{ key }} {% endfor %}").split() == list(ORDER)


def test_methods_may_be_called_where_no_key_has_their_name() -> None:
    assert rendered("{{ title.upper() }} {{ title.count('B') }}") == "BIG 1"
    assert rendered("{% for k, v in d.items() %}{{ k }}={{ v }} {% endfor %}", d={"a": 1}) == "a=1 "
    assert rendered("{{ d.items() }} {{ d.keys() }}", d={"a": 1}) == '[["a", 1]] ["a"]'
    assert rendered("{{ d.get('b', 'none') }}", d={"a": 1}) == "none"


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{ yes }} {{ not yes }}", "true false"),
        ("[{{ empty }}] [{{ empty ~ 'x' }}] [{{ empty|upper }}] [{{ empty|trim }}]", "[] [x] [] []"),
        ("{{ tags|join(', ') }}", "a, , true"),
        ("{{ tags|string }}", '["a", null, true]'),
        ("{{ yes|string ~ yes }}", "truetrue"),
        ("{{ '%s-%s'|format(empty, tags) }}", '-["a", null, true]'),
        ("{{ range(3) }}", "[0, 1, 2]"),
        ("{{ '%s|%s' % (empty, yes) }} {{ '%s' % tags }}", '|true ["a", null, true]'),
        ("{{ '%s' % yes }}{{ '%s' % empty }} {{ '%.2f|%5d' % (1.5, 7) }}", "true 1.50|    7"),
        ("{{ '{}|{}|{}'.format(empty, yes, tags) }}", '|true|["a", null, true]'),
        (
            "{{ '{t}'.format(t=tags) }} {{ '{0[0]}'.format(tags) }} {{ '{:.1f}'.format(2.25) }}",
            '["a", null, true] a 2.2',
        ),
        ("{{ title|replace('B', empty) }} {{ title|replace('B', yes) }}", "ig trueig"),
    ],
)
def test_values_are_written_as_json_and_null_as_nothing(template: str, text: str) -> None:
    assert rendered(template) == text


def test_row_takes_a_column_of_any_name_and_is_checked_against_the_table() -> None:
    template = prompt_text("{{ row.items }} {{ row.copy }}", source="--prompt")

    assert [missing.field for missing in template.missing(["items"])] == ["copy"]
    assert prompt_text("{% for a, b in row.items() %}{{ a }}{% endfor %}", source="x").missing(["a"]) == []


def test_everything_json_holds_comes_through_a_template_unchanged() -> None:
    value = {"a": [1, 2.5, None, True, {"items": {"b": "ü"}}], "n": 9007199254740993}

    assert json.loads(rendered("{{ v }}", v=value)) == value
    assert json.loads(rendered("{{ v|tojson }}", v=value)) == value
    assert json.loads(rendered("{{ v|pprint }}", v=value)) == value


def test_a_template_that_is_none_is_still_refused_before_any_row() -> None:
    with pytest.raises(InputRefused):
        prompt_template("{{ order. }}", source="--prompt")

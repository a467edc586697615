import resource
import time

import pytest

from worker.documents.templates import Template, prompt_template, prompt_text
from worker.errors import InputRefused, Problem


def template(text: str) -> Template:
    return prompt_template(text, source="T.j2")


def failure(text: str, values: dict[str, object] | None = None) -> Problem:
    rendered = template(text).render(values or {}, line=7)
    assert isinstance(rendered, Problem), rendered[:100]
    assert rendered.line == 7
    return rendered


def test_columns_are_variables_in_any_script() -> None:
    rendered = template("{{ 标题 }} costs {{ price }}\n").render({"标题": "鞋", "price": 3}, line=2)

    assert rendered == "鞋 costs 3\n"


def test_a_column_whose_name_is_no_variable_is_reached_through_the_row() -> None:
    made = template('{{ row["Product name"] }}: {{ row["价格 (元)"] }}, {{ row.size }}')

    assert made.missing(("Product name", "价格 (元)", "size")) == []
    assert made.render({"Product name": "shoe", "价格 (元)": "3", "size": 4}, line=2) == "shoe: 3, 4"


def test_values_print_as_they_are_nothing_for_null_and_json_for_lists() -> None:
    values = {"text": "<b> & 'c'", "none": None, "tags": ["é", {"a": 1}]}

    assert template("{{ text }}|{{ none }}|{{ tags }}|{{ text|tojson }}").render(values, line=1) == (
        """<b> & 'c'||["é", {"a": 1}]|"<b> & 'c'\""""
    )


def test_small_and_large_numbers_print_without_an_exponent() -> None:
    values = {"small": 1e-07, "large": 1e22}

    assert template(
        "{{ small }} {{ large }} {{ small ~ 'g' }} {{ 0.5 }} {{ [small, large]|join(';') }}"
    ).render(values, line=1) == (
        "0.0000001 10000000000000000000000 0.0000001g 0.5 0.0000001;10000000000000000000000"
    )


def test_the_variables_are_those_that_the_row_must_give() -> None:
    made = template(
        "{% set own = a %}{% for x in list %}{{ x }}{{ own }}{{ loop.index }}{% endfor %}{{ row.b }}"
    )

    assert made.variables == {"a", "list", "row"}
    assert {use.column for use in made.uses} == {"a", "list", "b"}


def test_a_variable_that_no_column_has_is_refused_with_its_line_and_the_nearest_name() -> None:
    made = template('Title:\n{{ titel }}\n{{ row["Produkt name"] }}\n{{ zzz }}{{ titel }}')

    problems = made.missing(("title", "Product name"))

    assert [(problem.field, problem.message) for problem in problems] == [
        ("titel", "T.j2 line 2: no column 'titel'; did you mean title?"),
        ("Produkt name", "T.j2 line 3: no column 'Produkt name'; did you mean row[\"Product name\"]?"),
        ("zzz", "T.j2 line 4: no column 'zzz'; there are title, row[\"Product name\"]"),
    ]


def test_a_variable_with_a_default_may_be_missing() -> None:
    made = template("{{ a|default('none') }}{% if b is defined %}{{ b }}{% endif %}")

    assert made.missing(("c",)) == []
    assert made.render({"c": 1}, line=1) == "none"


def test_a_column_that_only_this_row_lacks_is_a_problem_of_its_line() -> None:
    problem = failure("{{ titel }}", {"title": "x"})

    assert problem == Problem(7, "prompt", "template_error", "T.j2: no column 'titel'; did you mean title?")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{{ 1/0 }}", "division by zero"),
        ("{{ a.b.c }}", "has no attribute 'b'"),
        ("{{ a.__class__.__mro__ }}", "unsafe"),
        ("{{ tags.append(1) }}", "unsafe"),
        ("{{ a + 1 }}", "can only concatenate str"),
    ],
)
def test_what_fails_in_a_template_is_a_problem_of_the_row(text: str, said: str) -> None:
    problem = failure(text, {"a": "x", "tags": []})

    assert problem.code == "template_error"
    assert said in problem.message


@pytest.mark.parametrize("value", ["", " \n\t", None, "\u3000", "\ufeff"])
def test_a_blank_prompt_is_a_problem_that_names_the_empty_column(value: str | None) -> None:
    problem = failure("{{ text }}\n", {"text": value})

    assert problem.code == "blank_prompt"
    assert "a blank prompt is an order to load the model" in problem.message


def test_a_blank_text_has_no_vector_and_is_not_told_of_as_a_prompt() -> None:
    problem = prompt_template("{{ text }}", source="--embed").render({"text": " "}, line=3, vector=True)

    assert isinstance(problem, Problem)
    assert (problem.field, problem.code) == ("input", "blank_prompt")
    assert problem.message.startswith("--embed: renders blank; there is no vector of nothing")


def test_a_system_may_be_blank() -> None:
    assert template("{{ text }}").render({"text": ""}, line=1, blank=True) == ""


@pytest.mark.parametrize(
    "text",
    [
        "{% for i in range(10**9) %}x{% endfor %}",
        "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
        "{% for i in range(100000) %}{% for j in range(100000) %}sixteen letters.{% endfor %}{% endfor %}",
        "{% for i in range(100000) if range(100000)|sum < 0 %}{% endfor %}",
        "{% set t = 'a' * 4000000 %}{% for i in range(100000) %}{{ t.count('b') if t|length == 0 }}{% endfor %}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{% for i in [1, 2] recursive %}{{ loop([1, 2]) }}{% endfor %}",
        "{% set n = namespace(s='x') %}{% for i in range(99) %}{% set n.s = n.s ~ n.s %}{% endfor %}{{ n.s }}",
        "{% set n = namespace(s='x') %}{% for i in range(99) %}{% set n.s = n.s + n.s %}{% endfor %}{{ n.s }}",
        "{% set n = namespace(s=2) %}{% for i in range(99) %}{% set n.s = n.s * n.s %}{% endfor %}{{ n.s }}",
        "{{ 'x' * 10**10 }}",
        "{{ [1] * 10**10 }}",
        "{{ 9 ** (10 ** 9) }}",
        "{{ 'x'|center(10**10) }}",
        "{{ 'x'.ljust(10**10) }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ '%*d' % (10**9, 1) }}",
        "{{ '%1000000000d'|format(1) }}",
        "{{ '{:1000000000d}'.format(1) }}",
        "{{ ('a' * 4000000)|replace('a', 'b' * 4000000) }}",
        "{{ ('a,' * 1000000).split(',')|join('b' * 1000) }}",
        "{% set x = 'a' * 4000000 %}{{ x }}{{ x }}",
        "{{ [['a' * 4000000] * 1000]|tojson }}",
        "{{ [['a' * 4000000] * 1000] }}",
        "{{ [['a' * 4000000] * 1000]|string }}",
        "{{ [['a' * 4000000] * 1000]|pprint }}",
        "{{ [['a' * 4000000] * 1000] ~ '' }}",
        "{{ '%s' % ([['a' * 4000000] * 1000],) }}",
        "{{ '{}'.format([['a' * 4000000] * 1000]) }}",
        "{{ {'a': ['a' * 4000000] * 1000}.items() }}",
        "{% set n = namespace(a=['a' * 4000000] * 1000) %}{{ n }}",
        "{% set n = namespace(x=[1]) %}{% for i in range(60) %}{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x }}",
        "{{ ('a' * 2000000)|wordwrap(1) }}",
        "{{ ('a ' * 1900000)|urlize }}",
        "{% set n = namespace(a=[]) %}{% for i in range(999) %}{% set n.a = n.a + ['a' * 4000000 ~ i] %}{% endfor %}",
    ],
)
def test_a_runaway_template_ends_soon_and_small(text: str) -> None:
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()

    problem = failure(text)

    assert problem.code in {"template_error", "too_large"}
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 700_000, "kilobytes"
    assert time.process_time() - began < 30


def test_calls_of_macros_are_steps_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.documents.sandbox.STEP_LIMIT", 50_000)

    problem = failure(
        "{% macro f(n) %}{% if n %}{{ f(n-1) }}{{ f(n-1) }}{% endif %}{% endmacro %}{{ f(40) }}"
    )

    assert problem.code == "template_error"
    assert "more than 50,000 rounds of loops and calls" in problem.message


def test_ordinary_templates_pass_the_bounds() -> None:
    text = (
        "{% for name, value in row.items() %}{{ name ~ '=' ~ value }}{% if not loop.last %}, {% endif %}"
        "{% else %}none{% endfor %} of {{ tags|length }}: {{ tags|map('upper')|join(' ') }} "
        "{{ '%s %.1f'|format(a, b) }} {{ '{:,}'.format(b) }} {{ 'x %s' % a }} {{ a.replace('k', 'c') }}"
        "{% for t in tree recursive %}({{ t.n }}{{ loop(t.c) if t.c }}){% endfor %}"
    )
    values = {"a": "k", "b": 5_000_000_000, "tags": ["x", "y"], "tree": [{"n": 1, "c": [{"n": 2, "c": []}]}]}

    rendered = template(text).render(values, line=1)

    assert isinstance(rendered, str)
    assert rendered.startswith("a=k, b=5000000000, tags=")
    assert rendered.endswith("of 2: X Y k 5000000000.0 5,000,000,000 x k c(1(2))")


def test_the_steps_are_counted_for_each_row_anew() -> None:
    made = template("{% for i in range(99999) %}{% if i == 0 %}{{ a }}{% endif %}{% endfor %}")

    assert {made.render({"a": "x"}, line=line) for line in range(15)} == {"x"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("one\n{{ a ", "T.j2 line 2: unexpected end of template"),
        ("\n\n{% if %}", "T.j2 line 3: Expected an expression"),
        ("{{ a|shout }}", "T.j2 line 1: No filter named 'shout'"),
        ("\n{% include 'x' %}", "T.j2 line 2: include: a template stands alone"),
        ("{% from 'x' import y %}", "T.j2 line 1: import: a template stands alone"),
        ("{% extends 'x' %}", "T.j2 line 1: extends: a template stands alone"),
    ],
)
def test_what_is_no_template_is_refused_before_any_row(text: str, said: str) -> None:
    with pytest.raises(InputRefused) as caught:
        template(text)

    assert caught.value.problems[0].code == "template_syntax"
    assert said in caught.value.problems[0].message


@pytest.mark.parametrize(
    ("text", "example"),
    [("Summarise: {body}", "{{ body }}"), ("Say hello.", "{{ text }}"), ("", "{{ text }}")],
)
def test_a_prompt_that_takes_nothing_of_the_row_is_refused_with_how_to(text: str, example: str) -> None:
    with pytest.raises(InputRefused) as caught:
        prompt_text(text)

    assert caught.value.problems[0].code == "no_variable"
    assert caught.value.problems[0].message.endswith(f"write one in two braces: {example}")


def test_a_prompt_is_a_template() -> None:
    assert prompt_text("Summarise: {{ body }}").variables == {"body"}
    assert prompt_text("{% for k in row %}{{ k }}{% endfor %}").variables == {"row"}

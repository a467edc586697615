"""What a page of HTML sets high, low or in the cells of a table says the same on a line of text."""

import pytest

from worker.documents.formats.reading import read_bytes


def shown(html: str) -> str:
    return str(read_bytes(f"<meta charset=utf-8><body>{html}".encode(), "a.html")["text"]).strip()


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("10<sup>6</sup> m<sup>2</sup>", "10^6 m^2"),
        ("10<sup>-3</sup> and 2<sup>n+1</sup>", "10^-3 and 2^(n+1)"),
        ("2<sup>2<sup>3</sup></sup>", "2^(2^3)"),
        ("in 2019<sup>1</sup>", "in 2019^1"),
        ("ends.<sup>12</sup> Next", "ends.^12 Next"),
        ("said<sup>[3]</sup>", "said[3]"),
        ("the 1<sup>st</sup> of 5<sup>th</sup>", "the 1st of 5th"),
        ("Acme<sup>®</sup> and Na<sup>+</sup>", "Acme® and Na+"),
        ("H<sub>2</sub>O, 10<sub>2</sub>, T<sub>max</sub>", "H2O, 10_2, T_max"),
        ("x<sub>1</sub><sup>2</sup>", "x1^2"),
        ("3<sup>1</sup>/<sub>2</sub> cups", "3 1/2 cups"),
        ("<sup>1</sup> A note", "1 A note"),
        ("<del>$10</del> $8", "~~$10~~ $8"),
    ],
)
def test_a_number_set_high_or_low_is_no_digit_of_the_one_before(html: str, text: str) -> None:
    assert shown(html) == text


@pytest.mark.parametrize(
    ("math", "text"),
    [
        ("<mfrac><mn>1</mn><mn>2</mn></mfrac>", "1/2"),
        ("<msup><mi>x</mi><mn>2</mn></msup><mo>+</mo><msub><mi>a</mi><mn>1</mn></msub>", "x^2+a_1"),
        ("<msqrt><mi>x</mi><mo>+</mo><mn>1</mn></msqrt>", "√(x+1)"),
        ("<mroot><mn>8</mn><mn>3</mn></mroot>", "root(3, 8)"),
        (
            '<semantics><msup><mi>y</mi><mn>2</mn></msup><annotation encoding="application/x-tex">y^2</annotation></semantics>',
            "$y^2$",
        ),
    ],
)
def test_a_formula_keeps_its_shape(math: str, text: str) -> None:
    assert shown(f"<p><math>{math}</math></p>") == text


def test_a_formula_that_katex_draws_as_well_is_read_once() -> None:
    drawn = '<span class="katex-html" aria-hidden="true">x2</span>'
    assert shown(f"<math><msup><mi>x</mi><mn>2</mn></msup></math>{drawn}") == "x^2"


def test_a_cell_with_line_breaks_stays_in_its_row() -> None:
    table = "<table><tr><td>one<br>two<td>3<tr><td><p>a<p>b<td><ul><li>x<li>y</ul></table>"
    assert shown(table) == "one two | 3\na b | - x - y"


def test_a_page_laid_out_by_a_table_keeps_its_lines() -> None:
    assert shown("<table><tr><td>menu<td><h2>News</h2><p>a<p>b</table>") == "menu\n\n## News\n\na\n\nb"


def test_cells_below_and_behind_one_that_spans_them_stay_in_their_columns() -> None:
    table = (
        "<table><tr><th colspan=2>Size<th>Price<tr><td rowspan=2>tall<td>1<td>2<tr><td>3<td>4"
        "<tr><td>a<td>b<td>c</table>"
    )
    assert shown(table) == "Size |  | Price\ntall | 1 | 2\n | 3 | 4\na | b | c"


def test_a_span_of_a_million_columns_counts_as_none() -> None:
    table = "<table>" + "<tr><td colspan=1000000 rowspan=1000000>x<td>y" * 50 + "</table>"
    assert shown(table) == "\n".join(["x | y"] * 50)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ("<select><option>France<option selected>Germany</select>", "Country Germany"),
        ("<select><option>France<option>Germany</select>", "Country France"),
        (
            "<select multiple><option selected>France<option>Italy</select>",
            "Country\n\n[x] France\n[ ] Italy",
        ),
    ],
)
def test_of_a_drop_down_list_the_choice_is_read(options: str, text: str) -> None:
    assert shown(f"Country {options}") == text


def test_lists_are_nested_and_numbered_as_a_browser_shows_them() -> None:
    page = "<ul><li>a<ul><li>a1</ul><li>b</ul><ol type=a start=2><li>x<li>y</ol>"
    assert shown(page) == "- a\n  - a1\n- b\n\nb. x\nc. y"


def test_lists_nested_without_end_are_set_in_so_far_only() -> None:
    assert len(shown("<ul><li>x" * 500)) < 20_000


def test_no_mark_is_left_where_an_element_never_ends_within_an_option() -> None:
    assert shown("<select><option>1<sup>st<option>x</select> y") == "1st y"
